"""A clip's file in; its frames and its sound as parts of a chat message out."""

from __future__ import annotations

import base64
import hashlib
import io
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...media import MediaError, read_clip

JPEG_QUALITY = 90
# Upper estimates, until a server counts them: of a picture of 1024x1024, and of a second of sound.
IMAGE_TOKENS, AUDIO_TOKENS = 1600, 50


@dataclass(frozen=True)
class Reading:
    """What of a clip is sent.

    Attributes:
        frames: How many, evenly spaced; 0 sends no picture.
        max_side: Longest side of a frame, in pixels; smaller ones stay as they are.
        sampling_rate: Of the sound, in Hz; 0 sends no sound.
    """

    frames: int = 4
    max_side: int = 512
    sampling_rate: int = 16000

    def __post_init__(self) -> None:
        if self.frames < 0 or self.sampling_rate < 0 or self.max_side < 16:
            raise ValueError(f"{self}: pass frames >= 0, max_side >= 16 and sampling_rate >= 0")
        if not self.frames and not self.sampling_rate:
            raise ValueError("frames=0 and sampling_rate=0: nothing of a clip would be sent")


def find_clip(folder: str | Path | None, sample_id: str) -> Path:
    """
    Raises:
        ValueError: The folder has no such clip, or the id is a path.
    """
    if folder is None:
        raise ValueError("no folder of clips was given")
    path = Path(folder) / f"{sample_id}.mp4"
    if path.name != f"{sample_id}.mp4" or not path.is_file():
        raise ValueError(f"there is no {sample_id}.mp4 in {folder}")
    return path


def content_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def media_parts(path: Path, reading: Reading) -> list[dict[str, Any]]:
    """Each frame after a line that says when it is on screen, then the sound as 16-bit WAV: OpenAI's content parts.

    Raises:
        ValueError: The file cannot be decoded, or what was asked for is not in it.
    """
    clip = read_clip(path, frames=max(reading.frames, 1), sampling_rate=reading.sampling_rate or None)
    parts: list[dict[str, Any]] = []
    if reading.frames:
        if not clip.frames:
            raise MediaError(f"{path}: has no picture")
        for picture, time in zip(clip.frames, clip.frame_times):
            parts.append({"type": "text", "text": f"Frame at {time:.2f} s:"})
            parts.append({"type": "image_url", "image_url": {"url": _jpeg(picture, reading.max_side)}})
    if reading.sampling_rate:
        if clip.waveform is None:
            raise MediaError(f"{path}: has no sound")
        sound = {"data": _wav(clip.waveform, reading.sampling_rate), "format": "wav"}
        parts += [{"type": "text", "text": "Sound:"}, {"type": "input_audio", "input_audio": sound}]
    return parts


def tokens_of(content: Any, characters_per_token: int) -> int:
    """An upper estimate of the tokens of a message's content: text, or parts as above."""
    if isinstance(content, str):
        return len(content) // characters_per_token
    count = 0
    for part in content:
        if part["type"] == "input_audio":
            seconds = len(part["input_audio"]["data"]) * 3 / 4 / (2 * 16000)
            count += int(AUDIO_TOKENS * (seconds + 1))
        else:
            count += IMAGE_TOKENS if part["type"] == "image_url" else len(part["text"]) // characters_per_token
    return count


def _jpeg(picture: Image.Image, max_side: int) -> str:
    if max(picture.size) > max_side:
        picture = picture.copy()
        picture.thumbnail((max_side, max_side), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    picture.convert("RGB").save(file, "JPEG", quality=JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _wav(waveform: np.ndarray, rate: int) -> str:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes((np.clip(waveform, -1, 1) * 32767).round().astype("<i2").tobytes())
    return base64.b64encode(file.getvalue()).decode()


__all__ = ["Reading", "content_hash", "find_clip", "media_parts", "tokens_of"]
