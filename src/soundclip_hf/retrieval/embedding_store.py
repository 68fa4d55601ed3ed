"""Embeddings of media files on disk: blocks that appear whole or not at all, so that a run can be killed and go on."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..files import lock_folder, naming, replacing
from ..text_tables import json_text

FORMAT = "soundclip_embeddings"
BLOCK_FILES = 8192

Kind = Literal["audio", "image"]


@dataclass(frozen=True)
class Entry:
    """
    One media file.

    Attributes:
        source: Name of the file, unique in its store.
        audio, image: Whether it has a vector of its sound, and of its picture.
        seconds: Length of its sound.
        frame_time: Seconds at which its frame comes on, for a clip.
        size, mtime_ns, digest: By which a change of the file is noticed; None if it is not a local file.
    """

    source: str
    audio: bool
    image: bool
    seconds: float | None = None
    frame_time: float | None = None
    size: int | None = None
    mtime_ns: int | None = None
    digest: str | None = None


@dataclass(frozen=True)
class Block:
    """
    Some files and their vectors, which follow the order of the entries that have them.

    Attributes:
        audio: `(sounds, dim)` fp32.
        image: `(pictures, dim)` fp32.
        settings: How they were made; JSON values.
    """

    entries: list[Entry]
    audio: Tensor
    image: Tensor
    settings: dict[str, Any]

    def rows(self, kind: Kind) -> list[int | None]:
        """For each entry, the index of its vector of this kind, or None."""
        held = np.array([getattr(entry, kind) for entry in self.entries], dtype=bool)
        return [int(row) if own else None for row, own in zip(held.cumsum() - 1, held)]

    def select(self, sources: Iterable[str]) -> "Block":
        """A block of the entries with these sources, in this order."""
        places = {entry.source: place for place, entry in enumerate(self.entries)}
        kept = [places[source] for source in sources]
        vectors = []
        for rows in (self.rows("audio"), self.rows("image")):
            vectors.append(torch.tensor([rows[place] for place in kept if rows[place] is not None], dtype=torch.int64))
        return Block(
            [self.entries[place] for place in kept], self.audio[vectors[0]], self.image[vectors[1]], self.settings
        )


def join(blocks: Iterable[Block]) -> Block:
    """Concatenate blocks; there must be at least one."""
    blocks = list(blocks)
    return Block(
        [entry for block in blocks for entry in block.entries],
        torch.cat([block.audio for block in blocks]),
        torch.cat([block.image for block in blocks]),
        blocks[0].settings,
    )


def write_block(path: Path, block: Block) -> None:
    """Write a safetensors file with `audio`, `image` and `entries` (JSON as bytes), completely or not at all."""
    # In the header the entries of some hundred thousand files would exceed safetensors' limit.
    entries = json_text([asdict(entry) for entry in block.entries]).encode()
    tensors = {
        "audio": block.audio.float().contiguous(),
        "image": block.image.float().contiguous(),
        "entries": torch.from_numpy(np.frombuffer(entries, np.uint8).copy()),
    }
    with replacing(path, sync=True) as partial:
        save_file(tensors, partial, metadata={"format": "pt", FORMAT: "1", "settings": json.dumps(block.settings)})


def read_block(path: Path) -> Block:
    """
    Read a file of [`write_block`]; its vectors are mapped into memory where the system allows.

    Raises:
        OSError: If it cannot be opened.
        ValueError: If it is something else.
    """
    try:
        with naming(path), safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get(FORMAT) != "1":
                raise ValueError(f"{path} holds no embeddings of this program.")
            entries = json.loads(file.get_tensor("entries").numpy().tobytes())
            audio, image = file.get_tensor("audio"), file.get_tensor("image")
            return Block([Entry(**entry) for entry in entries], audio, image, json.loads(metadata["settings"]))
    except SafetensorError as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from error


def settings_in(folder: Path) -> dict[str, Any] | None:
    """
    The settings of the store in a folder; None if there is none.

    Raises:
        OSError: If a file cannot be opened.
        ValueError: If a block is unreadable.
    """
    path = next((path for path in sorted(folder.glob("*.safetensors")) if path.stem.isdigit()), None)
    return None if path is None else read_block(path).settings


class EmbeddingStore:
    """
    A folder of blocks. Files are added in small blocks as they are embedded, and packed into larger ones at the end.

    Args:
        folder: Made where it is not there.
        writing: Keep others from writing until [`close`].

    Raises:
        OSError: If the folder or a block cannot be read, or written.
        ValueError: If a block is unreadable, blocks were made with different settings, or another run is writing.
    """

    def __init__(self, folder: Path, *, writing: bool = False) -> None:
        self.folder = folder
        self._lock = lock_folder(folder) if writing else None
        self._blocks: dict[int, Block] = {}
        self._places: dict[str, int] = {}
        for path in sorted(folder.glob("*.safetensors")) if folder.is_dir() else []:
            if path.stem.isdigit():
                self._take(int(path.stem), read_block(path))

    @property
    def settings(self) -> dict[str, Any] | None:
        """How the embeddings were made; None while there are none."""
        return next((block.settings for block in self._blocks.values()), None)

    @property
    def entries(self) -> dict[str, Entry]:
        """The entries of all blocks, by source."""
        return {
            entry.source: entry
            for number, block in sorted(self._blocks.items())
            for entry in block.entries
            if self._places.get(entry.source) == number
        }

    def blocks(self) -> Iterator[Block]:
        """The blocks in order, without entries that were removed, or that are in a newer block, too."""
        for number, block in sorted(self._blocks.items()):
            live = [entry.source for entry in block.entries if self._places.get(entry.source) == number]
            yield block if len(live) == len(block.entries) else block.select(live)

    def add(self, block: Block) -> None:
        """Write a block; it is on disk when this returns. Its entries replace older ones with the same source."""
        if block.entries:
            self._check_settings(block)
            number = max(self._blocks, default=-1) + 1
            write_block(self._path(number), block)
            self._take(number, block)

    def pack(self, keep: Iterable[str] | None = None) -> None:
        """
        Merge small blocks, and those with entries that were removed or replaced, into large ones; full blocks stay.

        Args:
            keep: Sources that stay; all by default.
        """
        if keep is not None:
            kept = set(keep)
            self._places = {source: number for source, number in self._places.items() if source in kept}
        loose, dead = {}, False
        for (number, block), alive in zip(sorted(self._blocks.items()), self.blocks()):
            if len(alive.entries) < len(block.entries) or len(block.entries) < BLOCK_FILES // 2:
                loose[number] = alive
                dead |= len(alive.entries) < len(block.entries)
        if len(loose) < 2 and not dead:
            return
        merged = join(loose.values())
        sources = [entry.source for entry in merged.entries]
        for start in range(0, len(sources), BLOCK_FILES):
            self.add(merged.select(sources[start : start + BLOCK_FILES]))
        # If this is interrupted, older blocks are left, but the entries of newer ones count.
        for number in loose:
            self._path(number).unlink()
            del self._blocks[number]

    def close(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _take(self, number: int, block: Block) -> None:
        self._check_settings(block)
        self._blocks[number] = block
        self._places.update((entry.source, number) for entry in block.entries)

    def _check_settings(self, block: Block) -> None:
        different = other_settings(self.settings or block.settings, block.settings)
        if different:
            raise ValueError(f"the embeddings in {self.folder} were made with {different}.")

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.safetensors"


def other_settings(made: Mapping[str, Any], wanted: Mapping[str, Any]) -> str | None:
    """The first setting that differs, in words."""
    for key in sorted(made.keys() | wanted.keys()):
        if made.get(key) != wanted.get(key):
            return f"{key}={made.get(key)!r}, now it is {wanted.get(key)!r}"
    return None


__all__ = ["Block", "EmbeddingStore", "Entry", "join", "other_settings", "read_block", "settings_in", "write_block"]
