"""Samples in order, of which each is made when it is asked for: a data set may hold more media than memory."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import overload

import torch

from .sample import Sample


class Samples(Sequence[Sample]):
    """
    Args:
        name: Of the data set, with its split behind a comma, for results.
        get: Makes the sample of an index.
        ids, groups: Of all samples that `get` can make.
        revision: Of a data set on a Hub: a commit.
        content: Changes when the data set does, where the ids and files alone do not say so.
        left_out: Ids of rows, or names of files, that are no samples: without a sound or a picture, or with a name that
            is not UTF-8.
        keep: Indices of the samples that are in this part; None: all.

    Raises:
        ValueError: If two samples have the same id.
    """

    def __init__(
        self,
        name: str,
        get: Callable[[int], Sample],
        ids: Sequence[str],
        groups: Sequence[str],
        *,
        revision: str | None = None,
        content: str = "",
        left_out: Sequence[str] = (),
        keep: Sequence[int] | None = None,
    ) -> None:
        self.name, self.revision, self.left_out = name, revision, tuple(left_out)
        self._get, self._ids, self._groups, self._content = get, ids, groups, content
        self._keep = range(len(ids)) if keep is None else keep
        if keep is None and len(set(ids)) < len(ids):
            seen: set[str] = set()
            twice = next(one for one in ids if one in seen or seen.add(one))  # type: ignore[func-returns-value]
            raise ValueError(f"{name}: two samples have the id {twice!r}; make the ids unique")

    def __len__(self) -> int:
        return len(self._keep)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> "Samples": ...
    def __getitem__(self, index: int | slice) -> "Sample | Samples":
        if isinstance(index, slice):
            return self._part(self._keep[index])
        return self._get(self._keep[index])

    def __iter__(self) -> Iterator[Sample]:
        return map(self._get, self._keep)

    @property
    def ids(self) -> list[str]:
        return [self._ids[index] for index in self._keep]

    @property
    def groups(self) -> list[str]:
        return [self._groups[index] for index in self._keep]

    def take(self, n: int | None) -> "Samples":
        """The first `n`, or all of them for None."""
        return self if n is None else self[:n]

    def unique_groups(self, seed: int = 0) -> "Samples":
        """One sample of each group, drawn by `seed`, in the order of the data set."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed)).tolist()
        chosen = {self._groups[self._keep[place]]: self._keep[place] for place in order}
        return self._part(sorted(chosen.values()))

    def identity(self) -> str:
        """A hash that changes with the samples, and with the sizes of their files; not with where a folder lies."""
        digest = hashlib.sha256(json.dumps([self.revision, self._content, self.ids]).encode())
        if not self._content:
            for sample in self:
                sizes = [_size(source) for source in (sample.audio, sample.image, sample.video)]
                digest.update(json.dumps([sample.scene, sizes]).encode())
        return digest.hexdigest()

    def _part(self, keep: Sequence[int]) -> "Samples":
        return Samples(
            self.name,
            self._get,
            self._ids,
            self._groups,
            revision=self.revision,
            content=self._content,
            left_out=self.left_out,
            keep=keep,
        )


def _size(source: object) -> int | str | None:
    if isinstance(source, bytes):
        return len(source)
    if not isinstance(source, str | Path) or "://" in str(source):
        return None if source is None else str(source)
    try:
        return os.stat(source).st_size
    except OSError:  # the sample fails when it is read
        return None


__all__ = ["Samples"]
