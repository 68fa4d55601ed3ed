"""Finds every bad row of AVE-2, with all reasons; it corrects nothing and does not stop at the first fault."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .schema import (
    COLUMNS,
    DERIVED,
    JUDGE_MODES,
    LABELS,
    MAX_SCORE,
    REQUIRED,
    SCORES,
    SECONDS,
    SOURCES,
    VALUES,
    derived,
    sample_id,
)

SHA256 = re.compile(r"[0-9a-f]{64}")
# One frame at 20 fps: clips are cut at frames.
DURATION_TOLERANCE = 0.05
# Absolute times are sums of float32 values; 10 hours is still resolved to 4 ms.
TIME_TOLERANCE = 0.005
INTEGERS = {"int8": 2**7, "int64": 2**63}


@dataclass(frozen=True)
class BadRow:
    """A row that breaks the schema.

    Attributes:
        index: Position in what was read, from 0.
        sample_id: As in the row, whatever it is.
        reasons: Why, one sentence each; never empty.
    """

    index: int
    sample_id: Any
    reasons: tuple[str, ...]


def validate(rows: Iterable[Mapping[str, Any]]) -> Iterator[BadRow]:
    """Check types, ranges, the derived columns, and that no `sample_id` comes twice.

    Args:
        rows: As `schema.complete` makes them; class labels by name or by number. Read once, in order; of a good row
            only its id stays in memory.
    """
    seen: dict[Any, int] = {}
    for index, row in enumerate(rows):
        reasons = [*faults(row)]
        name = row.get("sample_id")
        if isinstance(name, str) and seen.setdefault(name, index) != index:
            reasons.append(f"sample_id {name!r} is already that of row {seen[name]}")
        if reasons:
            yield BadRow(index, name, tuple(reasons))


def faults(row: Mapping[str, Any]) -> list[str]:
    """What is wrong with one row by itself."""
    columns = [f"{name} is missing" for name in COLUMNS if name not in row]
    columns += [f"{name} is no column of the schema" for name in sorted(set(row) - set(COLUMNS) - {"video"})]
    columns += [f"{name} is null" for name in REQUIRED if name in row and row[name] is None]
    types = [
        *(fault for name, dtype in VALUES.items() for fault in _wrong_type(name, dtype, row.get(name))),
        *(fault for name in SOURCES for fault in _wrong_list(name, row.get(name))),
        *(fault for name in LABELS for fault in _wrong_label(name, row.get(name))),
    ]
    # What follows from a column of the wrong type would only repeat that it is wrong.
    return columns + types if columns or types else [*_wrong_values(row), *_wrong_times(row), *_wrong_derived(row)]


def _wrong_type(name: str, dtype: str, value: Any) -> Iterator[str]:
    if value is None:
        return
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if dtype == "string":
        good, wanted = isinstance(value, str), "text"
    elif dtype in INTEGERS:
        good, wanted = isinstance(value, int) and number, "an integer"
        if good and name not in SCORES and not -INTEGERS[dtype] <= value < INTEGERS[dtype]:
            yield f"{name}={value} does not fit into {dtype}"
    elif dtype == "bool":
        good, wanted = isinstance(value, bool), "true or false"
    else:
        good, wanted = number and math.isfinite(value), "a finite number"
    if not good:
        yield f"{name}={value!r} is {type(value).__name__}, not {wanted}"
    elif name in SCORES and not 0 <= value <= MAX_SCORE:
        yield f"{name}={value} is outside 0..{MAX_SCORE}"


def _is_iso8601(text: str) -> bool:
    try:
        datetime.datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _wrong_list(name: str, value: Any) -> Iterator[str]:
    if value is None:
        return
    if not isinstance(value, (list, tuple)):
        yield f"{name}={value!r} is {type(value).__name__}, not a list of names"
    elif bad := [entry for entry in value if not isinstance(entry, str) or not entry.strip()]:
        yield f"{name} has the entry {bad[0]!r}, which is no name"


def _wrong_label(name: str, value: Any) -> Iterator[str]:
    if value is not None and _label(name, value) is None:
        yield f"{name}={value!r} is none of {', '.join(LABELS[name])}"


def _label(name: str, value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(LABELS[name]):
        return LABELS[name][value]
    return value if value in LABELS[name] else None


def _wrong_values(row: Mapping[str, Any]) -> Iterator[str]:
    if row["retrieved_at"] is not None and not _is_iso8601(row["retrieved_at"]):
        yield f"retrieved_at={row['retrieved_at']!r} is no date and time of ISO 8601, such as 2026-01-31T12:00:00+00:00"
    if not row["youtube_id"]:
        yield "youtube_id is empty"
    if row["segment"] < 1:
        yield f"segment={row['segment']}: segments count from 1"
    elif row["sample_id"] != (expected := sample_id(row["youtube_id"], row["segment"])):
        yield f"sample_id={row['sample_id']!r}, but youtube_id and segment give {expected!r}"
    for name in ("media_sha256", "judge_prompt_sha256"):
        if row[name] is not None and not SHA256.fullmatch(row[name]):
            yield f"{name}={row[name]!r} is no SHA-256 in 64 lower-case hexadecimal digits"
    if row["judge_mode"] not in (None, *JUDGE_MODES):
        yield f"judge_mode={row['judge_mode']!r} is none of {', '.join(JUDGE_MODES)}"


def _wrong_times(row: Mapping[str, Any]) -> Iterator[str]:
    start, end = row["segment_start_time"], row["segment_end_time"]
    if start < 0:
        yield f"segment_start_time={start:g} is negative"
    if abs(end - start - SECONDS) > DURATION_TOLERANCE:
        yield f"the segment lasts {end - start:g} s, not {SECONDS:g}"
    if row["clip_start_time"] is not None:
        for edge, local in (("start", start), ("end", end)):
            name, absolute = f"youtube_{edge}_time", row["clip_start_time"] + local
            if row[name] is None or abs(row[name] - absolute) > TIME_TOLERANCE:
                yield f"{name}={row[name]}, but clip_start_time + segment_{edge}_time is {absolute:g}"


def _wrong_derived(row: Mapping[str, Any]) -> Iterator[str]:
    expected = derived(row)
    for name in DERIVED:
        found = _label(name, row[name]) if name in LABELS else row[name]
        close = isinstance(found, float) and expected[name] is not None and abs(found - expected[name]) < 1e-5
        if not close and found != expected[name]:
            yield f"{name}={found!r}, but the row's scores and lists give {expected[name]!r}"


__all__ = ["BadRow", "faults", "validate"]
