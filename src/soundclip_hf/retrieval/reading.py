"""Reads the sounds and pictures of media files, and what tells later whether a file has changed."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..media import MediaError, load_picture, load_sound, read_clip, typed_by_user, warn_of_silence
from ..media_kinds import kind_of
from .embedding_store import Entry


@dataclass(frozen=True)
class Source:
    """A media file: its name in the results, and its path or URL."""

    name: str
    path: str

    @property
    def kind(self) -> str:
        return kind_of(self.path)


@dataclass(frozen=True)
class Reading:
    """What to read from a file; `modality` is "auto", "audio", "image" or "both"."""

    modality: str = "auto"
    frame: str | float = "middle"
    frames: int = 1

    def wants(self, kind: str) -> bool:
        """Whether a file of this kind can have the sound or picture that `modality` asks for."""
        return kind == "video" or self.modality in ("auto", kind)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that the vectors depend on; JSON values."""
        return {"modality": self.modality, "frame": self.frame, "frames": self.frames}


@dataclass(frozen=True)
class Read:
    """The content of a file: `sound`, `(samples,)` at the rate that was asked for, and its frames or its picture."""

    source: Source
    entry: Entry
    sound: np.ndarray | None
    pictures: list[Image.Image]


def read_source(source: Source, how: Reading, rate: int) -> Read:
    """
    Open a file.

    Raises:
        ValueError: If it cannot be used (`MediaError`).
        MediaError: If it does not have the sound or picture that is asked for.
    """
    with typed_by_user():  # no table names sources here
        return _read(source, how, rate)


def _read(source: Source, how: Reading, rate: int) -> Read:
    path, kind = source.path, source.kind
    if not how.wants(kind):
        needed = {"audio": "a sound or a clip", "image": "a picture or a clip", "both": "a clip"}[how.modality]
        what = "sound" if kind == "audio" else "picture"
        raise MediaError(f"{source.name}: is a {what}; modality={how.modality!r} needs {needed}")
    identity = _identity(path)
    sound, pictures, frame_time = None, [], None
    if kind == "image":
        pictures = [load_picture(path, name=source.name)]
    elif kind == "audio" or how.modality == "audio":
        sound = load_sound(path, sampling_rate=rate)
    else:
        clip = read_clip(path, frame=how.frame, sampling_rate=rate, frames=how.frames)
        sound = clip.waveform if how.modality != "image" else None
        warn_of_silence(source.name, sound)
        pictures = list(clip.frames)
        frame_time = clip.frame_time if how.frames == 1 else None
        if how.modality == "both" and sound is None:
            raise MediaError(f"{source.name}: has no audio stream; modality='auto' takes its picture alone")
        if how.modality != "auto" and not pictures:
            raise MediaError(f"{source.name}: has no video stream; modality='auto' takes its sound alone")
    entry = Entry(
        source.name,
        audio=sound is not None,
        image=bool(pictures),
        seconds=None if sound is None else round(len(sound) / rate, 3),
        frame_time=None if frame_time is None else round(frame_time, 3),
        **identity,
    )
    return Read(source, entry, sound, pictures)


def unchanged(source: Source, entry: Entry | None) -> bool:
    """Whether a file has not changed since its entry was made: same size and time, or same size and content."""
    if entry is None:
        return False
    if "://" in source.path:
        return entry.size is None
    try:
        status = os.stat(source.path)
        if status.st_size != entry.size:
            return False
        return status.st_mtime_ns == entry.mtime_ns or _file_digest(source.path) == entry.digest
    except OSError:
        return False


def _identity(path: str) -> dict[str, Any]:
    if "://" in path or not Path(path).is_file():
        return {}
    status = os.stat(path)
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "digest": _file_digest(path)}


def _file_digest(path: str) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


__all__ = ["Read", "Reading", "Source", "read_source", "unchanged"]
