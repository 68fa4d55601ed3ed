"""Agreement: numbers worked out by hand, and formulas written another way."""

import time

import numpy as np
import pytest
from ave2_rows import rows

from soundclip_hf.data.ave2.schema import SCORES
from soundclip_hf.data.stats.agreement import agreement, cohen_kappa, compare, compare_all, confusion, disagreement
from soundclip_hf.data.stats.alpha import krippendorff_alpha


def test_kappa_by_hand():
    """20 and 15 agreements, 5 and 10 disagreements of 50: observed 0.7, expected 0.5, kappa 0.4."""
    assert cohen_kappa(np.array([[20, 5], [10, 15]])) == pytest.approx(0.4)
    # Three scores, ratings (0,0) (1,1) (2,2) (0,2): cost 1/4 unweighted; expected 1 - (2·1 + 1·1 + 1·2)/16 = 11/16.
    counts = confusion(np.array([0, 1, 2, 0]), np.array([0, 1, 2, 2]), 3)
    assert cohen_kappa(counts) == pytest.approx(1 - 4 / 11)
    # Linear: observed 1/4 · 1; expected Σ p_a p_b |i-j| / 2 with p_a = (2,1,1)/4, p_b = (1,1,2)/4:
    # (2·1·½ + 2·2·1 + 1·1·½ + 1·2·½ + 1·1·1 + 1·1·½) / 16 = 8/16.
    assert cohen_kappa(counts, "linear") == pytest.approx(1 - 0.25 / 0.5)
    # Quadratic: (2·1·¼ + 2·2·1 + 1·1·¼ + 1·2·¼ + 1·1·1 + 1·1·¼) / 16 = 6.5/16.
    assert cohen_kappa(counts, "quadratic") == pytest.approx(1 - 0.25 / (6.5 / 16))


def test_kappa_at_its_ends():
    assert cohen_kappa(np.diag([3, 4, 5]), "quadratic") == 1
    assert cohen_kappa(np.array([[0, 5], [5, 0]])) == -1
    assert np.isnan(cohen_kappa(np.diag([7, 0, 0])))
    assert np.isnan(cohen_kappa(np.zeros((3, 3))))


def test_quadratic_kappa_is_one_minus_a_ratio_of_mean_squares():
    """Independent: E(a-b)² over all pairs of rows that chance could make."""
    random = np.random.default_rng(0)
    a = random.integers(0, 11, 200)
    b = np.clip(a + random.integers(-2, 3, 200), 0, 10)
    expected = 1 - np.mean((a - b) ** 2) / np.mean((a[:, None] - b[None]) ** 2)
    assert cohen_kappa(confusion(a, b), "quadratic") == pytest.approx(expected)
    expected = 1 - np.mean(a != b) / np.mean(a[:, None] != b[None])
    assert cohen_kappa(confusion(a, b)) == pytest.approx(expected)
    expected = 1 - np.mean(abs(a - b)) / np.mean(abs(a[:, None] - b[None]))
    assert cohen_kappa(confusion(a, b), "linear") == pytest.approx(expected)


def test_compare_leaves_out_rows_that_lack_a_rating():
    a = np.array([8, 8, 9, 5, np.nan, 3])
    b = np.array([8, 9, 9, 2, 4, np.nan])
    found = compare(a, b, repeats=200)
    assert (found["n"], found["exact"], found["within_one"]) == (4, 0.5, 0.75)
    assert (found["mean_a"], found["mean_b"]) == (7.5, 7.0)
    assert found["prevalence"] == 3 / 8
    low, high = found["kappa_quadratic_ci"]
    assert low <= found["kappa_quadratic"] <= high
    low, high = found["alpha_ordinal_ci"]
    assert low <= found["alpha_ordinal"] <= high
    nothing = compare(np.array([np.nan]), np.array([1.0]), repeats=10)
    assert nothing["n"] == 0
    assert np.isnan(nothing["kappa_linear"])


def test_agreement_of_tables():
    first = rows(60)
    second = [row | {"temporal_alignment_score": 5} for row in reversed(first[10:])]
    found = agreement(first, second, repeats=20)
    assert set(found) == set(SCORES)
    assert found["spatial_coherence_score"]["exact"] == 1
    assert found["spatial_coherence_score"]["n"] == 45  # 50 in common, of which 5 have no scores
    assert found["temporal_alignment_score"]["n"] == 45
    with pytest.raises(ValueError, match="1 rows have the sample_id of another row"):
        agreement([*first, first[0]], second)
    with pytest.raises(ValueError, match="in common"):
        agreement(first[:5], second[:5])


def test_three_raters_with_gaps():
    gap = np.nan
    ratings = np.array([[8, 7, 3, 9, gap, 5], [8, 7, 4, gap, 6, gap], [7, 7, 3, 9, gap, gap]])
    found = compare_all(ratings, repeats=50)
    assert (found["n"], found["raters"], found["given"]) == (4, 3, [4, 3, 4])
    assert found["alpha_interval"] == pytest.approx(krippendorff_alpha(ratings, "interval"))
    low, high = found["alpha_ordinal_ci"]
    assert low <= found["alpha_ordinal"] <= high
    assert [(pair["raters"], pair["n"], pair["exact"]) for pair in found["pairs"]] == [
        ([0, 1], 3, 2 / 3),
        ([0, 2], 4, 3 / 4),
        ([1, 2], 3, 1 / 3),
    ]
    assert {pair["within_one"] for pair in found["pairs"]} == {1.0}


def test_agreement_of_three_tables_takes_rows_that_two_have():
    first = rows(60)
    found = agreement(first[:30], first[20:50], first[40:], repeats=0)
    assert found["temporal_alignment_score"]["n"] == 18  # rows 20-29 and 40-49, of which two have no scores
    assert found["temporal_alignment_score"]["alpha_ordinal"] == 1
    assert [pair["n"] for pair in found["temporal_alignment_score"]["pairs"]] == [9, 0, 9]
    with pytest.raises(ValueError, match="two or more raters, not 1"):
        agreement(first)


def test_a_whole_data_set_takes_seconds():
    random = np.random.default_rng(0)
    a = random.integers(0, 11, 580_147).astype(float)
    b = np.clip(a + random.integers(-1, 2, a.size), 0, 10)
    start = time.process_time()  # what else the machine does counts for nothing
    found = compare(a, b)
    assert time.process_time() - start < 20
    low, high = found["kappa_quadratic_ci"]
    assert low < found["kappa_quadratic"] < high < low + 0.001


def test_wrong_ratings():
    with pytest.raises(ValueError, match=r"outside 0\.\.10"):
        confusion(np.array([11]), np.array([0]))
    with pytest.raises(ValueError, match="both must be"):
        confusion(np.array([1, 2]), np.array([1]))
    with pytest.raises(ValueError, match="none of unweighted"):
        disagreement(3, "cubic")
