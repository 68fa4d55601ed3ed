"""What every metric of captions returns, and the bootstrap over items that gives its interval."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 1000
_DRAWS = 2_000_000  # that are in memory at a time


@dataclass(frozen=True)
class MetricScore:
    """
    Attributes:
        value: Of the whole corpus.
        per_item: One number for each caption, in order; None where the metric says nothing about an item.
        n: Items that count: those of `per_item` that are not None.
        interval: 95 % bootstrap interval `(low, high)` of `value`, the items being drawn with replacement; None for a
            single item.
        config: Settings and counts that are needed to read or repeat the number.
    """

    value: float
    per_item: tuple[float | None, ...]
    n: int
    interval: tuple[float, float] | None
    config: dict[str, Any] = field(default_factory=dict)


def mean_score(per_item: Sequence[float | None], config: dict[str, Any] | None = None, *, seed: int = 0) -> MetricScore:
    """
    A score that is the mean of its items.

    Raises:
        ValueError: If no item has a number.
    """
    known = np.array([value for value in per_item if value is not None], dtype=np.float64)
    if not len(known):
        raise ValueError(f"none of {len(per_item)} items has a score")
    sums = bootstrap_sums(known[:, None], seed=seed)
    interval = percentile_interval(sums[:, 0] / len(known)) if len(known) > 1 else None
    items = tuple(None if value is None else float(value) for value in per_item)
    return MetricScore(float(known.mean()), items, len(known), interval, dict(config or {}))


def bootstrap_sums(statistics: np.ndarray, *, seed: int, resamples: int = RESAMPLES) -> np.ndarray:
    """
    Sums over items that are drawn with replacement.

    Args:
        statistics: `(n, d)` numbers of each item.
        seed: Two calls with one seed and one n draw the same items, so that metrics and settings stay comparable.

    Returns:
        `(resamples, d)` float64; each row is a sum over n drawn items.
    """
    n = len(statistics)
    rng = np.random.default_rng(seed)
    rows = max(1, _DRAWS // n)
    parts = []
    for start in range(0, resamples, rows):
        drawn = rng.integers(n, size=(min(rows, resamples - start), n))
        counts = np.stack([np.bincount(row, minlength=n) for row in drawn])
        parts.append(counts @ statistics.astype(np.float64))
    return np.concatenate(parts)


def percentile_interval(estimates: np.ndarray) -> tuple[float, float]:
    """The interval that holds the middle 95 % of `(resamples,)` bootstrap estimates."""
    low, high = np.quantile(estimates, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


__all__ = ["CONFIDENCE", "RESAMPLES", "MetricScore", "bootstrap_sums", "mean_score", "percentile_interval"]
