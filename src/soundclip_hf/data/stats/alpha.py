"""Krippendorff's alpha, with intervals, of any number of raters who need not have rated every row."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

METRICS = ("nominal", "ordinal", "interval")


def krippendorff_alpha(ratings: np.ndarray, metric: str = "ordinal") -> float:
    """Krippendorff's alpha.

    Args:
        ratings: `(raters, n)` float of whole numbers from 0 on; NaN where a rater gave none. Rows with fewer than two
            ratings do not count.
        metric: "nominal" (equal or not), "ordinal" (how many ratings lie between) or "interval" (squared distance).

    Returns:
        At most 1; NaN if there is nothing to compare, or only one score was ever given.
    """
    return alpha_of(coincidences(*rating_patterns(ratings)), metric)


def rating_patterns(ratings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`(p, categories)` how often each score was given to a row, each such pattern once, and `(p,)` rows that have it.

    Rows with fewer than two ratings are left out.

    Raises:
        ValueError: A rating is negative or no whole number.
    """
    known = ~np.isnan(ratings)
    given = ratings[known]
    if given.size and (given.min() < 0 or (given != np.round(given)).any()):
        raise ValueError("a rating is negative or no whole number; ratings are 0, 1, 2, …")
    paired = known.sum(0) >= 2
    values, known = np.where(known, ratings, 0)[:, paired].astype(np.int64), known[:, paired]
    each = np.zeros((values.shape[1], int(values.max(initial=0)) + 1), np.int64)
    for rater, there in zip(values, known):
        each[np.flatnonzero(there), rater[there]] += 1
    patterns, counts = np.unique(each, axis=0, return_counts=True)
    return patterns, counts


def coincidences(patterns: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """`(categories, categories)`: how often two scores meet in a row, every row with the weight of its ratings."""
    weighted = patterns * (counts / np.maximum(patterns.sum(1) - 1, 1))[:, None]
    return weighted.T @ patterns - np.diag(weighted.sum(0))


def alpha_of(coincidence: np.ndarray, metric: str) -> float:
    """Alpha of a coincidence matrix; NaN where chance could not disagree."""
    marginal = coincidence.sum(1)
    cost = _distances(marginal, metric)
    expected = float(marginal @ cost @ marginal)
    return 1 - float((coincidence * cost).sum()) * (marginal.sum() - 1) / expected if expected else float("nan")


def bootstrap(
    statistic: Callable[[np.ndarray], float],
    counts: np.ndarray,
    *,
    repeats: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of a statistic over resampled rows; (NaN, NaN) if it is never defined.

    Args:
        statistic: Takes counts of the same shape; where it is NaN, that sample is left out.
        counts: Rows of each kind, of any shape. Drawing n rows again is drawing these counts from a multinomial, which
            takes as long for a million rows as for ten.
    """
    random = np.random.default_rng(seed)
    n = int(counts.sum())
    shares = counts.reshape(-1) / max(n, 1)
    drawn = (random.multinomial(n, shares).reshape(counts.shape) for _ in range(repeats if n else 0))
    values = np.array([statistic(sample) for sample in drawn])
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _distances(marginal: np.ndarray, metric: str) -> np.ndarray:
    if metric not in METRICS:
        raise ValueError(f"metric={metric!r} is none of {', '.join(METRICS)}")
    scores = np.arange(len(marginal))
    if metric == "nominal":
        return (scores[:, None] != scores).astype(float)
    if metric == "interval":
        return (scores[:, None] - scores).astype(float) ** 2
    # Ratings up to the middle of each score's own: their difference counts what lies between two scores.
    middle = np.cumsum(marginal) - marginal / 2
    return (middle[:, None] - middle) ** 2


__all__ = ["METRICS", "alpha_of", "bootstrap", "coincidences", "krippendorff_alpha", "rating_patterns"]
