"""Finds the distinct sounds of a fine-tuning's rows without opening them."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ....media import Clip
from ....modeling.slots.slot import VideoSound
from ...settings_parser import ArgumentsError
from ..collator import SoundLlavaCollator
from ..rows import Rows, SyntheticRows


@dataclass(frozen=True)
class Sound:
    """
    A sound that has not been opened.

    Attributes:
        number: Among the distinct sounds of the rows.
        row: The first one that it is in, for messages.
        source: What `load_sound` takes, or a [`VideoSound`].
        rate: Of a bare array, in Hz.
    """

    number: int
    row: int
    source: Any
    rate: int | None = None


class DistinctSounds(Dataset):
    """
    The sounds of some rows, each of them once, numbered from 0. No medium is opened.

    Sounds are the same if they are one file of one size and time, one URL, or the same bytes or samples. Rows that are
    no conversations have no sounds here.

    Args:
        parts: Of one data set or of several. Sounds are numbered in the order of a data set's rows, however these are
            divided into parts.
        collator: Says which sounds a row has, and in which order.
        advance: Called with the number of new rows.

    Raises:
        ArgumentsError: If a sound cannot be told from others before it is decoded.
    """

    def __init__(
        self, parts: Sequence[Rows], collator: SoundLlavaCollator, advance: Callable[[int], Any] | None = None
    ) -> None:
        self.collator = collator
        self.tables: list[Rows] = []
        self.numbers: list[tuple[Tensor, Tensor]] = []  # of each table, as `of` returns them
        self.first: list[tuple[int, int, int]] = []  # of each sound: table, row, place in the row
        known: dict[str, int] = {}
        for table in {id(part.rows): part for part in parts}.values():
            rows = torch.cat([part.keep for part in parts if part.rows is table.rows]).unique().tolist()
            number = len(self.tables)
            self.tables.append(Rows(table.rows, None, table.form))
            counts = torch.zeros(len(table.rows) + 1, dtype=torch.int64)
            found: list[int] = []
            for row in rows:
                names = self._names(number, row)
                counts[row + 1] = len(names)
                for place, name in enumerate(names):
                    if name not in known:
                        known[name] = len(self.first)
                        self.first.append((number, row, place))
                    found.append(known[name])
                if advance is not None:
                    advance(1)
            self.numbers.append((counts.cumsum(0), torch.tensor(found, dtype=torch.int64)))
        self.names = list(known)

    def __len__(self) -> int:
        return len(self.first)

    def __getitem__(self, index: int) -> Sound:
        table, row, place = self.first[index]
        source, rate = self.collator.sounds_of(self.tables[table][row])[place]
        return Sound(index, row, source, rate)

    def of(self, part: Rows) -> tuple[Tensor, Tensor]:
        """
        The sounds of the rows of a data set.

        Returns:
            `starts` `(rows + 1,)` and `numbers` `(sounds,)`, both int64: the sounds of row i of the data set are
            `numbers[starts[i]:starts[i + 1]]`.
        """
        return next(own for table, own in zip(self.tables, self.numbers) if table.rows is part.rows)

    def identity(self) -> str:
        """A hash that changes with the sounds and their order."""
        return hashlib.sha256("\n".join(self.names).encode()).hexdigest()

    def _names(self, table: int, row: int) -> list[str]:
        rows = self.tables[table]
        if isinstance(rows.rows, SyntheticRows):
            return [f"synthetic scene {rows.rows.scene_of(row)}"]  # known without drawing it
        try:
            sounds = self.collator.sounds_of(rows[row])
        except (OSError, ValueError, TypeError):  # the collator says why when it leaves the row out
            return []
        return [_name(source, rate, row) for source, rate in sounds]


def _name(source: Any, rate: Any, row: int) -> str:
    """A text that is equal for equal sounds."""
    digest = hashlib.sha256()
    for piece in _pieces(source, rate, row):
        digest.update(len(piece).to_bytes(8, "big") + piece)
    return digest.hexdigest()


def _pieces(source: Any, rate: Any, row: int) -> Iterator[bytes]:
    if isinstance(source, VideoSound):
        yield b"video"
        source = source.source
    if isinstance(source, Clip):
        source, rate = source.waveform, source.sampling_rate
    if isinstance(source, tuple) and len(source) == 2:
        for part in source:
            yield from _pieces(part, rate, row)
    elif isinstance(source, (str, Path)):
        yield os.fsencode(source)
        try:
            state = os.stat(source)
        except (OSError, ValueError):  # a URL, or a file that is not there
            return
        yield f"{state.st_size} {state.st_mtime_ns}".encode()
    elif isinstance(source, (bytes, bytearray, memoryview)):
        yield bytes(source)
    elif isinstance(source, (int, float, list, np.ndarray, np.generic, Tensor)):
        samples = np.asarray(source)
        yield f"{samples.dtype} {samples.shape} {rate}".encode()
        yield samples.tobytes()
    else:
        raise ArgumentsError(
            f"cache_embeddings: row {row} has a sound of type {type(source).__name__}, which cannot be told from "
            "others before it is decoded; give paths, bytes or arrays, or leave cache_embeddings out"
        )


__all__ = ["DistinctSounds", "Sound"]
