"""Lines, correlations and the t distribution, against hand computation and printed tables."""

import math

import numpy as np
import pytest

from soundclip_hf.analysis.regression import (
    fit_line,
    incomplete_beta,
    mean_band,
    pearson,
    ranks,
    spearman,
    t_quantile,
    t_tail,
)

# Means 2.5 and 4.75; sums of squares 5 and 18.75, of products 9.5; residuals 0.1, 0.2, -0.7, 0.4.
X, Y = [1, 2, 3, 4], [2, 4, 5, 8]
T_2 = 4.302653  # 97.5 % of t with two degrees of freedom, as printed in tables


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (1.5, 0.5), (2.0, 3.0), (30.0, 0.5), (0.5, 40.0)])
@pytest.mark.parametrize("x", [0.01, 0.3, 0.7, 0.99])
def test_incomplete_beta_is_the_integral(a, b, x):
    """By the trapezium rule after u = sin², which takes away the poles at both ends."""
    angle = np.linspace(0, math.asin(math.sqrt(x)), 200_001)
    with np.errstate(divide="ignore"):
        density = 2 * np.sin(angle) ** (2 * a - 1) * np.cos(angle) ** (2 * b - 1)
    whole = math.gamma(a) * math.gamma(b) / math.gamma(a + b)
    assert incomplete_beta(a, b, x) == pytest.approx(np.trapezoid(density, angle) / whole, abs=1e-8)


def test_incomplete_beta_in_closed_form():
    assert incomplete_beta(2, 3, 0.5) == pytest.approx(11 / 16, abs=1e-14)
    assert incomplete_beta(1, 4, 0.2) == pytest.approx(1 - 0.8**4, abs=1e-14)
    assert (incomplete_beta(2, 3, 0), incomplete_beta(2, 3, 1)) == (0, 1)


@pytest.mark.parametrize(
    ("free", "expected"), [(1, 12.706205), (2, T_2), (3, 3.182446), (10, 2.228139), (120, 1.979930)]
)
def test_quantiles_of_t(free, expected):
    assert t_quantile(0.975, free) == pytest.approx(expected, abs=1e-6)
    assert t_tail(t_quantile(0.975, free), free) == pytest.approx(0.05, abs=1e-12)


def test_tail_of_t():
    assert t_tail(0, 5) == 1
    for t in (0.1, 1.0, 30.0):
        assert t_tail(t, 1) == pytest.approx(1 - 2 / math.pi * math.atan(t), abs=1e-12)  # Cauchy
        assert t_tail(-t, 1) == t_tail(t, 1)


def test_line_by_hand():
    line = fit_line(X, Y)
    assert (line.slope, line.intercept, line.n) == (pytest.approx(1.9), pytest.approx(0, abs=1e-12), 4)
    wide = T_2 * math.sqrt(0.35 / 5)
    assert line.slope_interval == pytest.approx((1.9 - wide, 1.9 + wide), abs=1e-5)
    wide = T_2 * math.sqrt(0.35 * (1 / 4 + 6.25 / 5))
    assert line.intercept_interval == pytest.approx((-wide, wide), abs=1e-5)
    low, high = mean_band(X, Y, [2.5, 4])
    assert high - low == pytest.approx([2 * T_2 * math.sqrt(0.35 / 4), 2 * T_2 * math.sqrt(0.35 * 0.7)], abs=1e-5)
    assert (high + low) / 2 == pytest.approx([4.75, 7.6])


def test_two_points_have_a_line_without_interval():
    line = fit_line([0, 2], [1, 5])
    assert (line.slope, line.intercept, line.slope_interval, line.intercept_interval) == (2, 1, None, None)
    with pytest.raises(ValueError, match="expected at least three"):
        mean_band([0, 2], [1, 5], [1])


def test_pearson_by_hand():
    found = pearson(X, Y)
    r = 9.5 / math.sqrt(5 * 18.75)
    assert (found.r, found.n) == (pytest.approx(r), 4)
    middle = math.atanh(r)
    assert found.interval == pytest.approx((math.tanh(middle - 1.959964), math.tanh(middle + 1.959964)), abs=1e-6)
    # t with two degrees of freedom has a closed form.
    t = r * math.sqrt(2 / (1 - r * r))
    assert found.p == pytest.approx(1 - t / math.sqrt(2 + t * t), abs=1e-12)


def test_p_is_that_of_printed_critical_values():
    """r = 0.5760 with 12 points is significant at 5 % (two-sided)."""
    x = np.arange(12.0) - 5.5
    noise = np.cos(2.0 * x)
    noise -= noise.mean() + x * (x @ (noise - noise.mean())) / (x @ x)
    y = 0.5760 * x / np.linalg.norm(x) + math.sqrt(1 - 0.5760**2) * noise / np.linalg.norm(noise)
    found = pearson(x, y)
    assert found.r == pytest.approx(0.5760)
    assert found.p == pytest.approx(0.05, abs=1e-4)


def test_spearman_with_ties_by_hand():
    assert ranks([10, 20, 20, 30, 5]).tolist() == [2, 3.5, 3.5, 5, 1]
    found = spearman([1, 2, 2, 3], [1, 3, 2, 4])
    assert found.r == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    wide = 1.959964 * math.sqrt(1 + found.r**2 / 2)
    assert found.interval == pytest.approx(
        (math.tanh(math.atanh(found.r) - wide), math.tanh(math.atanh(found.r) + wide)), abs=1e-6
    )
    assert spearman(X, [value**3 for value in Y]).r == 1


def test_bootstrap():
    draw = np.random.default_rng(5)
    x = draw.normal(size=200)
    y = 0.6 * x + 0.8 * draw.normal(size=200)
    found = pearson(x, y, seed=1)
    assert found.bootstrap_interval == pearson(x, y, seed=1).bootstrap_interval
    assert found.bootstrap_interval != pearson(x, y, seed=2).bootstrap_interval
    # For many normal numbers both intervals are the same but for chance.
    assert found.bootstrap_interval == pytest.approx(found.interval, abs=0.04)
    assert pearson(x, 2 * x).bootstrap_interval == pytest.approx((1, 1))
    assert pearson(x, y, None).bootstrap_interval is None
    assert (pearson([0, 1], [1, 0]).p, pearson([0, 1], [1, 0]).bootstrap_interval) == (None, None)


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        ([1], [1], "1 point, expected at least two"),
        ([1, 2], [1], "expected two lists of one length"),
        ([1, 2, float("nan")], [1, 2, 3], "not finite"),
    ],
)
@pytest.mark.parametrize("function", [fit_line, pearson, spearman])
def test_bad_points(function, x, y, words):
    with pytest.raises(ValueError, match=words):
        function(x, y)


def test_constants():
    with pytest.raises(ValueError, match="all 3 points have x = 2"):
        fit_line([2, 2, 2], [1, 2, 3])
    for function in (pearson, spearman):
        with pytest.raises(ValueError, match="there is no correlation"):
            function([1, 2, 3], [4, 4, 4])
