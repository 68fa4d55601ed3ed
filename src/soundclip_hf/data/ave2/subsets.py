"""Subsets as filters on columns, so that none needs a copy, and splits that keep the segments of a video together."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .validation import faults

# `[column, operator, value]`, all of which must hold: the form of `filters:` in a dataset card and of pyarrow.
# The thresholds of the last two follow from their names; the paper (section 2.3) only says that subsets can be made.
SUBSETS: dict[str, list[tuple[str, str, Any]]] = {
    "default": [],
    "filtered": [("overall_score", ">", 8.0)],  # paper, section D.3
    "retrieval": [("overall_score", ">", 8.0), ("temporal_alignment_score", ">=", 8)],
    "localization": [("sound_source_visibility_score", ">=", 8), ("spatial_coherence_score", ">=", 8)],
    "offscreen": [("has_invisible", "==", True)],
}
OPERATORS = (">", ">=", "==")
# Of 2**32, so that no share is rounded by a float.
HASH_RANGE = 2**32


def filters(name: str, *, inclusive: bool = False) -> list[tuple[str, str, Any]]:
    """The filters of a subset.

    Args:
        name: One of `SUBSETS`.
        inclusive: Take `>=` for `>`. The paper says "above 8.0" (D.3), but also that 99.95 % of the visible rows
            "exceed 8.0" in a score whose published rows are all exactly 8 (D.2), which only fits `>=`.

    Raises:
        ValueError: No such subset.
    """
    if name not in SUBSETS:
        raise ValueError(f"subset {name!r} is none of {', '.join(SUBSETS)}")
    swap = {">": ">="} if inclusive else {}
    return [(column, swap.get(operator, operator), value) for column, operator, value in SUBSETS[name]]


def matches(row: Mapping[str, Any], conditions: list[tuple[str, str, Any]]) -> bool:
    """Whether a row passes; null passes nothing, as in Parquet filters."""
    for column, operator, value in conditions:
        if operator not in OPERATORS:
            raise ValueError(f"operator {operator!r} is none of {', '.join(OPERATORS)}")
        found = row[column]
        if found is None:
            return False
        if not (found == value if operator == "==" else found > value or (operator == ">=" and found == value)):
            return False
    return True


def subset_keys(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The subsets that a row is in, as (name, "") and, with `inclusive`, (name, "_inclusive")."""
    return [key for key, conditions in _FILTERS.items() if matches(row, conditions)]


_FILTERS = {(name, mode): filters(name, inclusive=bool(mode)) for name in SUBSETS for mode in ("", "_inclusive")}


def split_of(youtube_id: str, shares: Mapping[str, float] | None = None) -> str:
    """The split of a video, and so of all its segments: the same on every machine, whatever else is in the data set.

    Args:
        youtube_id: Only this counts.
        shares: Split name -> share, which sum to 1, in an order that decides which hashes they get; None means 98 %
            "train" and 2 % "eval". Growing the first share moves videos only out of the later ones.

    Raises:
        ValueError: Shares that do not sum to 1.
    """
    shares = {"train": 0.98, "eval": 0.02} if shares is None else shares
    if abs(sum(shares.values()) - 1) > 1e-9 or min(shares.values()) < 0:
        raise ValueError(f"shares {dict(shares)} do not sum to 1")
    place = int.from_bytes(hashlib.sha1(youtube_id.encode()).digest()[:4], "big")
    edge = 0.0
    for name, share in shares.items():
        edge += share
        if place < edge * HASH_RANGE:
            return name
    return name


def selected(
    rows: Iterable[Mapping[str, Any]], keep: str, inclusive: bool, eval_share: float, counts: Counter[str]
) -> Iterator[dict[str, Any]]:
    """Rows of a subset, each with the split of its video.

    Raises:
        ValueError: A row breaks the schema, with all its reasons.
    """
    conditions = filters(keep, inclusive=inclusive)
    shares = {"train": 1 - eval_share, "eval": eval_share}
    for row in rows:
        if reasons := faults(row):
            raise ValueError(f"{row.get('sample_id')}: {'; '.join(reasons)}")
        if not matches(row, conditions):
            counts["left out"] += 1
            continue
        split = split_of(row["youtube_id"], shares)
        counts[split] += 1
        yield {**row, "split": split}


__all__ = ["SUBSETS", "filters", "matches", "selected", "split_of", "subset_keys"]
