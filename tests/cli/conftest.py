"""The command in this process, and small files to describe."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media_files import pcm_wav, tone, write_media
from PIL import Image
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel
from typer.testing import CliRunner

from soundclip_hf.cli import app


class Outcome:
    """What a run of `soundclip` left behind."""

    def __init__(self, result: Any) -> None:
        self.code, self.stdout, self.stderr = result.exit_code, result.stdout, result.stderr

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stdout.splitlines()]

    @property
    def answers(self) -> list[str]:
        return [row["answer"] for row in self.rows]

    @property
    def error(self) -> str:
        """The only error line."""
        (line,) = [line for line in self.stderr.splitlines() if line.lower().startswith("error:")]
        return line


@pytest.fixture
def soundclip():
    def run(*arguments: object) -> Outcome:
        return Outcome(CliRunner().invoke(app, [str(argument) for argument in arguments]))

    return run


@pytest.fixture
def describe(soundclip):
    """`soundclip describe` with few tokens."""

    def run(*arguments: object) -> Outcome:
        return soundclip("describe", "--max-new-tokens", 6, *arguments)

    return run


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> Path:
    """A folder with clips, pictures and sounds, whole and broken."""
    folder = tmp_path_factory.mktemp("media")
    noise = np.random.default_rng(0)
    colours = [np.full((48, 64, 3), value, np.uint8) for value in range(0, 250, 10)]
    write_media(folder / "a.mp4", video="libx264", audio="aac", frames=colours, samples=tone(1, 48000))
    write_media(folder / "b.mp4", video="libx264", audio="aac", frames=colours[::-1], samples=0.1 * tone(2, 48000))
    write_media(folder / "silent.mp4", video="libx264", frames=colours)
    (folder / "corrupt.mp4").write_bytes((folder / "a.mp4").read_bytes()[:2000])
    (folder / "noise.wav").write_bytes(pcm_wav((8000 * noise.standard_normal((16000, 1))).astype(np.int16), 16000))
    (folder / "tone.wav").write_bytes(pcm_wav(tone(2, 16000).T, 16000))
    (folder / "short.wav").write_bytes(pcm_wav(tone(0.01, 16000).T, 16000))
    (folder / "zeros.wav").write_bytes(pcm_wav(np.zeros((16000, 1), np.int16), 16000))
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.png").write_text("no picture")
    Image.fromarray(noise.integers(0, 255, (60, 80, 3), np.uint8)).save(folder / "picture.png")
    return folder


@pytest.fixture(scope="session")
def whisper(tmp_path_factory) -> Path:
    """A random Whisper checkpoint, wider than the bundled model's tokens."""
    folder = tmp_path_factory.mktemp("whisper")
    config = WhisperConfig(
        d_model=160,
        encoder_layers=2,
        encoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_layers=1,
        decoder_attention_heads=4,
        decoder_ffn_dim=64,
        vocab_size=64,
        max_target_positions=16,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        init_std=0.2,
    )
    WhisperModel(config).save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)
    return folder
