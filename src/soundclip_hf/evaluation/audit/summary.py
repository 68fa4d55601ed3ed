"""The rows of an audit in total: means with bootstrap intervals, groups being drawn, not samples."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .trials import CONDITIONS

RESAMPLES = 1000
CONFIDENCE = 0.95
Cells = dict[tuple[str, str], dict[str, Any]]


def summarise(rows: Sequence[dict[str, Any]], tolerance: float, seed: int) -> tuple[Cells, Cells, dict[str, int]]:
    """
    Args:
        rows: Of [`measure`].
        tolerance: A sound `reached` an answer where `change` is above it.
        seed: Of the bootstrap.

    Returns:
        By (channel, condition): the means of `kl_first`, `kl_mean`, `moved`, `reached`, and in the channel "total" of
        `flipped` and, where there are kept patches, `kept_overlap`; their 95 % intervals `[low, high]`; and how many
        trials stand behind each. A cell without trials is left out. Intervals come from 1000 resamples of the groups,
        since samples of one video are not independent.
    """
    groups = {group: place for place, group in enumerate(dict.fromkeys(row["group"] for row in rows))}
    means: Cells = {}
    intervals: Cells = {}
    counts: dict[str, int] = {}
    for channel in rows[0]["channels"]:
        for condition in CONDITIONS:
            found = [
                (groups[row["group"]], _numbers(cell, channel, tolerance))
                for row in rows
                if (cell := row["channels"][channel].get(condition)) is not None
            ]
            if not found:
                continue
            names = list(dict.fromkeys(name for _, numbers in found for name in numbers))
            values = np.array([[numbers.get(name, np.nan) for name in names] for _, numbers in found])
            where = np.array([place for place, _ in found])
            counts[f"{channel}.{condition}"] = len(found)
            means[channel, condition] = dict(zip(names, np.nanmean(values, axis=0).tolist()))
            ends = _bootstrap(values, where, len(groups), seed)
            intervals[channel, condition] = dict(zip(names, ends.T.tolist()))
    return means, intervals, counts


def _numbers(cell: dict[str, Any], channel: str, tolerance: float) -> dict[str, float]:
    numbers = {name: cell[name] for name in ("kl_first", "kl_mean", "moved")}
    numbers["reached"] = float(cell["change"] > tolerance)
    if channel == "total":
        numbers["flipped"] = float(cell["flipped"])
        if "kept_overlap" in cell:
            numbers["kept_overlap"] = cell["kept_overlap"]
    return numbers


def _bootstrap(values: np.ndarray, where: np.ndarray, groups: int, seed: int) -> np.ndarray:
    """`(2, numbers)`: the ends of the intervals of `values` `(trials, numbers)`, NaN being no value."""
    there = ~np.isnan(values)
    sums, counts = np.zeros((2, groups, values.shape[1]))
    np.add.at(sums, where, np.where(there, values, 0.0))
    np.add.at(counts, where, there)
    # Groups without a trial here would be resamples of nothing.
    present = counts.any(axis=1)
    sums, counts = sums[present], counts[present]
    drawn = np.random.default_rng(seed).integers(len(sums), size=(RESAMPLES, len(sums)))
    totals = counts[drawn].sum(1)
    estimates = np.divide(sums[drawn].sum(1), totals, out=np.full(totals.shape, np.nan), where=totals > 0)
    return np.nanquantile(estimates, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)


__all__ = ["summarise"]
