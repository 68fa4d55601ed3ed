"""Adds the captions of a table of the user's own to rows."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ...extras import require
from ...text_tables import csv_rows, json_lines, json_value, open_table
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
    file, names = Path(path), dict(names or {})
    for theirs, ours in names.items():
        if ours not in CAPTION_COLUMNS:
            raise ValueError(f"{ours!r} (for {theirs!r}) is none of {', '.join(CAPTION_COLUMNS)}")
    readers = {".parquet": _parquet, ".jsonl": _json_lines, ".csv": _csv}
    if file.suffix not in readers:
        raise ValueError(f"{file}: give a .parquet, .jsonl or .csv file of captions")
    if not file.is_file():
        raise ValueError(f"{file}: no such file of captions")
    columns, rows = readers[file.suffix](file)
    for wanted in ("sample_id", *names):
        if wanted not in columns:
            near = get_close_matches(wanted, columns, 1)
            raise ValueError(f"{file}: has no column {wanted!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    names |= {name: name for name in CAPTION_COLUMNS if name in columns and name not in names.values()}
    if not names:
        raise ValueError(f"{file}: has none of {', '.join(CAPTION_COLUMNS)}; say which of its columns is which")
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        name, texts = str(row.get("sample_id")), {ours: row.get(theirs) for theirs, ours in names.items()}
        texts = {ours: text for ours, text in texts.items() if text is not None}
        if wrong := [ours for ours, text in texts.items() if not isinstance(text, str)]:
            raise ValueError(f"{file}: {wrong[0]} of {name!r} is {texts[wrong[0]]!r}, which is not text")
        if found.setdefault(name, texts) != texts:
            raise ValueError(f"{file}: sample_id {name!r} comes twice, with different captions")
    return found


def _parquet(file: Path) -> tuple[list[str], list[dict[str, Any]]]:
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(file)
        return table.column_names, table.to_pylist()
    except (pyarrow.ArrowInvalid, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: cannot be read ({error})") from error


def _json_lines(file: Path) -> tuple[list[str], list[dict[str, Any]]]:
    rows = []
    for number, line in json_lines(file):
        try:
            row = json_value(line)
            if not isinstance(row, dict):
                raise ValueError("is no JSON object")
        except ValueError as error:
            raise ValueError(f"{file}, line {number}: cannot be read ({error})") from error
        rows.append(row)
    return [*dict.fromkeys(name for row in rows for name in row)], rows


def _csv(file: Path) -> tuple[list[str], list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    for number, row in enumerate(csv_rows(file), 1):
        if None in row or None in row.values():
            raise ValueError(f"{file}: row {number} after the heading has more or fewer fields than the heading")
        # A column of numbers is no column of captions, though every cell of a CSV file is text.
        rows.append({name: text if name == "sample_id" else _number(text) for name, text in row.items()})
    if rows:
        return [*rows[0]], rows
    with open_table(file) as opened:
        return next(csv.reader(opened), []), []


def _number(text: str) -> Any:
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if number.is_integer() else number


def with_captions(
    rows: Iterable[Mapping[str, Any]], captions: Mapping[str, Mapping[str, str]]
) -> Iterator[dict[str, Any]]:
    """Rows with a user's captions. A row for which there are none stays as it is."""
    for row in rows:
        yield complete({**row, **captions.get(str(row["sample_id"]), {})})


__all__ = ["read_captions", "with_captions"]
