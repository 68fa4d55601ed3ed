"""The bootstrap: right in the mean, repeatable, the same draws for every metric of one size."""

import numpy as np
import pytest

from soundclip_hf.evaluation.text_metrics import scores
from soundclip_hf.evaluation.text_metrics.scores import bootstrap_sums, mean_score


def test_the_interval_of_a_mean_is_about_two_standard_errors():
    values = np.random.default_rng(0).normal(5, 2, 400)
    low, high = mean_score(values.tolist()).interval
    error = values.std() / 20
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_items_without_a_score_do_not_count():
    score = mean_score([1.0, None, 0.0])
    assert (score.value, score.n, score.per_item) == (0.5, 2, (1.0, None, 0.0))
    with pytest.raises(ValueError, match="none of 2 items has a score"):
        mean_score([None, None])
    assert mean_score([0.25]).interval is None


def test_memory_is_bounded_without_changing_the_draws(monkeypatch):
    values = np.arange(50.0)[:, None]
    whole = bootstrap_sums(values, seed=3)
    monkeypatch.setattr(scores, "_DRAWS", 120)
    assert np.array_equal(bootstrap_sums(values, seed=3), whole)
    assert whole.shape == (1000, 1)
    # Two columns are drawn together.
    both = bootstrap_sums(np.concatenate([values, 2 * values], axis=1), seed=3)
    assert np.array_equal(both[:, 1], 2 * both[:, 0])
    assert not np.array_equal(bootstrap_sums(values, seed=4), whole)
