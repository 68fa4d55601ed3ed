"""Logits that are not finite end a generation, and a sampled answer does not depend on the rest of its batch."""

import pytest
import torch

from soundclip_hf.evaluation.generation.logits import FiniteLogits, SeededSampling
from soundclip_hf.modeling.finite import NotFiniteError


def test_logits_that_forbid_tokens_are_no_fault():
    finite = FiniteLogits()
    scores = torch.tensor([[0.0, -torch.inf], [1.0, 2.0]])
    assert finite(torch.zeros(2, 1), scores) is scores
    finite(torch.zeros(2, 1), torch.tensor([[0.0, 1.0], [torch.nan, 0.0]]))  # looked at in the end
    with pytest.raises(NotFiniteError):
        finite.check()
    for bad in (torch.nan, torch.inf):
        with pytest.raises(NotFiniteError):
            FiniteLogits()(torch.zeros(1, 1), torch.tensor([[0.0, bad]]))


def test_a_sample_does_not_depend_on_the_other_rows():
    scores = torch.randn(3, 50)
    together = SeededSampling(0.7, 5, 3)(torch.zeros(3, 1), scores)
    alone = [SeededSampling(0.7, 5, 1)(torch.zeros(1, 1), row[None]) for row in scores]
    assert torch.equal(together, torch.cat(alone))


def test_samples_have_the_softmax_of_the_scores():
    scores = torch.tensor([[0.0, 1.0, 2.0]])
    sampling = SeededSampling(2.0, 0, 1)
    drawn = torch.tensor([int(sampling(torch.zeros(1, 1), scores).argmax()) for _ in range(4000)])
    found = torch.bincount(drawn, minlength=3) / 4000
    assert torch.allclose(found, (scores[0] / 2).softmax(0), atol=0.03)
