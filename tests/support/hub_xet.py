"""Files out of the store that hf_xet fills on the same machine: `local://` in place of a server of chunks.

The store's shards list files: a header of 48 bytes (hash, flags, count), as many entries, as many checks if a flag says
so, and the SHA-256 of the content, all in records of 48 bytes, until a header whose hash is all ones.
"""

from __future__ import annotations

import hashlib
import shutil
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

RECORD, SHARD_HEADER = 48, 48
VERIFIED, WITH_SHA256 = 1 << 31, 1 << 30


def from_store(store: Path, sha256: str) -> bytes:
    """The content of a file that was uploaded.

    Raises:
        KeyError: No such file, or its content has another hash.
    """
    import hf_xet

    with tempfile.TemporaryDirectory() as folder:
        copy = copy_store(store, Path(folder) / "store")
        found = find_file(copy, sha256)
        if found is not None:
            target = Path(folder) / "file"
            session = hf_xet.XetSession()
            with session.new_file_download_group(endpoint=f"local://{copy}") as group:
                group.start_download_file(hf_xet.XetFileInfo(*found), str(target))
            content = target.read_bytes()
            if hashlib.sha256(content).hexdigest() == sha256:
                return content
    raise KeyError(f"{sha256} is not in {store}")


def copy_store(store: Path, copy: Path) -> Path:
    """A copy that a client may open: whoever has opened a store holds a lock on it."""
    for path in store.rglob("*"):
        below = path.relative_to(store)
        if path.is_dir() or path.name.startswith(".") or path.suffix == ".tmp":
            continue
        (copy / below).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy / below)
    return copy


def find_file(store: Path, sha256: str) -> tuple[str, int] | None:
    """(Xet's hash, size) of a file by the SHA-256 of its content; None if it is not in the store."""
    for shard in store.rglob("*.mdb"):
        for file_hash, size, digest in _files(shard.read_bytes()):
            if digest == sha256:
                return file_hash, size
    return None


def _files(shard: bytes) -> Iterator[tuple[str, int, str]]:
    """(hash of the file, size, SHA-256) of each."""
    place = SHARD_HEADER
    while place + RECORD <= len(shard):
        raw, flags, count = shard[place : place + 32], *struct.unpack_from("<II", shard, place + 32)
        if raw == b"\xff" * 32:
            return
        place += RECORD
        size = sum(struct.unpack_from("<I", shard, place + n * RECORD + 36)[0] for n in range(count))
        place += count * RECORD * (2 if flags & VERIFIED else 1)
        if flags & WITH_SHA256:
            yield _hex(raw), size, _hex(shard[place : place + 32])
            place += RECORD


def _hex(raw: bytes) -> str:
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", raw))


__all__ = ["copy_store", "find_file", "from_store"]
