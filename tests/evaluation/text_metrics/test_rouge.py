"""ROUGE: rouge-score's numbers, the best of several references, means with intervals."""

import pytest
from rouge_score.rouge_scorer import RougeScorer

from soundclip_hf.evaluation.text_metrics import rouge

SAID = ["two dogs barking at the red car", "music", "a bell rings in the tower", ""]
TRUE = ["a dog barks at the car", "someone plays music", "the tower has a bell that rings", "rain"]


@pytest.mark.parametrize("use_stemmer", [False, True])
def test_equals_rouge_score(use_stemmer):
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=use_stemmer)
    for kind, score in rouge(SAID, TRUE, use_stemmer=use_stemmer).items():
        expected = [scorer.score(true, said)[kind].fmeasure for said, true in zip(SAID, TRUE)]
        assert score.per_item == pytest.approx(expected, abs=1e-12)
        assert score.value == pytest.approx(sum(expected) / 4, abs=1e-12)
        assert score.interval[0] < score.value < score.interval[1]
        assert score.config["use_stemmer"] is use_stemmer


def test_by_hand():
    scores = rouge(["the cat sat"], ["the cat has sat"])
    assert scores["rouge1"].value == pytest.approx(2 * 1 * 0.75 / 1.75)
    assert scores["rouge2"].value == pytest.approx(2 * (1 / 2) * (1 / 3) / (1 / 2 + 1 / 3))
    assert scores["rougeL"].value == pytest.approx(2 * 1 * 0.75 / 1.75)


def test_each_kind_takes_its_best_reference():
    several = rouge(["a b c d"], [["a b x y", "d c b a"]])
    first, second = rouge(["a b c d"], ["a b x y"]), rouge(["a b c d"], ["d c b a"])
    for kind, score in several.items():
        assert score.value == max(first[kind].value, second[kind].value)
    assert several["rouge1"].value == 1.0
    assert several["rouge2"].value == pytest.approx(1 / 3)


def test_stemming_joins_inflected_words():
    assert rouge(["dogs"], ["dog"])["rouge1"].value == 0.0
    assert rouge(["dogs"], ["dog"], use_stemmer=True)["rouge1"].value == 1.0
