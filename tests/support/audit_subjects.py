"""Models for the audit: the bundled one, and a Qwen2-Audio of random weights; faults that are built into either."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from tiny_processors import EOS_ID, PAD_ID, tiny_tokenizer
from torch import Tensor
from transformers import (
    GlmAsrConfig,
    GlmAsrForConditionalGeneration,
    GlmAsrProcessor,
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
    WhisperFeatureExtractor,
)
from transformers.feature_extraction_utils import BatchFeature

from soundclip_hf.bundled import TINY
from soundclip_hf.evaluation.audit import SoundLlavaSubject, TransformersSubject
from soundclip_hf.evaluation.samples import Samples, open_samples
from soundclip_hf.modeling.modeling_soundllava import SoundLlavaForConditionalGeneration
from soundclip_hf.modeling.processing_soundllava import SoundLlavaProcessor

SECONDS = 3


@cache
def scenes(limit: int = 4, start: int = 0) -> Samples:
    """Synthetic scenes that the bundled model has not met."""
    return open_samples("synthetic", limit=start + limit)[start:]


def bundled(**settings: Any) -> SoundLlavaSubject:
    """The bundled model, loaded anew so that a fault stays in one test."""
    model = SoundLlavaForConditionalGeneration.from_pretrained(TINY, dtype=torch.float32)
    return SoundLlavaSubject(model, SoundLlavaProcessor.from_pretrained(TINY), "tiny", **settings)


def qwen2_audio_parts(seed: int = 0) -> tuple[Qwen2AudioForConditionalGeneration, Qwen2AudioProcessor]:
    """A small Qwen2-Audio with random weights, large enough ones that its sounds matter."""
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>"], special_tokens=True)
    extractor = WhisperFeatureExtractor(feature_size=16, chunk_length=SECONDS)
    processor = Qwen2AudioProcessor(extractor, tokenizer)
    config = Qwen2AudioConfig(
        audio_config={
            "num_mel_bins": 16,
            "d_model": 32,
            "encoder_layers": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 64,
            "max_source_positions": 50 * SECONDS,
            "init_std": 0.2,
        },
        text_config={
            "model_type": "qwen2",
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "initializer_range": 0.3,
            "eos_token_id": EOS_ID,
            "pad_token_id": PAD_ID,
        },
        audio_token_index=processor.audio_token_id,
    )
    return Qwen2AudioForConditionalGeneration(config).eval(), processor


def qwen2_audio(seed: int = 0) -> TransformersSubject:
    return TransformersSubject(*qwen2_audio_parts(seed), "qwen2-audio")


def glm_asr(seed: int = 0) -> TransformersSubject:
    """A small GLM-ASR with random weights; its audio encoder has rotary positions and another projector."""
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["<|pad|>"], special_tokens=True)
    template = (
        "{% for part in messages[0]['content'] %}{{ '<|pad|>' if part['type'] == 'audio' else part['text'] }}"
        "{% endfor %} A:"
    )
    extractor = WhisperFeatureExtractor(feature_size=16, chunk_length=SECONDS)
    processor = GlmAsrProcessor(extractor, tokenizer, chat_template=template)
    shape = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "initializer_range": 0.3,
    }
    config = GlmAsrConfig(
        audio_config={"num_mel_bins": 16, "max_position_embeddings": 50 * SECONDS, **shape},
        text_config={
            "model_type": "llama",
            "vocab_size": len(tokenizer),
            "eos_token_id": EOS_ID,
            "pad_token_id": PAD_ID,
            **shape,
        },
        audio_token_id=processor.audio_token_id,
    )
    return TransformersSubject(GlmAsrForConditionalGeneration(config), processor, "glm-asr")


def audio_tower(subject: TransformersSubject) -> torch.nn.Module:
    return subject.model.model.audio_tower


def change_batches(subject: TransformersSubject, change: Callable[[BatchFeature], None]) -> None:
    """Build a fault into the processor: `change` is applied to whatever it returns that has sounds."""
    own = type(subject.processor)

    def call(self: Any, *arguments: Any, **options: Any) -> BatchFeature:
        batch = own.__call__(self, *arguments, **options)
        if "input_features" in batch:
            change(batch)
        return batch

    subject.processor.__class__ = type(own.__name__, (own,), {"__call__": call})


def change_features(subject: TransformersSubject, change: Callable[[Tensor], Tensor]) -> None:
    """Build a fault into the model: `change` is applied to the features that reach the audio encoder."""

    def hook(module: torch.nn.Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        if "input_features" in options:
            return arguments, options | {"input_features": change(options["input_features"])}
        return (change(arguments[0]), *arguments[1:]), options

    audio_tower(subject).register_forward_pre_hook(hook, with_kwargs=True)


def lose_sound(subject: TransformersSubject) -> None:
    """All that the processor made of the sound is missing in what the model gets."""

    def pop(batch: BatchFeature) -> None:
        for name in ("input_features", "input_features_mask", "feature_attention_mask", "sound_slots", "sound_budget"):
            batch.pop(name, None)

    change_batches(subject, pop)


def drop_first_row(subject: SoundLlavaSubject) -> None:
    """LLaVA's own select strategy: the sound's token is cut off like CLS, after it has chosen the patches."""
    subject.model.config.sound_config.sound_select_strategy = "default"
    subject.processor.sound_select_strategy = "default"


def blank_first_row(subject: SoundLlavaSubject) -> None:
    """The sound's token is lost between the visual tokens and the language model."""
    own = subject.model.model.get_image_features

    def blanked(**arguments: Any) -> Any:
        features = own(**arguments)
        if features.sound_info is not None:
            features.pooler_output = [torch.cat([0 * rows[:1], rows[1:]]) for rows in features.pooler_output]
        return features

    subject.model.model.get_image_features = blanked


def shift_sounds(subject: TransformersSubject) -> None:
    """Each prompt of a batch gets the sound of the one before it."""

    def roll(batch: BatchFeature) -> None:
        for name in ("input_features", "input_features_mask"):
            if name in batch:
                batch[name] = batch[name].roll(1, 0)

    change_batches(subject, roll)


def zero_batches(subject: TransformersSubject) -> None:
    """The processor returns zeros for every sound."""

    def fill(batch: BatchFeature) -> None:
        batch["input_features"] = torch.zeros_like(batch["input_features"])

    change_batches(subject, fill)


def feed_zeros(subject: TransformersSubject) -> None:
    """The features of every sound are zeros when they reach the encoder."""
    change_features(subject, torch.zeros_like)


def hear_presence(subject: TransformersSubject) -> None:
    """The encoder hears whether there is a sound, and no more."""

    def blur(features: Tensor) -> Tensor:
        return torch.ones_like(features) * _per_row(features.flatten(1).std(1) > 0.05, features)

    change_features(subject, blur)


def lose_every_second(subject: TransformersSubject) -> None:
    """Every second sound of a batch is lost."""
    change_features(subject, lambda features: features * _per_row(torch.arange(len(features)) % 2 == 0, features))


def _per_row(values: Tensor, like: Tensor) -> Tensor:
    return values.view(-1, *[1] * (like.ndim - 1))


Break = Callable[[Any], None]
# What the audit calls each fault. Any model can have these.
FAULTS: dict[Break, str] = {
    lose_sound: "inputs",
    zero_batches: "inputs",
    feed_zeros: "deaf",
    hear_presence: "presence",
    lose_every_second: "unheard",
    shift_sounds: "pairing",
}
# A SoundLlava these, too.
OWN_FAULTS: dict[Break, str] = {**FAULTS, drop_first_row: "token", blank_first_row: "token"}
