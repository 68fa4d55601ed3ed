"""Measures the agreement of two or more raters: kappa, alpha and exact agreement, with intervals.

Scores are ordinal: those of AVE-2's clips from 0 to 10, others as a [`Scale`] says. The paper reports "Cohen's kappa >
0.82 across all dimensions" (section 2.3) without saying which kappa: all three weightings are given here, as they can
differ a lot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from ..ave2.schema import MAX_SCORE, SCORES
from .alpha import METRICS, alpha_of, bootstrap, coincidences, rating_patterns

WEIGHTS = ("unweighted", "linear", "quadratic")
CATEGORIES = MAX_SCORE + 1
OF_PAIRS = ("n", "exact", "within_one", "kappa_quadratic")


@dataclass(frozen=True)
class Scale:
    """What raters give.

    Attributes:
        columns: Names of the scores.
        lowest, highest: A score is a whole number from the one to the other; 0 or more.
    """

    columns: tuple[str, ...]
    lowest: int
    highest: int


AVE2_SCALE = Scale(SCORES, 0, MAX_SCORE)


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


def compare(
    first: np.ndarray, second: np.ndarray, *, highest: int = MAX_SCORE, repeats: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Agreement of two ratings of the same rows.

    Args:
        first, second: `(n,)` float in 0..highest; NaN where there is none. Rows that lack one are left out.
        highest: The highest score that can be given.
        repeats: Bootstrap samples for the 95 % intervals; 0 leaves them out.

    Returns:
        `n` compared rows; `exact` and `within_one` as shares; `kappa_*` and `alpha_*`, Krippendorff's alpha in three
        metrics; `*_ci` the intervals of the kappas and of the ordinal alpha; `mean_a`, `mean_b`; `prevalence`: share of
        the commonest score. Kappa is low or undefined, however well raters agree, where that is near 1.
    """
    both = ~(np.isnan(first) | np.isnan(second))
    a, b = first[both].astype(np.int64), second[both].astype(np.int64)
    counts = confusion(a, b, highest + 1)
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
                lambda drawn, weights=weights: cohen_kappa(drawn, weights),  # type: ignore[misc]
                counts,
                repeats=repeats,
                seed=seed,
            )
    given = counts.sum(0) + counts.sum(1)
    return found | {
        **_alphas(np.stack([a, b]).astype(float), repeats, seed),
        "mean_a": float(a.mean()) if n else float("nan"),
        "mean_b": float(b.mean()) if n else float("nan"),
        "prevalence": float(given.max() / given.sum()) if n else float("nan"),
    }


def compare_all(ratings: np.ndarray, *, highest: int = MAX_SCORE, repeats: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Agreement of three or more raters, of whom not all need to have rated every row.

    Args:
        ratings: `(raters, n)` float in 0..highest; NaN where there is none. Rows with fewer than two ratings do not
            count.
        highest: The highest score that can be given.
        repeats: Bootstrap samples for the 95 % interval; 0 leaves it out.

    Returns:
        `n` compared rows; `raters`; `given`, how many of these rows each rater rated; `alpha_*` and its interval, as of
        `compare`; `pairs`: for each two raters, numbered from 0, their `n`, `exact`, `within_one`, `kappa_quadratic`.
    """
    known = ~np.isnan(ratings)
    paired = known.sum(0) >= 2
    pairs = []
    for one, other in combinations(range(len(ratings)), 2):
        found = compare(ratings[one], ratings[other], highest=highest, repeats=0)
        pairs.append({"raters": [one, other]} | {name: found[name] for name in OF_PAIRS})
    return {
        "n": int(paired.sum()),
        "raters": len(ratings),
        "given": known[:, paired].sum(1).tolist(),
        **_alphas(ratings, repeats, seed),
        "pairs": pairs,
    }


def agreement(
    *sides: Sequence[Mapping[str, Any]],
    key: str = "sample_id",
    scale: Scale = AVE2_SCALE,
    repeats: int = 1000,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """`compare` of two sides, `compare_all` of more, for each score of the scale, over rows that two sides have.

    Raises:
        ValueError: Fewer than two sides, no row in common, or a key that comes twice on one side.
    """
    if len(sides) < 2:
        raise ValueError(f"agreement needs two or more raters, not {len(sides)}")
    tables = []
    for rows in sides:
        table = {row[key]: row for row in rows}
        if len(table) < len(rows):
            raise ValueError(f"{len(rows) - len(table)} rows have the {key} of another row; each may come once")
        tables.append(table)
    seen = Counter(name for table in tables for name in table)
    common = [name for name, count in seen.items() if count > 1]
    if not common:
        raise ValueError(f"the sides have no {key} in common")
    compared = {}
    for score in scale.columns:
        ratings = np.array([[_number(table.get(name, {}).get(score)) for name in common] for table in tables])
        if len(tables) == 2:
            compared[score] = compare(*ratings, highest=scale.highest, repeats=repeats, seed=seed)
        else:
            compared[score] = compare_all(ratings, highest=scale.highest, repeats=repeats, seed=seed)
    return compared


def _alphas(ratings: np.ndarray, repeats: int, seed: int) -> dict[str, Any]:
    patterns, counts = rating_patterns(ratings)
    together = coincidences(patterns, counts)
    found: dict[str, Any] = {f"alpha_{metric}": alpha_of(together, metric) for metric in METRICS}
    if repeats:
        found["alpha_ordinal_ci"] = bootstrap(
            lambda drawn: alpha_of(coincidences(patterns, drawn), "ordinal"), counts, repeats=repeats, seed=seed
        )
    return found


def _number(score: Any) -> float:
    return float("nan") if score is None else float(score)


__all__ = ["AVE2_SCALE", "WEIGHTS", "Scale", "agreement", "cohen_kappa", "compare", "compare_all", "confusion"]
