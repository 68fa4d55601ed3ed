"""Files out of the store that hf_xet fills on the same machine: `local://` in place of a server of chunks."""

from __future__ import annotations

from pathlib import Path


def from_store(store: Path, sha256: str) -> bytes:
    raise NotImplementedError


__all__ = ["from_store"]
