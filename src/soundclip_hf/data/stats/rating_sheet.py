"""Writes a sheet for people to rate a sample of a judged table, and reads filled sheets for `agreement`."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...files import replacing
from ...text_tables import open_table
from ..ave2.schema import LABELS, SCORES, SEGMENT_TYPES
from ..ave2.tables import read_batches, read_rows
from .agreement import AVE2_SCALE, Scale

# Captions and the judge's scores and lists stay out: a rater who has read them does not rate on their own.
SHOWN = ("sample_id", "youtube_id", "youtube_start_time", "youtube_end_time")
SHEET_COLUMNS = ("number", *SHOWN, *SCORES, "comment")
# A spreadsheet would take text that begins so for a formula; many ids of videos begin with a minus.
# It also does so behind what it takes for the end of a cell or line: some part cells at semicolons or tabs.
CELL_START = r"(^|[;,\t\r\n])"
FORMULA = re.compile(CELL_START + r"(?=[=+\-@\t\r])")
QUOTED_FORMULA = re.compile(CELL_START + r"'(?=[=+\-@\t\r])")


def stratified(table: str | Path, per_type: int, seed: int = 0) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The same number of rows of each segment type, evenly drawn; one pass, memory for the sample only.

    Args:
        table: As `tables.read_batches` reads it.
        per_type: Rows of each of the eight types of Table 16; a type that has fewer gives all.
        seed: Equal seeds and tables give equal samples.

    Returns:
        The rows, in an order that does not tell their type, with the columns `SHOWN`; and how many rows of each type
        the table has, where rows without a type, which no judge has seen, are "none".

    Raises:
        ValueError: No row has a type.
    """
    random = np.random.default_rng(seed)
    seen: Counter[str] = Counter()
    chosen: dict[str, list[dict[str, Any]]] = {name: [] for name in SEGMENT_TYPES.values()}
    names = LABELS["segment_type"]
    for batch in read_batches(table, (*SHOWN, "segment_type")):
        for index, code in enumerate(batch.column("segment_type").to_pylist()):
            name = "none" if code is None else names[code]
            seen[name] += 1
            if code is None:
                continue
            # Reservoir sampling: the n-th row stays with probability per_type / n.
            place = len(chosen[name]) if seen[name] <= per_type else int(random.integers(seen[name]))
            if place < per_type:
                chosen[name][place : place + 1] = [{column: batch.column(column)[index].as_py() for column in SHOWN}]
    rows = [row for sample in chosen.values() for row in sample]
    if not rows:
        raise ValueError(f"{table}: no row has a segment_type; judge the table first")
    return [rows[place] for place in random.permutation(len(rows))], dict(seen)


def write_sheet(
    rows: Iterable[Mapping[str, Any]], path: str | Path, shown: Sequence[str] = SHOWN, scores: Sequence[str] = SCORES
) -> None:
    """Write a CSV whose score columns are empty; it appears whole or not at all.

    Args:
        shown: Columns that a rater reads.
        scores: Columns that a rater fills in. A column for comments comes last.
    """
    # With a byte order mark, without which spreadsheets mistake the encoding.
    with replacing(path) as partial, partial.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, ("number", *shown, *scores, "comment"), restval="")
        writer.writeheader()
        for number, row in enumerate(rows, 1):
            writer.writerow({"number": number} | {name: _cell(row[name]) for name in shown})


def read_ratings(
    path: str | Path,
    key: str = "sample_id",
    scale: Scale = AVE2_SCALE,
    read_table: Callable[[Path], Iterable[Mapping[str, Any]]] = read_rows,
) -> list[dict[str, Any]]:
    """Rows with `key` and the scores, of a filled sheet (.csv) or of a table.

    Empty cells are null. Commas, semicolons and tabs are all taken, as spreadsheets write any of them.

    Args:
        key: Column that identifies a row.
        scale: The scores, and their range.
        read_table: Reads a table; by default one of AVE-2 rows.

    Raises:
        ValueError: A column is missing, or a score of a sheet is out of range or no whole number.
    """
    source = Path(path)
    if source.suffix.lower() == ".csv" and source.is_file():
        return [*_sheet(source, key, scale)]
    rows = []
    for row in read_table(source):
        missing = [name for name in (key, *scale.columns) if name not in row]
        if missing:
            raise ValueError(f"{source}: has no column {missing[0]!r}; its columns are {', '.join(row)}")
        rows.append({name: row[name] for name in (key, *scale.columns)})
    return rows


def _sheet(source: Path, key: str, scale: Scale) -> Iterator[dict[str, Any]]:
    with open_table(source) as file:
        heading = file.readline()
        file.seek(0)
        reader = csv.DictReader(file, delimiter=max(",;\t", key=heading.count))
        missing = [name for name in (key, *scale.columns) if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{source}: has no column {missing[0]!r}; its heading is {heading.strip()!r}")
        for row in reader:
            name = row[key] or ""
            name = QUOTED_FORMULA.sub(r"\1", name)
            if name:
                where = f"{source}, {key} {name}"
                yield {key: name} | {score: _rating(row, score, scale, where) for score in scale.columns}


def _rating(row: Mapping[str, Any], score: str, scale: Scale, where: str) -> int | None:
    text = (row[score] or "").strip()
    if not text:
        return None
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        value = -1
    if not (scale.lowest <= value <= scale.highest and value == int(value)):
        allowed = f"a whole number from {scale.lowest} to {scale.highest}"
        raise ValueError(f"{where}: {score} is {text!r}; give {allowed}, or nothing")
    return int(value)


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.3f}"
    return FORMULA.sub(r"\1'", value) if isinstance(value, str) else value


__all__ = ["SHEET_COLUMNS", "read_ratings", "stratified", "write_sheet"]
