"""Source recall: whole words, plurals, several words in order, items without sources."""

import pytest

from soundclip_hf.evaluation.text_metrics import source_recall
from soundclip_hf.evaluation.text_metrics.source_recall import same_word


@pytest.mark.parametrize(
    ("caption", "sources", "expected"),
    [
        ("A dog barks.", ["dog"], 1.0),
        ("A dog barks.", ["Dog", "car"], 0.5),
        ("A carpet.", ["car"], 0.0),
        ("Two DOGS and a bus!", ["a dog", "Buses"], 1.0),
        ("church-bells ring", ["the church bell"], 1.0),
        ("the bell of a church", ["church bell"], 0.0),
        ("a church bell", ["church", "bell", "church bell"], 1.0),
        ("people and flies", ["person", "fly"], 1.0),
        ("a woman", ["men"], 0.0),
        ("glass", ["gla"], 0.0),
        ("dogs", ["dog", "dogs", "a dog"], 1.0),
        ("dog_bark", ["dog bark"], 1.0),
        ("", ["dog"], 0.0),
    ],
)
def test_by_hand(caption, sources, expected):
    score = source_recall([caption, "x"], [sources, ["x"]])["source_recall"]
    assert score.per_item == (expected, 1.0)
    assert score.value == (expected + 1) / 2


def test_items_without_sources_do_not_count():
    score = source_recall(["a dog", "a car", "rain"], [["dog"], [], ["", "the"]])["source_recall"]
    assert (score.value, score.n, score.per_item) == (1.0, 1, (1.0, None, None))
    assert score.config == {"n_sources": 1, "n_without_sources": 2}


def test_same_names_count_once():
    assert source_recall(["a dog"], [["dog", "dogs", "Dog", "car"]])["source_recall"].value == 0.5


def test_same_word_does_not_depend_on_the_order():
    for one, other in [("horse", "horses"), ("church", "churches"), ("city", "cities"), ("mouse", "mice"), ("a", "a")]:
        assert same_word(one, other)
        assert same_word(other, one)
    for one, other in [("car", "cart"), ("horse", "hors"), ("cities", "citys"), ("bell", "bellss")]:
        assert not same_word(one, other)
        assert not same_word(other, one)


@pytest.mark.parametrize(
    ("predictions", "sources", "message"),
    [
        (["a", "b"], [["a"]], "2 predictions, but sources of 1 items"),
        (["a"], ["a"], "sources of item 0: expected a list of texts, got 'a'"),
        (["a"], [[3]], "sources of item 0"),
        (["a", "b"], [[], []], "none of 2 items has a source"),
        ([""], [["a"]], "all 1 predictions are empty"),
    ],
)
def test_bad_input(predictions, sources, message):
    with pytest.raises(ValueError, match=message):
        source_recall(predictions, sources)
