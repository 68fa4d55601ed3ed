"""Divergences of small distributions, computed by hand."""

import math

import pytest
import torch

from soundclip_hf.evaluation.audit.divergence import divergence, overlap


def logits(*rows: tuple[float, ...]) -> torch.Tensor:
    """Logits, each row shifted by another constant, which changes no probability."""
    probabilities = torch.tensor(rows, dtype=torch.float64)
    return (probabilities.log() + torch.arange(len(rows))[:, None] * 7.0).float()


def test_by_hand():
    true = logits((0.5, 0.25, 0.25), (0.8, 0.1, 0.1))
    other = logits((0.25, 0.5, 0.25), (0.1, 0.1, 0.8))
    found = divergence(true, other)
    # 0.5 ln 2 - 0.25 ln 2, and 0.8 ln 8 - 0.1 ln 8.
    first, second = 0.25 * math.log(2), 0.7 * math.log(8)
    assert found.kl_first == pytest.approx(first, abs=1e-6)
    assert found.kl_mean == pytest.approx((first + second) / 2, abs=1e-6)
    assert found.moved == pytest.approx(0.7, abs=1e-6)
    assert found.change == pytest.approx(math.log(8), abs=1e-6)


def test_the_direction_is_from_true_to_other():
    true, other = logits((0.9, 0.1)), logits((0.5, 0.5))
    forward = 0.9 * math.log(1.8) + 0.1 * math.log(0.2)
    backward = 0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(5)
    assert divergence(true, other).kl_first == pytest.approx(forward, abs=1e-6)
    assert divergence(other, true).kl_first == pytest.approx(backward, abs=1e-6)


def test_the_same_distribution():
    rows = torch.randn(3, 50)
    found = divergence(rows, rows.clone() + 5)
    assert found.kl_first == pytest.approx(0, abs=1e-12)
    assert found.moved == pytest.approx(0, abs=1e-6)
    same = divergence(rows, rows)
    assert (same.kl_first, same.kl_mean, same.moved, same.change) == (0, 0, 0, 0)


def test_tokens_that_cannot_come():
    """Some models give the padding of their vocabulary a logit of -inf."""
    true = torch.tensor([[0.0, 0.0, -math.inf]])
    other = torch.tensor([[0.0, math.log(3), -math.inf]])
    found = divergence(true, other)
    assert found.kl_first == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3), abs=1e-6)
    assert found.moved == pytest.approx(0.25, abs=1e-6)
    assert divergence(torch.tensor([[0.0, -math.inf]]), torch.tensor([[0.0, 0.0]])).kl_first == pytest.approx(
        math.log(2)
    )


@pytest.mark.parametrize(
    ("true", "other"), [((2, 5), (3, 5)), ((2, 5), (2, 6)), ((0, 5), (0, 5)), ((5,), (5,))], ids=str
)
def test_shapes_that_do_not_fit(true, other):
    with pytest.raises(ValueError, match="expected two of one shape"):
        divergence(torch.zeros(true), torch.zeros(other))


def test_overlap_of_patches():
    kept, other = torch.tensor([[1, 1, 1, 0, 0], [0, 1, 1, 1, 0]]).bool()
    assert overlap(kept, other) == 2 / 4
    assert overlap(kept, kept) == 1
    assert overlap(kept, ~kept) == 0
    assert overlap(kept & ~kept, kept & ~kept) == 1
