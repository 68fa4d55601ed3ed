"""Finds the clips of a page: files to link to, or bytes in Parquet, which are written to files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from urllib.parse import quote

from ...extras import require
from ...files import NAME_BYTES
from ..ave2.tables import files

# Clips are some 100 kB each: few at a time.
BATCH_CLIPS = 32


def clip_file(sample_id: str) -> str:
    """A file name for any id: no separators, no dots in front; the hash of an id that would be too long."""
    name = f"{quote(sample_id, safe='').lstrip('.') or '_'}.mp4"
    return name if len(name) <= NAME_BYTES else f"{hashlib.sha256(sample_id.encode()).hexdigest()}.mp4"


def linked(media: Path, page: Path, ids: Collection[str]) -> dict[str, str]:
    """Links from the folder `page` to those `<sample_id>.mp4` that are in the folder `media`, or below it."""
    there = {path.name: path for path in sorted(media.rglob("*.mp4"), reverse=True)}
    start = page.resolve()
    links = {}
    for name in ids:
        path = there.get(f"{name}.mp4")
        if path is not None:
            links[name] = quote(Path(os.path.relpath(path.resolve(), start)).as_posix())
    return links


def parquet_with_clips(source: Path) -> list[Path]:
    """The Parquet files of a file or folder that have a `video` column; empty if there are none.

    Of a published data set these are in its folder `media`.
    """
    if not (source.is_dir() or source.suffix == ".parquet"):
        return []
    folder = source / "media" if (source / "media").is_dir() else source
    if folder.is_dir() and not any(folder.rglob("*.parquet")):
        return []
    require("pyarrow", what=f"{source}: reading clips from Parquet")
    import pyarrow.parquet

    return [file for file in files(folder) if "video" in pyarrow.parquet.read_schema(file).names]


def extracted(tables: list[Path], folder: Path, ids: Collection[str]) -> Iterator[tuple[str, str]]:
    """Write the clips of these ids from Parquet files into a folder; yields each id with its link from above it."""
    require("pyarrow", what="reading clips from Parquet")
    import pyarrow.parquet

    folder.mkdir()
    for table in tables:
        with pyarrow.parquet.ParquetFile(table) as opened:
            for batch in opened.iter_batches(BATCH_CLIPS, columns=["sample_id", "video"]):
                for name, video in zip(batch.column("sample_id").to_pylist(), batch.column("video")):
                    if name not in ids:
                        continue
                    content = video.as_py()
                    if content and content.get("bytes"):
                        (folder / clip_file(name)).write_bytes(content["bytes"])
                        yield name, f"{folder.name}/{quote(clip_file(name))}"


__all__ = ["clip_file", "extracted", "linked", "parquet_with_clips"]
