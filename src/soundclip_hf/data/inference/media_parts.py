"""Turns the file of a clip into parts of a chat message: its frames and its sound."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...media import MediaError, read_clip
from ...media.wav_files import write_wav

JPEG_QUALITY = 90
# Upper estimates of the tokens of a picture of 1024x1024 and of a second of sound, for the time before a server has
# counted them.
IMAGE_TOKENS, AUDIO_TOKENS = 1600, 50


@dataclass(frozen=True)
class MediaOptions:
    """How much of a clip is sent to a model.

    Attributes:
        frames: Number of frames, evenly spaced; 0 sends none.
        max_side: Longest side of a frame, in pixels. Smaller frames are sent as they are.
        sampling_rate: Of the sound, in Hz; 0 sends no sound.

    Raises:
        ValueError: A value is out of range, or neither frames nor sound would be sent.
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
        ValueError: There is no folder, the folder has no such clip, or the id is a path.
    """
    if folder is None:
        raise ValueError("no folder of clips was given")
    path = Path(folder) / f"{sample_id}.mp4"
    try:
        found = path.name == f"{sample_id}.mp4" and path.is_file()
    except OSError as error:  # such as a name that is too long, behind which the reason would be cut off
        raise ValueError(f"{error.strerror}: {path}") from error
    if not found:
        raise ValueError(f"there is no {sample_id}.mp4 in {folder}")
    return path


def media_parts(path: Path, options: MediaOptions) -> list[dict[str, Any]]:
    """A clip as content parts of OpenAI's API: the frames, each after a line with its time, then the sound as WAV.

    Raises:
        ValueError: The file cannot be decoded, or it lacks the picture or the sound that is to be sent.
    """
    clip = read_clip(path, frames=max(options.frames, 1), sampling_rate=options.sampling_rate or None)
    parts: list[dict[str, Any]] = []
    if options.frames:
        if not clip.frames:
            raise MediaError(f"{path}: has no picture")
        for picture, time in zip(clip.frames, clip.frame_times):
            parts.append({"type": "text", "text": f"Frame at {time:.2f} s:"})
            parts.append(picture_part(picture, options.max_side))
    if options.sampling_rate:
        if clip.waveform is None:
            raise MediaError(f"{path}: has no sound")
        sound = {"data": _wav(clip.waveform, options.sampling_rate), "format": "wav"}
        parts += [{"type": "text", "text": "Sound:"}, {"type": "input_audio", "input_audio": sound}]
    return parts


def picture_part(picture: Image.Image, max_side: int) -> dict[str, Any]:
    """A picture as a content part of OpenAI's API.

    Args:
        max_side: Longest side that is sent, in pixels.
    """
    return {"type": "image_url", "image_url": {"url": _jpeg(picture, max_side)}}


def estimate_tokens(content: Any, characters_per_token: int) -> int:
    """An upper estimate of the tokens in the content of a message.

    Args:
        content: Text, or a list as `media_parts` returns it.
        characters_per_token: Of text; the lower it is, the higher the estimate.
    """
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
    write_wav(file, waveform, rate)
    return base64.b64encode(file.getvalue()).decode()


__all__ = ["MediaOptions", "estimate_tokens", "find_clip", "media_parts", "picture_part"]
