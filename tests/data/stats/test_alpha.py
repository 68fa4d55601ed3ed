"""Krippendorff's alpha: a published example, numbers worked out by hand, and the definition written another way."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundclip_hf.data.stats.alpha import bootstrap, krippendorff_alpha, rating_patterns


def slow_alpha(ratings, cost):
    """Mean cost of pairs within rows over mean cost of all pairs, straight from the definition."""
    units = [[value for value in column if not np.isnan(value)] for column in ratings.T]
    units = [unit for unit in units if len(unit) > 1]
    every = [value for unit in units for value in unit]
    within = sum(sum(cost(x, y) for x, y in itertools.permutations(unit, 2)) / (len(unit) - 1) for unit in units)
    between = sum(cost(x, y) for x, y in itertools.permutations(every, 2)) / (len(every) - 1)
    return 1 - within / between


def test_alpha_of_a_published_example():
    """Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), example C: four observers, twelve units."""
    gap = np.nan
    ratings = np.array(
        [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, gap, gap, gap],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, gap, 3],
            [gap, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, gap],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, gap],
        ]
    )
    assert krippendorff_alpha(ratings, "nominal") == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(ratings, "ordinal") == pytest.approx(0.815, abs=5e-4)
    assert krippendorff_alpha(ratings, "interval") == pytest.approx(0.849, abs=5e-4)
    assert krippendorff_alpha(ratings, "nominal") == pytest.approx(slow_alpha(ratings, lambda x, y: x != y))


def test_alpha_against_its_definition():
    random = np.random.default_rng(1)
    ratings = random.integers(0, 11, (3, 40)).astype(float)
    ratings[random.random((3, 40)) < 0.3] = np.nan
    assert krippendorff_alpha(ratings, "interval") == pytest.approx(slow_alpha(ratings, lambda x, y: (x - y) ** 2))
    same = np.repeat(ratings[:1], 2, 0)
    assert krippendorff_alpha(same) == pytest.approx(1)
    assert np.isnan(krippendorff_alpha(np.full((2, 5), np.nan)))
    assert np.isnan(krippendorff_alpha(np.full((2, 5), 3.0)))


def test_ordinal_alpha_by_hand():
    """
    Rows (0,0), (0,1), (2,2): scores 0, 1, 2 were given 3, 1, 2 times. Ordinal distances: 0-1 is ((3+1)/2)² = 4, 1-2 is
    ((1+2)/2)² = 2.25, 0-2 is (3/2 + 1 + 2/2)² = 12.25. Observed: 2·4 = 8; expected: 2·(3·1·4 + 1·2·2.25 + 3·2·12.25)/5.
    """
    ratings = np.array([[0, 0, 2], [0, 1, 2]], float)
    assert krippendorff_alpha(ratings, "ordinal") == pytest.approx(1 - 8 / (2 * (12 + 4.5 + 73.5) / 5))


def ordinal_cost(ratings):
    """The ordinal distance of two scores, from the sum in its definition."""
    paired = ratings[:, (~np.isnan(ratings)).sum(0) > 1]
    count = {score: int((paired == score).sum()) for score in range(11)}

    def cost(x, y):
        low, high = int(min(x, y)), int(max(x, y))
        return (sum(count[score] for score in range(low, high + 1)) - (count[low] + count[high]) / 2) ** 2

    return cost


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_ordinal_alpha_against_its_definition(data):
    cell = st.one_of(st.none(), st.integers(0, 10))
    raters, n = data.draw(st.integers(2, 4)), data.draw(st.integers(2, 8))
    table = data.draw(st.lists(st.lists(cell, min_size=n, max_size=n), min_size=raters, max_size=raters))
    ratings = np.array(table, float)
    paired = ratings[:, (~np.isnan(ratings)).sum(0) > 1]
    found = krippendorff_alpha(ratings, "ordinal")
    if len(np.unique(paired[~np.isnan(paired)])) < 2:
        assert np.isnan(found)
        return
    assert found == pytest.approx(slow_alpha(ratings, ordinal_cost(ratings)))
    # Who is called first, and how the scores are spaced, does not matter.
    assert krippendorff_alpha(ratings[::-1], "ordinal") == pytest.approx(found)
    assert krippendorff_alpha(ratings**2, "ordinal") == pytest.approx(found)


def test_against_another_implementation():
    krippendorff = pytest.importorskip("krippendorff")
    random = np.random.default_rng(3)
    ratings = random.integers(0, 11, (4, 60)).astype(float)
    ratings[random.random(ratings.shape) < 0.3] = np.nan
    for metric in ("nominal", "ordinal", "interval"):
        expected = krippendorff.alpha(ratings, level_of_measurement=metric)
        assert krippendorff_alpha(ratings, metric) == pytest.approx(expected)


def test_the_bootstrap_covers_a_mean():
    """95 % intervals of a mean are 2 x 1.96 standard errors wide."""
    values = np.random.default_rng(2).normal(size=400)
    once = np.ones(400, np.int64)
    low, high = bootstrap(lambda drawn: float(drawn @ values / 400), once, repeats=2000)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert low < values.mean() < high
    assert bootstrap(lambda drawn: float(drawn @ values / 400), once, repeats=2000) == (low, high)


def test_wrong_ratings():
    with pytest.raises(ValueError, match="no whole number"):
        rating_patterns(np.array([[1.5], [2.0]]))
    with pytest.raises(ValueError, match="negative"):
        rating_patterns(np.array([[-1.0], [2.0]]))
    with pytest.raises(ValueError, match="none of nominal"):
        krippendorff_alpha(np.array([[1.0], [2.0]]), "ratio")
