"""Which file is a sound, a picture or a clip, by the ending of its name: one list for every command and reader."""

from __future__ import annotations

import os
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
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


@dataclass
class MediaFiles:
    """
    What a folder holds, by [`media_files`].

    Attributes:
        paths: The files with one of the endings, ordered by name.
        hidden: Files and folders passed over because their names begin with a dot.
        other: Files passed over because of their endings.
        unnamed: Files with one of the endings whose names are not UTF-8: no table can hold them.
    """

    paths: list[Path] = field(default_factory=list)
    hidden: int = 0
    other: int = 0
    unnamed: list[Path] = field(default_factory=list)

    def passed_over(self) -> str:
        """How many files were passed over and why, as a sentence; empty where there were none."""
        parts = [(self.hidden, "hidden"), (self.other, "of other kinds"), (len(self.unnamed), "with names not UTF-8")]
        said = ", ".join(f"{count} {what}" for count, what in parts if count)
        return f"files passed over: {said}" if said else ""


def media_files(folder: Path, endings: Set[str], leave_out: Path | None = None) -> MediaFiles:
    """
    The files of a folder, at any depth, that have one of the endings, in upper or lower case.

    Hidden files and folders are passed over (as `._clip.mp4`, which macOS writes beside `clip.mp4`). Symbolic links to
    folders are followed, each folder once.

    Args:
        folder: Where to look.
        endings: Of `SOUNDS`, `PICTURES` and `CLIPS`.
        leave_out: A folder below that is not looked into, such as the output of the run.

    Raises:
        OSError: If the folder itself cannot be read.
    """
    found, seen = MediaFiles(), {leave_out.resolve()} if leave_out is not None else set()
    os.scandir(folder).close()  # os.walk passes over what cannot be read, the folder itself too
    for place, folders, files in os.walk(folder, followlinks=True):
        here = Path(place)
        if here.resolve() in seen:
            folders.clear()
            continue
        seen.add(here.resolve())
        found.hidden += sum(name.startswith(".") for name in folders)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            path = here / name
            if not path.is_file():
                continue
            if name.startswith("."):
                found.hidden += 1
            elif path.suffix.lower() not in endings:
                found.other += 1
            elif not _is_utf8(path.relative_to(folder).as_posix()):
                found.unnamed.append(path)
            else:
                found.paths.append(path)
    found.paths.sort()
    return found


def paired(paths: Sequence[Path]) -> list[dict[str, Path]]:
    """
    What belongs together: each clip as `{"video": path}` where there are clips; else each sound that lies beside a
    picture of the same name, as `{"audio": path, "image": path}`. Other files are left out.
    """
    if clips := [{"video": path} for path in paths if path.suffix.lower() in CLIPS]:
        return clips
    pictures = {path.with_suffix(""): path for path in paths if path.suffix.lower() in PICTURES}
    return [
        {"audio": path, "image": pictures[path.with_suffix("")]}
        for path in paths
        if path.suffix.lower() in SOUNDS and path.with_suffix("") in pictures
    ]


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes of the name that Python holds as surrogates
        return False
    return True


__all__ = ["CLIPS", "PICTURES", "SOUNDS", "MediaFiles", "kind_of", "media_files", "paired"]
