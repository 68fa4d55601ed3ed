"""Small processors built on the spot: a byte-level tokenizer, image processors of both variants, stock and ours."""

from typing import Any

import numpy as np
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    CLIPImageProcessor,
    LlavaNextImageProcessor,
    LlavaNextProcessor,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from soundclip_hf.modeling.audio_encoders.whisperclip.feature_extraction_whisperclip import WhisperClipFeatureExtractor
from soundclip_hf.modeling.processing_soundllava import SoundLlavaProcessor

SPECIAL_TOKENS = ("<pad>", "<s>", "</s>", "<image>", "<unk>")
PAD_ID, BOS_ID, EOS_ID, IMAGE_ID, UNK_ID = range(len(SPECIAL_TOKENS))
VOCAB_SIZE = len(SPECIAL_TOKENS) + 256
IMAGE_SIZE, PATCH_SIZE = 28, 7  # 16 patches
PINPOINTS = [[1, 2], [2, 1], [2, 2], [3, 1], [1, 3]]  # LLaVA-1.6's, in views
SAMPLING_RATE = 16_000


def tiny_tokenizer(padding_side: str = "left") -> PreTrainedTokenizerFast:
    """Bytes as tokens, so that no text is unknown; `<s>` comes first, as in Llama's."""
    vocabulary = {token: index for index, token in enumerate(SPECIAL_TOKENS)}
    for symbol in sorted(pre_tokenizers.ByteLevel.alphabet()):
        vocabulary[symbol] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", BOS_ID)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        extra_special_tokens={"image_token": "<image>"},
        padding_side=padding_side,
        model_max_length=8192,
    )


def tiny_image_processor(variant: str, image_size: int = IMAGE_SIZE) -> Any:
    size: dict[str, Any] = {
        "size": {"shortest_edge": image_size},
        "crop_size": {"height": image_size, "width": image_size},
    }
    if variant == "llava":
        return CLIPImageProcessor(**size)
    pinpoints = [[rows * image_size, columns * image_size] for rows, columns in PINPOINTS]
    return LlavaNextImageProcessor(**size, image_grid_pinpoints=pinpoints)


def tiny_feature_extractor(window: Any = "short", **kwargs: Any) -> WhisperClipFeatureExtractor:
    """Whisper's 80 mels at 16 kHz, without the padding to 30 seconds."""
    return WhisperClipFeatureExtractor(window=window, **kwargs)


def tiny_llava_processor(
    variant: str, image_size: int = IMAGE_SIZE, patch_size: int = PATCH_SIZE, **kwargs: Any
) -> LlavaProcessor | LlavaNextProcessor:
    """Stock."""
    stock = LlavaProcessor if variant == "llava" else LlavaNextProcessor
    options = {"vision_feature_select_strategy": "default", "num_additional_image_tokens": 1, **kwargs}
    return stock(tiny_image_processor(variant, image_size), tiny_tokenizer(), patch_size=patch_size, **options)


def tiny_sound_processor(
    variant: str, image_size: int = IMAGE_SIZE, patch_size: int = PATCH_SIZE, **kwargs: Any
) -> SoundLlavaProcessor:
    """Ours, with the same parts as `tiny_llava_processor` and a budget of 5 patches."""
    return SoundLlavaProcessor(
        tiny_image_processor(variant, image_size),
        tiny_tokenizer(),
        tiny_feature_extractor(),
        patch_size=patch_size,
        **{"sound_top_k": 5, **kwargs},
    )


def picture(height: int = 40, width: int = 60, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def sound(seconds: float = 0.5, seed: int = 0, rate: int = SAMPLING_RATE) -> np.ndarray:
    """Noise in [-1, 1], `(samples,)` float32."""
    return np.random.default_rng(seed).uniform(-1, 1, round(seconds * rate)).astype(np.float32)
