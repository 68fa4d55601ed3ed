"""Make the files of `soundclip_hf/bundled`: a tiny SoundLlava with *random* weights, and a three-second clip.

    python scripts/make_untrained_tiny.py [--seed 0] [--out src/soundclip_hf/bundled]

Nothing is downloaded; the same seed and library versions give the same bytes. Takes seconds.
"""

import argparse
import json
import platform
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import Image, ImageDraw
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import CLIPImageProcessor, CLIPVisionConfig, GenerationConfig, LlamaConfig, PreTrainedTokenizerFast

from soundclip_hf.bundled import CLIP
from soundclip_hf.modeling.configuration_soundclip import SoundClipConfig, SoundLlavaConfig
from soundclip_hf.modeling.configuration_whisperclip import WhisperClipConfig
from soundclip_hf.modeling.feature_extraction_whisperclip import WhisperClipFeatureExtractor
from soundclip_hf.modeling.modeling_soundllava import SoundLlavaForConditionalGeneration
from soundclip_hf.modeling.processing_soundllava import SoundLlavaProcessor

IMAGE_SIZE, PATCH_SIZE = 64, 8
VOCABULARY, TOP_K = 640, 16
SPECIAL = {
    "unk_token": "<unk>",
    "bos_token": "<s>",
    "eos_token": "</s>",
    "pad_token": "<pad>",
    "image_token": "<image>",
}
SECONDS, RATE, FPS, SIZE = 3, 16000, 12, (256, 192)
COLOURS = "red orange yellow green blue purple brown black white grey"
THINGS = "bell drum bird dog cat car train clock phone guitar piano horn engine door water rain wind person"
PLACES = "left right top bottom middle front background"
SOUNDS = "rings beats sings barks meows passes whistles ticks plays hums knocks splashes falls blows talks"
STRIKES = (0.25, 1.25, 2.25)  # seconds

CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: image-text-to-text
tags: [soundclip, untrained]
---

# tiny (UNTRAINED)

**This model is untrained. Its weights are random numbers: its answers mean nothing, it neither sees nor hears, and no
figure measured on it says anything about the method.**

It shows that every step runs offline, in seconds, on a CPU: media file, sound encoder, projector, substituted visual
tokens, language model, text. A trained model will replace it with the same files.

| Part | Shape | Parameters |
|---|---|---|
{rows}

