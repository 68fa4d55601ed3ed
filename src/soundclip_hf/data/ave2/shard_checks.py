"""Checks whether the shards of a published data set still are what its manifest says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...files import sha256
from .shard_staging import read_manifest


def verify_shards(folder: str | Path) -> dict[str, list[str]]:
    """Check the shards of a published data set against its manifest, and so the clips in them.

    Args:
        folder: As `shards.write_shards` makes it.

    Returns:
        `shards_missing`, and `shards_changed` in size or hash, as paths.

    Raises:
        ValueError: No manifest.
    """
    root = Path(folder)
    shards = read_manifest(root)["shards"]
    there = [shard for shard in shards if (root / shard["path"]).is_file()]
    return {
        "shards_missing": [shard["path"] for shard in shards if shard not in there],
        "shards_changed": [shard["path"] for shard in there if not _same_file(root / shard["path"], shard)],
    }


def _same_file(path: Path, shard: Mapping[str, Any]) -> bool:
    return path.stat().st_size == shard["bytes"] and sha256(path) == shard["sha256"]


__all__ = ["verify_shards"]
