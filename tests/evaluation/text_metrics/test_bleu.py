"""BLEU: sacrebleu's numbers on another scale, and an interval of corpus BLEU, not of a mean."""

import math

import numpy as np
import pytest
from sacrebleu import corpus_bleu, sentence_bleu

from soundclip_hf.evaluation.text_metrics import bleu

SAID = ["a dog barks at the red car in the street", "music", "two bells ring in a tower near the street", "rain falls"]
TRUE = [
    ["a dog barks at a red car", "the dog is barking in the street"],
    ["someone plays music"],
    ["a bell rings in the tower near the street"],
    ["rain falls on the roof", "rain", "it rains"],
]


def test_equals_sacrebleu():
    streams = [[group[index] if index < len(group) else None for group in TRUE] for index in range(3)]
    score = bleu(SAID, TRUE)["bleu"]
    assert score.value == pytest.approx(corpus_bleu(SAID, streams).score / 100, abs=1e-12)
    assert score.per_item == pytest.approx([sentence_bleu(s, t).score / 100 for s, t in zip(SAID, TRUE)], abs=1e-12)
    assert score.n == 4
    assert score.config["signature"].startswith("nrefs:var|case:mixed|eff:no|tok:13a|smooth:exp|version:")


def test_by_hand():
    # 3 of 4, 2 of 3, 1 of 2, and 1 of 1 halved by the exponential smoothing of a count of zero; equally long.
    expected = (3 / 4 * 2 / 3 * 1 / 2 * 1 / 2) ** (1 / 4)
    assert bleu(["a b c x"], ["a b c d"])["bleu"].value == pytest.approx(expected)
    # Too short by one word of five.
    assert bleu(["a b c d"], ["a b c d e"])["bleu"].value == pytest.approx(math.exp(1 - 5 / 4))


def test_the_interval_is_that_of_resampled_corpora():
    rng = np.random.default_rng(7)
    drawn = rng.integers(4, size=(1000, 4))
    estimates = [
        corpus_bleu(
            [SAID[item] for item in row],
            [[TRUE[item][index] if index < len(TRUE[item]) else None for item in row] for index in range(3)],
        ).score
        / 100
        for row in drawn
    ]
    score = bleu(SAID, TRUE, seed=7)["bleu"]
    assert score.interval == pytest.approx(np.quantile(estimates, [0.025, 0.975]), abs=1e-12)
    assert bleu(SAID[:1], TRUE[:1])["bleu"].interval is None


def test_an_empty_caption_scores_nothing_and_counts():
    score = bleu([*SAID, ""], [*TRUE, "a bell"])["bleu"]
    assert (score.per_item[-1], score.n) == (0.0, 5)
    assert score.value < bleu(SAID, TRUE)["bleu"].value
