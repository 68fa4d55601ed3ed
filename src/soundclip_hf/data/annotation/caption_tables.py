"""Adds the captions of a table of the user's own to rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ...extras import require
from ..ave2.schema import complete
from .captioning import CAPTION_COLUMNS


def read_captions(path: str | Path, names: Mapping[str, str] | None = None) -> dict[str, dict[str, str]]:
    """A user's captions by sample id.

    Args:
        path: A .parquet, .jsonl or .csv file with a column `sample_id`.
        names: Column of the file -> column of ours (`CAPTION_COLUMNS`). Columns of the file that have a name of ours
            need no entry.

    Raises:
        ValueError: The file or a column does not exist, a caption is not text, or two rows have one id and different
            captions.
    """
    require("pyarrow", what="reading your own captions")
    import pyarrow.csv
    import pyarrow.json
    import pyarrow.parquet

    file, names = Path(path), dict(names or {})
    for theirs, ours in names.items():
        if ours not in CAPTION_COLUMNS:
            raise ValueError(f"{ours!r} (for {theirs!r}) is none of {', '.join(CAPTION_COLUMNS)}")
    readers = {".parquet": pyarrow.parquet.read_table, ".jsonl": pyarrow.json.read_json, ".csv": pyarrow.csv.read_csv}
    if file.suffix not in readers:
        raise ValueError(f"{file}: give a .parquet, .jsonl or .csv file of captions")
    if not file.is_file():
        raise ValueError(f"{file}: no such file of captions")
    try:
        table = readers[file.suffix](file)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{file}: cannot be read ({error})") from error
    for wanted in ("sample_id", *names):
        if wanted not in table.column_names:
            near = get_close_matches(wanted, table.column_names, 1)
            raise ValueError(f"{file}: has no column {wanted!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    names |= {name: name for name in CAPTION_COLUMNS if name in table.column_names and name not in names.values()}
    if not names:
        raise ValueError(f"{file}: has none of {', '.join(CAPTION_COLUMNS)}; say which of its columns is which")
    found: dict[str, dict[str, str]] = {}
    for row in table.select(["sample_id", *names]).to_pylist():
        name, texts = str(row["sample_id"]), {ours: row[theirs] for theirs, ours in names.items()}
        texts = {ours: text for ours, text in texts.items() if text is not None}
        if wrong := [ours for ours, text in texts.items() if not isinstance(text, str)]:
            raise ValueError(f"{file}: {wrong[0]} of {name!r} is {texts[wrong[0]]!r}, which is not text")
        if found.setdefault(name, texts) != texts:
            raise ValueError(f"{file}: sample_id {name!r} comes twice, with different captions")
    return found


def with_captions(
    rows: Iterable[Mapping[str, Any]], captions: Mapping[str, Mapping[str, str]]
) -> Iterator[dict[str, Any]]:
    """Rows with a user's captions. A row for which there are none stays as it is."""
    for row in rows:
        yield complete({**row, **captions.get(str(row["sample_id"]), {})})


__all__ = ["read_captions", "with_captions"]
