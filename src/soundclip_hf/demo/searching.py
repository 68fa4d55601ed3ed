"""Searches an index for a visitor: a sound finds frames, and a picture finds sounds."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..media import load_picture, load_sound, read_clip
from ..media_kinds import kind_of
from ..retrieval.embedding import Dual, embed_files
from ..retrieval.embedding_store import Block, Kind
from ..retrieval.matching import Match, matches
from ..retrieval.reading import Reading, Source
from .examples import Example
from .given import DemoError

# Of a match's sound, which travels inside the page.
PLAYED_SECONDS, PLAYED_RATE = 10, 16_000
_SHOWN = 320  # pixels of the longer side of a match's frame


@dataclass(frozen=True, eq=False)
class Found:
    """
    One match, with what the page shows of it.

    Attributes:
        score: Cosine of the query and the match.
        name: Of the file, in its folder.
        frame: Its frame or picture; None where it has none.
        sound: Its first `PLAYED_SECONDS`, `(samples,)` float32 at `PLAYED_RATE` Hz; None where it has none.
        missing: Why the file cannot be shown any more, or None.
    """

    score: float
    name: str
    frame: Image.Image | None = None
    sound: np.ndarray | None = None
    missing: str | None = None


@dataclass(frozen=True, eq=False)
class Library:
    """
    An index that can be searched.

    Attributes:
        dual: The dual encoder that it was made with.
        blocks: Its vectors, of length 1.
        folder: Of its files.
        frame, frames: Which frames were embedded, as in `Reading`.
    """

    dual: Dual
    blocks: Sequence[Block]
    folder: Path
    frame: str | float = "middle"
    frames: int = 1

    def count(self, kind: Kind) -> int:
        """How many sounds ("audio") or frames ("image") it holds."""
        return sum(len(getattr(block, kind)) for block in self.blocks)

    def search(self, path: str, by: Kind, k: int) -> list[Found]:
        """
        The best `k` matches of a file, the best one first.

        Args:
            path: A clip, a sound or a picture.
            by: "audio" finds frames by the sound of the file, "image" finds sounds by its picture.

        Raises:
            DemoError: If the file cannot be used, has no sound or picture, or the index has nothing to find.
        """
        wanted: Kind = "audio" if by == "image" else "image"
        if not self.count(wanted):
            raise DemoError(f"This index holds no {'sounds' if wanted == 'audio' else 'frames'}.")
        name = Path(path).name
        how = Reading(by if kind_of(path) == "video" else "auto", self.frame, self.frames)
        (embedded,) = embed_files([Source(name, path)], self.dual, how, 1, True)
        vector = getattr(embedded, by)
        if vector is None:
            nothing = f"{name}: has no {'sound' if by == 'audio' else 'picture'} to search with"
            raise DemoError(_about_a_visitor(embedded.error, path) if embedded.error else nothing)
        return [self._shown(match) for match in matches(vector, self.blocks, wanted, k)]

    def _shown(self, match: Match) -> Found:
        entry = match.entry
        path, kind = self.folder / entry.source, kind_of(entry.source)
        frame, sound = None, None
        try:
            if kind == "image":
                frame = load_picture(path)
            elif kind == "audio":
                sound = load_sound(path, sampling_rate=PLAYED_RATE)
            else:
                read = read_clip(path, frame=_moment(entry.frame_time), sampling_rate=PLAYED_RATE)
                frame, sound = read.frame, read.waveform
        except (ValueError, OSError):
            missing = "has changed since it was indexed" if path.exists() else "is no longer there"
            return Found(match.score, entry.source, missing=f"This file {missing}.")
        if frame is not None:
            frame = frame.convert("RGB")
            frame.thumbnail((_SHOWN, _SHOWN))
        return Found(match.score, entry.source, frame, None if sound is None else sound[: PLAYED_SECONDS * PLAYED_RATE])


def embed_examples(dual: Dual, examples: Sequence[Example], folder: Path) -> Library:
    """
    An index of the clips among the examples, in memory; of pictures and sounds where there are no clips.

    Args:
        folder: That they lie in.

    Raises:
        ValueError: If one of them cannot be embedded.
    """
    paths = [one.clip for one in examples if one.clip is not None]
    if not paths:
        paths = [path for one in examples for path in (one.picture, one.sound) if path is not None]
    sources = [Source(path.relative_to(folder).as_posix(), str(path)) for path in paths]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # an example may be silent
        rows = list(embed_files(sources, dual, Reading(), 8, True))
    for row in rows:
        if row.error is not None:
            raise ValueError(row.error)
    vectors = [
        torch.stack([vector for row in rows if (vector := getattr(row, kind)) is not None])
        if any(getattr(row, kind) is not None for row in rows)
        else torch.empty(0, 1)
        for kind in ("audio", "image")
    ]
    entries = [row.entry for row in rows if row.entry is not None]
    return Library(dual, [Block(entries, vectors[0], vectors[1], {})], folder)


def _moment(frame_time: float | None) -> str | float:
    return "middle" if frame_time is None else frame_time


def _about_a_visitor(text: str, path: str) -> str:
    """An error of the retrieval, with the name of the file alone and in words of the page."""
    text = text.replace(path, Path(path).name)
    text, _, _ = text.partition("; modality='auto'")
    return text


__all__ = ["PLAYED_RATE", "PLAYED_SECONDS", "Found", "Library", "embed_examples"]
