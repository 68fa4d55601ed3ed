"""A line through points, and how closely two numbers go together, each with its interval; numpy is all they need."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
_NORMAL = 1.959963984540054  # 97.5 % of the normal distribution lie below
RESAMPLES = 2000

Interval = tuple[float, float]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """
    The least-squares line y = `slope` x + `intercept`.

    Attributes:
        slope_interval, intercept_interval: 95 %, by the t distribution with n - 2 degrees of freedom; None for two
            points.
        n: Points.
    """

    slope: float
    intercept: float
    slope_interval: Interval | None
    intercept_interval: Interval | None
    n: int


@dataclass(frozen=True)
class Correlation:
    """
    Attributes:
        r: From -1 to 1.
        p: Two-sided p value by the t distribution with n - 2 degrees of freedom, as if r were Pearson's of normal
            numbers; None for two points.
        interval: 95 % by Fisher's transformation, Spearman's with the variance of Bonett and Wright (2000),
            (1 + r² / 2) / (n - 3); None for fewer than four points and for r = ±1.
        bootstrap_interval: 95 %, percentiles of resampled points; None for two points, and where it was not asked for.
            With few points it is rough.
        n: Points.
    """

    r: float
    p: float | None
    interval: Interval | None
    bootstrap_interval: Interval | None
    n: int


def fit_line(x: Sequence[float], y: Sequence[float]) -> Line:
    """
    Args:
        x, y: At least two finite points, not all with the same `x`.

    Raises:
        ValueError: For fewer points, or points above each other.
    """
    a, b = _points(x, y)
    spread = float(((a - a.mean()) ** 2).sum())
    if not spread:
        raise ValueError(f"x: all {len(a)} points have x = {a[0]:g}, so no line can be drawn")
    slope = float(((a - a.mean()) * (b - b.mean())).sum()) / spread
    intercept = float(b.mean() - slope * a.mean())
    free = len(a) - 2
    if not free:
        return Line(slope, intercept, None, None, len(a))
    variance = float(((b - intercept - slope * a) ** 2).sum()) / free
    wide = t_quantile(0.5 + CONFIDENCE / 2, free)
    slope_error = wide * math.sqrt(variance / spread)
    intercept_error = wide * math.sqrt(variance * (1 / len(a) + float(a.mean()) ** 2 / spread))
    return Line(
        slope,
        intercept,
        (slope - slope_error, slope + slope_error),
        (intercept - intercept_error, intercept + intercept_error),
        len(a),
    )


def mean_band(x: Sequence[float], y: Sequence[float], at: Sequence[float] | Array) -> tuple[Array, Array]:
    """
    The 95 % interval of the mean of y at each of `at`, by the t distribution.

    Args:
        x, y: At least three points, as in [`fit_line`].

    Raises:
        ValueError: As in [`fit_line`], and for two points.
    """
    line = fit_line(x, y)
    if line.n < 3:
        raise ValueError("x and y: 2 points have no spread around their line; expected at least three")
    a, b = _points(x, y)
    places = np.asarray(at, dtype=float)
    variance = float(((b - line.intercept - line.slope * a) ** 2).sum()) / (line.n - 2)
    spread = float(((a - a.mean()) ** 2).sum())
    wide = t_quantile(0.5 + CONFIDENCE / 2, line.n - 2)
    error = wide * np.sqrt(variance * (1 / line.n + (places - a.mean()) ** 2 / spread))
    middle = line.intercept + line.slope * places
    return middle - error, middle + error


def pearson(x: Sequence[float], y: Sequence[float], seed: int | None = 0) -> Correlation:
    """
    Args:
        x, y: At least two finite points; neither may be constant.
        seed: Of the bootstrap; None leaves it out.

    Raises:
        ValueError: For fewer points or a constant.
    """
    a, b = _points(x, y)
    r = _r(a, b)
    return Correlation(r, _p(r, len(a)), _fisher(r, len(a), 1), _bootstrap(_r, a, b, seed), len(a))


def spearman(x: Sequence[float], y: Sequence[float], seed: int | None = 0) -> Correlation:
    """The correlation of ranks; equal numbers share their average rank. Arguments and errors as in [`pearson`]."""
    a, b = _points(x, y)
    r = _rank_r(a, b)
    return Correlation(r, _p(r, len(a)), _fisher(r, len(a), 1 + r * r / 2), _bootstrap(_rank_r, a, b, seed), len(a))


def ranks(values: Sequence[float] | Array) -> Array:
    """Ranks from 1 on; equal numbers share their average rank."""
    found = np.asarray(values, dtype=float)
    _, place, counts = np.unique(found, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place]


def t_tail(t: float, free: float) -> float:
    """The probability of a t at least as far from 0, with `free` degrees of freedom."""
    return incomplete_beta(free / 2, 0.5, free / (free + t * t))


def t_quantile(probability: float, free: float) -> float:
    """
    The t that a share `probability`, at least 0.5 and below 1, lies below.
    """
    tail = 2 * (1 - probability)
    low, high = 0.0, 1.0
    while t_tail(high, free) > tail:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if t_tail(middle, free) > tail else (low, middle)
    return (low + high) / 2


def incomplete_beta(a: float, b: float, x: float) -> float:
    """
    The regularised incomplete beta function I_x(a, b), for positive `a` and `b`, and `x` from 0 to 1.

    By its continued fraction (Abramowitz and Stegun 26.5.8), evaluated from the front (Lentz' method).
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    # The fraction converges fast only on this side; the function is symmetric.
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(b, a, 1 - x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    tiny = 1e-300
    c, d = 1.0, 1 / _not_zero(1 - (a + b) * x / (a + 1), tiny)
    value = d
    for m in range(1, 500):
        before = value
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _not_zero(1 + term * d, tiny)
            c = _not_zero(1 + term / c, tiny)
            value *= c * d
        if abs(value - before) <= 1e-15 * abs(value):
            break
    return front * value / a


def _not_zero(value: float, tiny: float) -> float:
    return value if abs(value) > tiny else tiny


def _points(x: Sequence[float], y: Sequence[float]) -> tuple[Array, Array]:
    a, b = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"x and y: have the shapes {a.shape} and {b.shape}, expected two lists of one length")
    if len(a) < 2:
        raise ValueError(f"x and y: {len(a)} point, expected at least two")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("x and y: hold a number that is not finite")
    return a, b


def _r(a: Array, b: Array) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = math.sqrt(float((a * a).sum()) * float((b * b).sum()))
    if not size:
        raise ValueError("x or y: all numbers are the same, so there is no correlation")
    return min(1.0, max(-1.0, float((a * b).sum()) / size))


def _rank_r(a: Array, b: Array) -> float:
    return _r(ranks(a), ranks(b))


def _fisher(r: float, n: int, variance: float) -> Interval | None:
    if n < 4 or abs(r) >= 1:
        return None
    middle, wide = math.atanh(r), _NORMAL * math.sqrt(variance / (n - 3))
    return math.tanh(middle - wide), math.tanh(middle + wide)


def _p(r: float, n: int) -> float | None:
    if n < 3:
        return None
    return t_tail(r * math.sqrt((n - 2) / (1 - r * r)), n - 2) if abs(r) < 1 else 0.0


def _bootstrap(statistic: Callable[[Array, Array], float], a: Array, b: Array, seed: int | None) -> Interval | None:
    if seed is None or len(a) < 3:
        return None
    drawn = np.random.default_rng(seed).integers(0, len(a), size=(RESAMPLES, len(a)))
    found = []
    for rows in drawn:
        x, y = a[rows], b[rows]
        # Points that are all equal in one number have no correlation.
        if np.ptp(x) and np.ptp(y):
            found.append(statistic(x, y))
    low, high = np.quantile(found, [0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2])
    return float(low), float(high)


__all__ = [
    "CONFIDENCE",
    "Correlation",
    "Line",
    "fit_line",
    "incomplete_beta",
    "mean_band",
    "pearson",
    "ranks",
    "spearman",
    "t_quantile",
    "t_tail",
]
