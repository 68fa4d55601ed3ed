"""Bad captions and references: one error that says how many, and which."""

import pytest

from soundclip_hf.evaluation.text_metrics import bleu, rouge

METRICS = [bleu, rouge]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        ([], [], "0 predictions"),
        ("a dog", ["a dog"], "predictions='a dog': expected a list of texts"),
        (["a", 3], ["a", "b"], "1 of 2 predictions are no text; the first is item 1: 3"),
        (["a", None], ["a", "b"], "1 of 2 predictions are no text; the first is item 1: None"),
        (["", " \n"], ["a", "b"], "all 2 predictions are empty"),
        (["a", "b", "c"], ["a", "b"], "3 predictions, but references of 2 items"),
        (["a"], "a", "references='a': expected a list"),
        (["a", "b"], ["a", []], "1 of 2 items have no reference, or an empty one; the first is item 1"),
        (["a", "b", "c"], [None, "b", " "], "2 of 3 items have no reference, or an empty one; the first is item 0"),
        (["a"], [["a", ""]], "1 of 1 items have no reference"),
        (["a"], [[3]], r"references of item 0: expected a text or a list of texts, got \[3\]"),
        (["a"], [3], "references of item 0: expected a text or a list of texts, got 3"),
    ],
)
def test_bad_input(metric, predictions, references, message):
    with pytest.raises(ValueError, match=message):
        metric(predictions, references)
