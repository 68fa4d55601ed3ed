"""Columns of sounds, pictures and clips in a data set of `datasets`, read without decoding them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..extras import require


def undecoded(rows: Any, columns: Iterable[str]) -> Any:
    """
    The same data set, whose media columns give bytes or paths.

    If `datasets` decoded them, one broken file would end the run, and sounds would need torchcodec.

    Args:
        rows: A `Dataset` or an `IterableDataset`.
        columns: Names; those that hold no media stay as they are.
    """
    require("datasets", what="reading a data set", extra="train")
    import datasets

    media = (datasets.Audio, datasets.Image, datasets.Video)
    for column in columns:
        feature = (rows.features or {}).get(column)
        if isinstance(feature, media):
            rows = rows.cast_column(column, type(feature)(decode=False))
        elif isinstance(feature, datasets.List) and isinstance(feature.feature, media):
            rows = rows.cast_column(column, datasets.List(type(feature.feature)(decode=False)))
    return rows


def source_of(value: Any) -> Any:
    """What `media` opens: the bytes or the path of a column that is not decoded; anything else as it is."""
    if isinstance(value, dict) and "array" not in value and ("bytes" in value or "path" in value):
        return value.get("bytes") or value.get("path")
    return value


__all__ = ["source_of", "undecoded"]
