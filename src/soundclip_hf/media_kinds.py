"""Which file is a sound, a picture or a clip, by the ending of its name: one list for every command and reader."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import urlsplit

# fmt: off
SOUNDS = frozenset(
    {
        ".aac", ".ac3", ".aif", ".aiff", ".amr", ".caf", ".flac", ".m4a", ".m4b", ".mka", ".mp2", ".mp3", ".oga",
        ".ogg", ".opus", ".wav", ".wma",
    }
)
PICTURES = frozenset(
    {
        ".apng", ".avif", ".bmp", ".gif", ".heic", ".jfif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff",
        ".webp",
    }
)
CLIPS = frozenset(
    {
        ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts",
        ".webm", ".wmv",
    }
)
# fmt: on


def kind_of(source: str) -> Literal["audio", "image", "video"]:
    """Of a path or URL, from the name alone: an unknown ending is taken for a clip."""
    path = urlsplit(source).path if "://" in source else source
    suffix = PurePosixPath(path).suffix.lower()
    return "audio" if suffix in SOUNDS else "image" if suffix in PICTURES else "video"


def clips_in(folder: Path) -> Iterator[Path]:
    """Files of `CLIPS` at any depth."""
    return (path for path in folder.rglob("*") if path.suffix.lower() in CLIPS and path.is_file())


__all__ = ["CLIPS", "PICTURES", "SOUNDS", "clips_in", "kind_of"]