Made by `scripts/make_untrained_tiny.py`; `training.json` holds seed and versions. Pictures of {image} pixels, {patches}
patches and [CLS]; {top_k} patches are kept by default; byte-level BPE of {vocabulary} tokens.
"""


def make_corpus() -> list[str]:
    """Sentences whose frequent words become whole tokens."""
    colours, things, places, sounds = COLOURS.split(), THINGS.split(), PLACES.split(), SOUNDS.split()
    sentences = [
        f"A {c} {t} in the {p} {s}." for (c, t), p, s in zip(product(colours, things), places * 26, sounds * 12)
    ]
    sentences += [
        f"What makes the sound? The {c} {t}. What colour is the {t}? It is {c}." for c, t in product(colours, things)
    ]
    sentences += [
        f"Where is the {t} that {s}? In the {p} of the picture." for t, s, p in product(things, sounds, places)
    ]
    sentences += ["USER: Describe what you see and hear. ASSISTANT: Nothing makes a sound; the picture is silent."] * 9
    return sentences


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE: every text has tokens, none is unknown."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(make_corpus(), trainer)
    bos = SPECIAL["bos_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, tokenizer.token_to_id(bos))]
    )
    named = {name: token for name, token in SPECIAL.items() if name != "image_token"}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        extra_special_tokens={"image_token": SPECIAL["image_token"]},
        padding_side="left",
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
        **named,
    )


def make_config(tokenizer: PreTrainedTokenizerFast) -> SoundLlavaConfig:
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in SPECIAL.items()}
    vision = CLIPVisionConfig(
        image_size=IMAGE_SIZE,
        patch_size=PATCH_SIZE,
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=4,
        projection_dim=128,
    )
    # Here and in the ears wider than the usual 0.02: another sound changes the text even of a model that never learned.
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=2048,
        initializer_range=0.15,
        bos_token_id=ids["bos_token"],
        eos_token_id=ids["eos_token"],
        pad_token_id=ids["pad_token"],
        tie_word_embeddings=False,
    )
    audio = WhisperClipConfig(
        d_model=96,
        encoder_layers=3,
        encoder_attention_heads=4,
        encoder_ffn_dim=384,
        init_std=0.1,
        window="short",
        time_pooling="valid",
    )
    sound = SoundClipConfig(
        audio_config=audio,
        vision_hidden_size=128,
        projector_hidden_size=512,
        token_budget=TOP_K,
        initializer_range=0.1,
    )
    return SoundLlavaConfig(
        vision_config=vision,
        text_config=text,
        sound_config=sound,
        image_token_index=ids["image_token"],
        image_seq_length=(IMAGE_SIZE // PATCH_SIZE) ** 2,
    )


def make_model(config: SoundLlavaConfig, tokenizer: PreTrainedTokenizerFast, seed: int) -> Any:
    torch.manual_seed(seed)
    model = SoundLlavaForConditionalGeneration(config).eval()
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words = {word for sentence in make_corpus() for word, _ in byte_level.pre_tokenize_str(sentence)}
    spoken = {number for word, number in tokenizer.get_vocab().items() if word in words}
    unspoken = sorted(set(range(len(tokenizer))) - spoken - {tokenizer.eos_token_id})
    with torch.no_grad():
        # A score of 0 is never the largest beside a hundred random ones: what comes out are words, not broken UTF-8.
        model.lm_head.weight[unspoken] = 0.0
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    return model.to(torch.bfloat16)


def make_processor(config: SoundLlavaConfig, tokenizer: PreTrainedTokenizerFast) -> SoundLlavaProcessor:
    image_processor = CLIPImageProcessor(
        size={"shortest_edge": IMAGE_SIZE}, crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    )
    return SoundLlavaProcessor(
        image_processor=image_processor,
        tokenizer=tokenizer,
        feature_extractor=WhisperClipFeatureExtractor(window="short"),
        patch_size=PATCH_SIZE,
        sound_top_k=TOP_K,
    )


def describe_parts(model: Any) -> str:
    parts = {
        "CLIP-like vision tower": ("vision_tower", "4 layers, width 128"),
        "LLaVA projector": ("multi_modal_projector", "128-128-128"),
        "Llama-like language model": ("language_model", "3 layers, width 128"),
        "Whisper-like encoder": ("audio_tower", "3 layers, width 96, short window"),
        "Alignment projector": ("audio_projection", "96-512-512-128"),
    }
    rows = []
    for name, (attribute, shape) in parts.items():
        count = sum(parameter.numel() for parameter in getattr(model.model, attribute).parameters())
        rows.append(f"| {name} | {shape} | {count:,} |")
    rows.append(f"| all, with the output layer | | {sum(parameter.numel() for parameter in model.parameters()):,} |")
    return "\n".join(rows)


def save_model(folder: Path, seed: int) -> None:
    tokenizer = make_tokenizer()
    config = make_config(tokenizer)
    model = make_model(config, tokenizer, seed)
    model.save_pretrained(folder)
    make_processor(config, tokenizer).save_pretrained(folder)
    card = CARD.format(
        rows=describe_parts(model),
        image=f"{IMAGE_SIZE}x{IMAGE_SIZE}",
        patches=config.image_seq_length,
        top_k=TOP_K,
        vocabulary=len(tokenizer),
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
    provenance = {
        "trained": False,
        "seed": seed,
        "script": "scripts/make_untrained_tiny.py",
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "transformers", "tokenizers", "soundclip-hf")},
        },
    }
    (folder / "training.json").write_text(json.dumps(provenance, indent=2) + "\n", encoding="utf-8")


def draw_bell(seconds: float) -> Image.Image:
    """A bell that swings, on a wall with a window and a silent ball beside it."""
    width, height = SIZE
    image = Image.new("RGB", SIZE, (92, 118, 140))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, height * 0.78, width, height), fill=(110, 84, 62))
    draw.rectangle((18, 26, 70, 88), fill=(196, 222, 240), outline=(235, 235, 235), width=3)
    draw.ellipse((24, 130, 66, 172), fill=(178, 44, 52))
    angle = 18 * np.sin(2 * np.pi * (seconds - STRIKES[0]) + np.pi / 2)
    scale = 4  # drawn large and reduced: smooth edges
    bell = Image.new("RGBA", (140 * scale, 280 * scale))
    pen = ImageDraw.Draw(bell)
    brass, dark = (222, 178, 56, 255), (150, 108, 24, 255)

    def box(*corners: float) -> tuple[float, ...]:
        return tuple(scale * corner for corner in corners)

    pen.line(box(70, 140, 70, 156), fill=dark, width=6 * scale)
    pen.ellipse(box(60, 222, 80, 242), fill=dark)
    pen.pieslice(box(38, 152, 102, 216), 180, 360, fill=brass)
    pen.polygon(box(38, 184, 102, 184, 116, 226, 24, 226), fill=brass)
    pen.rectangle(box(20, 222, 120, 230), fill=dark)
    bell = bell.rotate(angle, Image.Resampling.BICUBIC).resize((140, 280), Image.Resampling.LANCZOS)
    image.paste(bell, (100, 14 - 140 + 8), bell)
    return image


def ring_bell() -> np.ndarray:
    """Three strikes, `(samples,)` float32: inharmonic partials of a struck bell that die away, high ones faster."""
    time = np.arange(SECONDS * RATE) / RATE
    sound = np.zeros_like(time)
    for strike in STRIKES:
        after = np.clip(time - strike, 0, None)
        for ratio, level in ((0.5, 0.5), (1.0, 1.0), (1.19, 0.7), (1.5, 0.5), (2.0, 0.6), (2.51, 0.35), (3.01, 0.25)):
            decay = np.exp(-after * (1.2 + 1.3 * ratio))
            sound += (time >= strike) * level * decay * np.sin(2 * np.pi * 660 * ratio * after)
    return (0.6 * sound / np.abs(sound).max()).astype(np.float32)


def write_clip(path: Path) -> None:
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        # One thread: the number of threads changes what x264 writes.
        video: Any = container.add_stream("libx264", rate=FPS, options={"crf": "26", "preset": "slow", "threads": "1"})
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        audio: Any = container.add_stream("aac", rate=RATE, layout="mono")
        audio.bit_rate = 48_000
        for number in range(SECONDS * FPS):
            frame = av.VideoFrame.from_image(draw_bell(number / FPS))
            frame.pts = number
            container.mux(video.encode(frame))
        container.mux(video.encode())
        block = av.AudioFrame.from_ndarray(ring_bell()[None], format="fltp", layout="mono")
        block.sample_rate, block.pts = RATE, 0
        container.mux(audio.encode(block))
        container.mux(audio.encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=CLIP.parent)
    arguments = parser.parse_args()
    folder = arguments.out / "tiny"
    folder.mkdir(parents=True, exist_ok=True)
    save_model(folder, arguments.seed)
    write_clip(arguments.out / CLIP.name)
    for file in sorted([*folder.iterdir(), arguments.out / CLIP.name]):
        print(f"{file.stat().st_size:>9,}  {file}")


if __name__ == "__main__":
    main()
