"""Two or more ratings of the same rows in; kappa, alpha and exact agreement, with intervals, out.

Scores are ordinal (0 to 10). The paper reports "Cohen's kappa > 0.82 across all dimensions" (section 2.3) without
saying which kappa: all three weightings are given here, as they can differ a lot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .schema import MAX_SCORE, SCORES

WEIGHTS = ("unweighted", "linear", "quadratic")
CATEGORIES = MAX_SCORE + 1


def confusion(first: np.ndarray, second: np.ndarray, categories: int = CATEGORIES) -> np.ndarray:
    """`(categories, categories)` counts of two integer ratings `(n,)` in [0, categories)."""
    first, second = np.asarray(first, np.int64), np.asarray(second, np.int64)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"ratings of shapes {first.shape} and {second.shape}: both must be (n,)")
    if len(first) and not (min(first.min(), second.min()) >= 0 and max(first.max(), second.max()) < categories):
        raise ValueError(f"a rating is outside 0..{categories - 1}")
    counts = np.bincount(first * categories + second, minlength=categories**2)
    return counts.reshape(categories, categories)


def disagreement(categories: int, weights: str) -> np.ndarray:
    """`(categories, categories)` cost in [0, 1] of each pair of ratings: 0 or 1, distance, or its square."""
    if weights not in WEIGHTS:
        raise ValueError(f"weights={weights!r} is none of {', '.join(WEIGHTS)}")
    distance = np.abs(np.subtract.outer(np.arange(categories), np.arange(categories)))
    if weights == "unweighted":
        return (distance > 0).astype(float)
    return (distance / (categories - 1)) ** (1 if weights == "linear" else 2)


def cohen_kappa(counts: np.ndarray, weights: str = "unweighted") -> float:
    """Cohen's (weighted) kappa of a confusion matrix, in [-1, 1].

    NaN without ratings, and where both raters gave one and the same score throughout: agreement then says nothing, as
    chance would do as well.
    """
    total = counts.sum()
    if not total:
        return float("nan")
    cost, shares = disagreement(len(counts), weights), counts / total
    expected = float((cost * np.outer(shares.sum(1), shares.sum(0))).sum())
    return 1 - float((cost * shares).sum()) / expected if expected else float("nan")


def krippendorff_alpha(ratings: np.ndarray, weights: str = "quadratic") -> float:
    """Krippendorff's alpha of any number of raters with gaps.

    Args:
        ratings: `(raters, n)` float; NaN where a rater gave none. Rows with fewer than two ratings do not count.
        weights: "unweighted" is the nominal metric, "quadratic" the interval metric; "linear" the distance itself.

    Returns:
        At most 1; NaN if there is nothing to compare, or only one score was ever given.
    """
    known = ~np.isnan(ratings)
    paired = known.sum(0) >= 2
    values, known = np.where(known, ratings, 0)[:, paired].astype(np.int64), known[:, paired]
    if values.size == 0:
        return float("nan")
    categories = max(CATEGORIES, int(values.max()) + 1)
    if values.min() < 0:
        raise ValueError("a rating is negative")
    # (n, categories): how often each score was given to each row.
    each = np.zeros((values.shape[1], categories))
    for rater, there in zip(values, known):
        each[np.flatnonzero(there), rater[there]] += 1
    count = each.sum(1, keepdims=True)
    coincidence = (each / (count - 1)).T @ each - np.diag((each / (count - 1)).sum(0))
    marginal = coincidence.sum(1)
    total = marginal.sum()
    cost = disagreement(categories, weights)
    expected = float(marginal @ cost @ marginal) / (total - 1)
    return 1 - float((coincidence * cost).sum()) / expected if expected else float("nan")


def bootstrap(
    statistic: Callable[[np.ndarray], float], n: int, *, repeats: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of a statistic over resampled rows; (NaN, NaN) if it is never defined.

    Args:
        statistic: Takes row numbers `(n,)`, with repetitions; where it is NaN, that sample is left out.
        n: Number of rows.
    """
    random = np.random.default_rng(seed)
    values = np.array([statistic(random.integers(0, n, n)) for _ in range(repeats if n else 0)])
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def compare(first: np.ndarray, second: np.ndarray, *, repeats: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Agreement of two ratings of the same rows.

    Args:
        first, second: `(n,)` float in 0..10; NaN where there is none. Rows that lack one are left out.
        repeats: Bootstrap samples for the 95 % intervals; 0 leaves them out.

    Returns:
        `n` compared rows; `exact` and `within_one` as shares; `kappa_*` and `alpha` (interval metric), `*_ci` their
        intervals; `mean_a`, `mean_b`, `prevalence`: share of the commonest score. Kappa is low or undefined, however
        well raters agree, where that is near 1.
    """
    both = ~(np.isnan(first) | np.isnan(second))
    a, b = first[both].astype(np.int64), second[both].astype(np.int64)
    counts = confusion(a, b)
    n = len(a)
    found: dict[str, Any] = {
        "n": n,
        "exact": float((a == b).mean()) if n else float("nan"),
        "within_one": float((abs(a - b) <= 1).mean()) if n else float("nan"),
    }
    for weights in WEIGHTS:
        found[f"kappa_{weights}"] = cohen_kappa(counts, weights)
        if repeats:
            found[f"kappa_{weights}_ci"] = bootstrap(
                lambda rows, weights=weights: cohen_kappa(confusion(a[rows], b[rows]), weights),  # type: ignore[misc]
                n,
                repeats=repeats,
                seed=seed,
            )
    given = np.bincount(np.concatenate([a, b]), minlength=CATEGORIES)
    return found | {
        "alpha": krippendorff_alpha(np.stack([a, b]).astype(float)),
        "mean_a": float(a.mean()) if n else float("nan"),
        "mean_b": float(b.mean()) if n else float("nan"),
        "prevalence": float(given.max() / given.sum()) if n else float("nan"),
    }


def agreement(
    first: Sequence[Mapping[str, Any]],
    second: Sequence[Mapping[str, Any]],
    *,
    key: str = "sample_id",
    repeats: int = 1000,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """`compare` for each of the five scores, over rows that both sides have.

    Raises:
        ValueError: No row in common, or a key that comes twice on one side.
    """
    sides = []
    for rows in (first, second):
        side = {row[key]: row for row in rows}
        if len(side) < len(rows):
            raise ValueError(f"{len(rows) - len(side)} rows repeat a {key}; each may come once")
        sides.append(side)
    common = [name for name in sides[0] if name in sides[1]]
    if not common:
        raise ValueError(f"the two sides have no {key} in common")
    columns = {score: [np.array([_number(side[name][score]) for name in common]) for side in sides] for score in SCORES}
    return {score: compare(a, b, repeats=repeats, seed=seed) for score, (a, b) in columns.items()}


def _number(score: Any) -> float:
    return float("nan") if score is None else float(score)


__all__ = ["WEIGHTS", "agreement", "bootstrap", "cohen_kappa", "compare", "confusion", "krippendorff_alpha"]
