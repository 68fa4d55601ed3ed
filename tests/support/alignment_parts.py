"""A small LLaVA, a small Whisper and pairs of tones and colours that a projector can learn, on disk."""

from pathlib import Path

import datasets
import numpy as np
import torch
from media_files import pcm_wav
from PIL import Image
from tiny_models import tiny_llava
from tiny_processors import tiny_llava_processor
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel


def write_base(folder: Path) -> Path:
    """A stock LLaVA-1.5 with random weights."""
    tiny_llava("llava").save_pretrained(folder)
    tiny_llava_processor("llava").save_pretrained(folder)
    return folder


def write_whisper(folder: Path) -> Path:
    """A random Whisper of width 24."""
    torch.manual_seed(3)
    config = WhisperConfig(
        d_model=24,
        encoder_layers=2,
        encoder_attention_heads=2,
        encoder_ffn_dim=48,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=32,
        vocab_size=64,
        max_target_positions=16,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        init_std=0.3,
    )
    WhisperModel(config).save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)
    return folder


def sound_bytes(row: int, rate: int = 16000) -> bytes:
    """A wav file: a tone of a pitch that grows with the row."""
    wave = 0.5 * np.sin(2 * np.pi * (200 + 60 * row) * np.arange(rate // 5) / rate)
    return pcm_wav((32000 * wave[:, None]).astype(np.int16), rate)


def picture(row: int) -> Image.Image:
    """A colour that changes with the row, and a bar at a place that does."""
    pixels = np.full((32, 32, 3), (8 * row % 256, 255 - 6 * row % 256, 128), np.uint8)
    pixels[:, row % 32] = 255
    return Image.fromarray(pixels)


def write_pairs(folder: Path, count: int = 24) -> Path:
    """A folder of sounds and pictures of equal names."""
    folder.mkdir(parents=True, exist_ok=True)
    for row in range(count):
        (folder / f"{row:03d}.wav").write_bytes(sound_bytes(row))
        picture(row).save(folder / f"{row:03d}.png")
    return folder


def table(count: int = 12) -> datasets.Dataset:
    """Columns as on the Hub: features that datasets would decode."""
    rows = {
        "caption": [f"{row}" for row in range(count)],
        "audio": [{"bytes": sound_bytes(row), "path": None} for row in range(count)],
        "image": [picture(row) for row in range(count)],
    }
    return datasets.Dataset.from_dict(rows).cast_column("audio", datasets.Audio())


def write_table(folder: Path) -> Path:
    """`table()` as a parquet file."""
    folder.mkdir(exist_ok=True)
    table().to_parquet(folder / "train-0.parquet")
    return folder
