"""Reads any table of excerpts (CSV, TSV, JSON, JSON Lines, Parquet) as an `AVManifest`, and writes JSON Lines."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...extras import require
from ...files import replacing
from ...text_tables import csv_rows, json_lines, json_value
from ..ave2.schema import MEDIA_STATUS
from ..ave2.upstream import read_array
from .manifest import AVManifest, Entry, from_entries

# Field of an `Entry` -> columns that are taken for it, the first that is there.
NAMES = {
    "sample_id": ("sample_id", "clip_id", "id"),
    "youtube_id": ("youtube_id", "video_id", "video_uid", "ytid", "YTID", "vid"),
    "start": ("start", "youtube_start_time", "start_time", "start_seconds", "start_sec"),
    "end": ("end", "youtube_end_time", "end_time", "end_seconds", "end_sec"),
    "path": ("path", "file_name", "file", "video_path", "video"),
    "captions": ("captions", "caption"),
    "labels": ("labels", "label", "category"),
    "split": ("split",),
}
# Further columns of a manifest that was resolved and written.
RESOLVED = ("event", "offset", "media_status")


def read_manifest(
    table: str | Path, *, source: str | None = None, columns: Mapping[str, str] | None = None
) -> AVManifest:
    """Read a table with a row per excerpt.

    A row needs an id of its video, or the path of its file, from which the id follows. Times are seconds from the start
    of the video; without them a row is a whole video. Other columns go to `Entry.extra`.

    Args:
        table: `.csv`, `.tsv`, `.json` (one array of objects), `.jsonl` or `.parquet`.
        source: Name of the data set; the table's own name by default, or what `write_manifest` wrote.
        columns: Field of `Entry` -> column, where the usual names of `NAMES` are not those of the table.

    Raises:
        ValueError: Another kind of file, columns that are not there, or a row that cannot be read.
    """
    path = Path(table)
    unknown = sorted(set(columns or {}) - set(NAMES))
    if unknown:
        raise ValueError(f"columns={unknown[0]!r} is none of {', '.join(NAMES)}")
    entries, found = [], source
    chosen: dict[str, str] | None = None
    for number, row in enumerate(_rows(path), 1):
        if not isinstance(row, Mapping):
            raise ValueError(f"{path}, row {number}: is {type(row).__name__}, not an object with columns")
        # Lines of JSON need not all have the same columns.
        if chosen is None or any(column not in row for column in chosen.values()):
            chosen = _chosen(row, columns or {}, path)
        try:
            entries.append(_entry(row, chosen))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}, row {number}: {error}") from error
        found = found or row.get("source_dataset")
    return from_entries(found or path.stem, entries)


def write_manifest(manifest: AVManifest, path: str | Path) -> None:
    """Write JSON Lines that `read_manifest` reads; the file appears whole or not at all."""
    with replacing(path) as partial, partial.open("w", encoding="utf-8") as file:
        for row in manifest.rows():
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _rows(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    kind = path.suffix.lower()
    if kind in (".csv", ".tsv"):
        yield from csv_rows(path, delimiter="\t" if kind == ".tsv" else ",")
    elif kind == ".json":
        yield from read_array(path)
    elif kind == ".jsonl":
        for number, line in json_lines(path):
            try:
                yield json_value(line)
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from error
    elif kind == ".parquet":
        require("pyarrow", what=f"{path}: reading Parquet")
        import pyarrow
        import pyarrow.parquet

        try:
            with pyarrow.parquet.ParquetFile(path) as opened:
                # Clips inside the table are no paths, and big.
                stored = [field.name for field in opened.schema_arrow if not pyarrow.types.is_struct(field.type)]
                for batch in opened.iter_batches(columns=stored):
                    yield from batch.to_pylist()
        except pyarrow.ArrowInvalid as error:
            raise ValueError(f"{path}: cannot be read as Parquet ({error})") from error
    else:
        raise ValueError(f"{path}: is no .csv, .tsv, .json, .jsonl or .parquet file")


def _chosen(row: Mapping[str, Any], given: Mapping[str, str], path: Path) -> dict[str, str]:
    missing = [column for column in given.values() if column not in row]
    if missing:
        raise ValueError(f"{path}: has no column {missing[0]!r}; it has {', '.join(map(str, row))}")
    usual = {field: next((name for name in names if name in row), None) for field, names in NAMES.items()}
    chosen = {field: column for field, column in ({**usual, **given}).items() if column is not None}
    if not {"youtube_id", "path", "sample_id"} & set(chosen):
        wanted = ", ".join((*NAMES["youtube_id"], *NAMES["path"]))
        raise ValueError(
            f"{path}: no column names the video; it has {', '.join(map(str, row))}, and needs one of {wanted}"
        )
    return chosen


def _entry(row: Mapping[str, Any], chosen: Mapping[str, str]) -> Entry:
    value = {field: row.get(chosen[field]) if field in chosen else None for field in NAMES}
    path = Path(str(value["path"])) if value["path"] else None
    start, end = _time(value["start"], "start"), _time(value["end"], "end")
    if start is not None and end is not None and end <= start:
        raise ValueError(f"ends at {end:g} s, but starts at {start:g}")
    youtube_id = value["youtube_id"] or (path and path.stem) or value["sample_id"]
    if youtube_id in (None, ""):
        raise ValueError("neither the video's id nor a path is given")
    at = "" if start is None else f"_{start:g}"
    nested = row.get("extra")
    used = {*chosen.values(), "source_dataset", *RESOLVED}
    if nested is None or isinstance(nested, Mapping):
        used.add("extra")
    extra = dict(nested) if isinstance(nested, Mapping) else {}
    extra |= {str(name): entry for name, entry in row.items() if name not in used}
    # What `write_manifest` wrote says whether an excerpt is a file of its own; other tables have whole videos.
    known = row.get("media_status") if row.get("media_status") in MEDIA_STATUS and "offset" in row else None
    return Entry(
        str(value["sample_id"] or f"{youtube_id}{at}"),
        str(youtube_id),
        start if known or start is not None else 0.0,
        end,
        captions=_texts(value["captions"]),
        labels=_texts(value["labels"]),
        split=None if value["split"] in (None, "") else str(value["split"]),
        extra=extra,
        path=path,
        **_resolved(row, known),
    )


def _resolved(row: Mapping[str, Any], known: str | None) -> dict[str, Any]:
    if known is None:
        return {}
    event = row.get("event")
    return {"event": event and tuple(event), "offset": float(row["offset"]), "media_status": known}


def _time(value: Any, name: str) -> float | None:
    if value in (None, ""):
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"{name} {value!r} is no time in seconds")
    return seconds


def _texts(value: Any) -> tuple[str, ...]:
    if value in (None, ""):
        return ()
    return (value,) if isinstance(value, str) else tuple(str(entry) for entry in value)


__all__ = ["NAMES", "read_manifest", "write_manifest"]
