"""Embeddings of samples, each with its sound and its picture, in one file that a run can be killed at and go on."""

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..files import InUseError, lock_folder, name_beside, naming, remove_leftovers, replacing
from ..retrieval.embedding_store import other_settings
from ..text_tables import json_text
from .samples import Samples

FORMAT = "soundclip_embedded_samples"
_TENSORS = ("encoded", "projected", "pictures")


@dataclass(frozen=True)
class Entry:
    """
    One sample.

    Attributes:
        id, group: As of [`~samples.Sample`].
        identity: A hash that changes with the sample, so that a changed one is embedded again.
        labels: What is known about it, by name: "source" is the first of the sources that are heard and seen, or else
            of those that are heard only; "audio_visual_label" is the column of AVE-2.
    """

    id: str
    group: str
    identity: str
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EmbeddedSamples:
    """
    Attributes:
        entries: The n samples, in order.
        encoded: `(n, d_a)` fp32, `z_a` of their sounds, the outputs of the audio encoder.
        projected: `(n, d_v)` fp32, `f_a` after the projector, not normalised.
        pictures: `(n, d_v)` fp32, CLIP's `[CLS]` of their pictures, not normalised.
        settings: How they were made; JSON values.
    """

    entries: list[Entry]
    encoded: Tensor
    projected: Tensor
    pictures: Tensor
    settings: dict[str, Any]

    @property
    def raw(self) -> Tensor:
        """`(n, d_v)` fp32, `f_a` without the projector: `encoded`, padded with zeros or cut."""
        return F.pad(self.encoded, (0, self.pictures.shape[1] - self.encoded.shape[1]))

    @property
    def ids(self) -> list[str]:
        return [entry.id for entry in self.entries]

    @property
    def groups(self) -> list[str]:
        return [entry.group for entry in self.entries]

    def __len__(self) -> int:
        return len(self.entries)

    def select(self, rows: Sequence[int]) -> "EmbeddedSamples":
        """The samples of these rows, in this order."""
        places = torch.tensor(rows, dtype=torch.int64)
        encoded, projected, pictures = (getattr(self, name)[places] for name in _TENSORS)
        return EmbeddedSamples([self.entries[row] for row in rows], encoded, projected, pictures, self.settings)

    def unique_groups(self, seed: int = 0) -> "EmbeddedSamples":
        """One sample of each group, drawn by `seed`, in the order that they have."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed)).tolist()
        return self.select(sorted({self.entries[row].group: row for row in order}.values()))

    def save(self, path: Path) -> None:
        """Write a safetensors file with the three tensors and `entries` (JSON as bytes), completely or not at all."""
        text = json_text([asdict(entry) for entry in self.entries]).encode()
        tensors = {name: getattr(self, name).float().contiguous() for name in _TENSORS}
        tensors["entries"] = torch.from_numpy(np.frombuffer(text, np.uint8).copy())
        with replacing(path, sync=True) as partial:
            save_file(tensors, partial, metadata={"format": "pt", FORMAT: "1", "settings": json.dumps(self.settings)})

    @classmethod
    def load(cls, path: Path) -> "EmbeddedSamples":
        """
        Raises:
            OSError: If the file cannot be opened.
            ValueError: If it is something else.
        """
        try:
            with naming(path), safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get(FORMAT) != "1":
                    raise ValueError(f"{path}: holds no embeddings of samples")
                entries = json.loads(file.get_tensor("entries").numpy().tobytes())
                encoded, projected, pictures = (file.get_tensor(name) for name in _TENSORS)
                settings = json.loads(metadata["settings"])
                return cls([Entry(**entry) for entry in entries], encoded, projected, pictures, settings)
        except SafetensorError as error:
            raise ValueError(f"{path}: is no readable safetensors file ({error})") from error


def join(parts: Iterable[EmbeddedSamples]) -> EmbeddedSamples:
    """Concatenate; there must be at least one part."""
    parts = list(parts)
    encoded, projected, pictures = (torch.cat([getattr(part, name) for part in parts]) for name in _TENSORS)
    entries = [entry for part in parts for entry in part.entries]
    return EmbeddedSamples(entries, encoded, projected, pictures, parts[0].settings)


class EmbeddingCache:
    """
    The embeddings that a run has, in memory and, where there is a file, on disk.

    Until [`finish`] writes the file, what is added is in the folder `.NAME.parts` beside it, from which a run that was
    killed goes on. Samples that an earlier run has added stay in the file.

    Args:
        path: The file; None keeps everything in memory.
        settings: On which the embeddings depend.

    Raises:
        InUseError: If another run is writing to it.
        OSError: If it cannot be read, or its folder cannot be written.
        ValueError: If it is another file, or was made with other settings.
    """

    def __init__(self, path: Path | None, settings: dict[str, Any]) -> None:
        self.path, self.settings = path, settings
        self._parts: list[EmbeddedSamples] = []
        self._places: dict[str, tuple[int, int]] = {}
        self._changed = False
        self._lock = None
        if path is None:
            return
        if path.is_dir():
            raise ValueError(f"{path}: is a folder; name a file for the embeddings")
        if path.exists():
            self._take(EmbeddedSamples.load(path))
        remove_leftovers(path.parent)
        self._folder = name_beside(path, ".parts")
        try:
            self._lock = lock_folder(self._folder)
        except InUseError:
            raise InUseError(
                f"{path}: another run is writing to it; wait until it is done, or name another file for the embeddings"
            ) from None
        try:
            for part in sorted(self._folder.glob("*.safetensors")):
                self._take(EmbeddedSamples.load(part))
                self._changed = True
        except BaseException:
            self._lock.close()
            raise

    def missing(self, samples: Samples) -> tuple[list[int], list[str]]:
        """The indices of samples that are not here, or have changed, and the identities of these samples."""
        indices, identities = [], []
        for index, name in enumerate(samples.ids):
            identity = samples[index : index + 1].identity()
            place = self._places.get(name)
            if place is None or self._parts[place[0]].entries[place[1]].identity != identity:
                indices.append(index)
                identities.append(identity)
        return indices, identities

    def add(self, part: EmbeddedSamples) -> None:
        """Add samples; they are on disk when this returns, and take the place of those with the same ids."""
        if self.path is not None:
            number = sum(1 for _ in self._folder.glob("*.safetensors"))
            part.save(self._folder / f"{number:06d}.safetensors")
        self._take(part)
        self._changed = True

    def select(self, ids: Iterable[str]) -> EmbeddedSamples:
        """
        Those of these samples that are here, in this order.

        Raises:
            ValueError: If none is.
        """
        found = [self._places[name] for name in ids if name in self._places]
        if not found:
            raise ValueError("no sample could be embedded")
        starts = np.cumsum([0, *map(len, self._parts)])
        return join(self._parts).select([int(starts[part]) + row for part, row in found])

    def finish(self) -> None:
        """Write the file and remove the parts."""
        if self.path is not None and self._lock is not None:
            if self._changed:
                self.select(list(self._places)).save(self.path)
            # Before the lock is given back: another run may begin in the same folder then.
            shutil.rmtree(self._folder)
        self.close()

    def close(self) -> None:
        """Let another run go on; the parts stay."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _take(self, part: EmbeddedSamples) -> None:
        different = other_settings(part.settings, self.settings)
        if different:
            raise ValueError(
                f"{self.path}: was made with {different}; give the same options, or name another file for the "
                "embeddings"
            )
        self._places.update((entry.id, (len(self._parts), row)) for row, entry in enumerate(part.entries))
        self._parts.append(part)


__all__ = ["EmbeddedSamples", "EmbeddingCache", "Entry", "join"]
