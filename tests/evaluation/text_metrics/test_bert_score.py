"""BERTScore against torchmetrics' numbers, and against a slow one in numpy that shares no code with it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_text_models import tiny_bert
from transformers import AutoModel, AutoTokenizer, BartConfig, BartModel

from soundclip_hf.evaluation.text_metrics import BertScorer
from soundclip_hf.evaluation.text_metrics.bert_score import _baseline

FIXTURE = Path(__file__).parents[2] / "fixtures" / "bertscore-torchmetrics.json"
TORCHMETRICS = json.loads(FIXTURE.read_text())
SAID = [said for said, _ in TORCHMETRICS["pairs"]]
TRUE = [true for _, true in TORCHMETRICS["pairs"]]
PARTS = ("precision", "recall", "f1")


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> str:
    return str(tiny_bert(tmp_path_factory.mktemp("bert")))


@pytest.mark.parametrize("layer", [0, 1, 3])
def test_equals_torchmetrics(bert, layer):
    scores = BertScorer(bert, layer=layer, batch_size=3)(SAID, TRUE)
    for part in PARTS:
        expected = TORCHMETRICS["layers"][str(layer)][part]
        assert scores[f"bertscore_{part}"].per_item == pytest.approx(expected, abs=1e-6)
        assert scores[f"bertscore_{part}"].value == pytest.approx(np.mean(expected), abs=1e-6)


def slow_scores(model, tokenizer, said: str, true: str, layer: int) -> tuple[float, float, float]:
    """One pair, by loops; words stand between the first and the last token."""
    states = []
    for text in (said, true):
        ids = tokenizer(text, return_tensors="pt", truncation=True)
        with torch.no_grad():
            hidden = model(**ids, output_hidden_states=True).hidden_states[layer][0]
        states.append(hidden.numpy().astype(np.float64)[1:-1])

    def best(one, others):
        return max(0.0, *(one @ other / np.sqrt((one @ one) * (other @ other)) for other in others))

    precision = sum(best(one, states[1]) for one in states[0]) / len(states[0])
    recall = sum(best(one, states[0]) for one in states[1]) / len(states[1])
    return precision, recall, 2 * precision * recall / (precision + recall)


def test_equals_a_slow_reference_with_several_references(bert):
    model, tokenizer = AutoModel.from_pretrained(bert).eval(), AutoTokenizer.from_pretrained(bert)
    true = [[text, "rain falls on the roof", "a dog"] if index % 2 else text for index, text in enumerate(TRUE)]
    scores = BertScorer(bert, layer=2, batch_size=4)(SAID, true)
    for index, (said, group) in enumerate(zip(SAID, true)):
        group = [group] if isinstance(group, str) else group
        found = np.max([slow_scores(model, tokenizer, said, one, 2) for one in group], axis=0)
        mine = [scores[f"bertscore_{part}"].per_item[index] for part in PARTS]
        assert mine == pytest.approx(found, abs=1e-6)


def test_baseline(bert, tmp_path):
    plain = BertScorer(bert, layer=1)(SAID, TRUE)
    table = tmp_path / "baseline.csv"
    table.write_text("LAYER,P,R,F\n0,0.9,0.9,0.9\n1,0.1,0.2,0.25\n")
    scaled = BertScorer(bert, layer=1, baseline=table)(SAID, TRUE)
    by_number = BertScorer(bert, layer=1, baseline=0.25)(SAID, TRUE)
    for part, base in zip(PARTS, (0.1, 0.2, 0.25)):
        expected = [(value - base) / (1 - base) for value in plain[f"bertscore_{part}"].per_item]
        assert scaled[f"bertscore_{part}"].per_item == pytest.approx(expected)
    assert by_number["bertscore_f1"].per_item == scaled["bertscore_f1"].per_item
    config = scaled["bertscore_f1"].config
    assert config["rescale_with_baseline"] is True
    assert config["baseline"] == {"precision": 0.1, "recall": 0.2, "f1": 0.25}
    assert plain["bertscore_f1"].config["baseline"] is None


def test_roberta_large_has_a_layer_and_a_baseline(tmp_path):
    folder = tmp_path / "roberta-large"
    tiny_bert(folder)
    with pytest.raises(ValueError, match=r"layer=17: .* has the hidden states 0\.\.3"):
        BertScorer(folder)
    with pytest.raises(ValueError, match=r"baseline roberta-large: has no layer 2; there are 17"):
        BertScorer(folder, layer=2, baseline="roberta-large")
    shipped = _baseline("roberta-large", 17)

    # As the paper's authors would print 0.877 raw: 0.271.
    assert (0.877 - shipped[2]) / (1 - shipped[2]) == pytest.approx(0.271, abs=5e-4)


def test_bad_settings(bert, tmp_path):
    with pytest.raises(ValueError, match="must be given; only that of roberta-large is known"):
        BertScorer(bert)
    with pytest.raises(ValueError, match="must be below 1"):
        BertScorer(bert, layer=1, baseline=1.0)
    (tmp_path / "no.csv").write_text("LAYER,P,R,F\n1,a,b,c\n")
    with pytest.raises(ValueError, match="holds something else than numbers"):
        BertScorer(bert, layer=1, baseline=tmp_path / "no.csv")
    bart = BartModel(BartConfig(d_model=16, encoder_layers=1, decoder_layers=1, vocab_size=16))
    bart.save_pretrained(tmp_path / "bart")
    AutoTokenizer.from_pretrained(bert).save_pretrained(tmp_path / "bart")
    with pytest.raises(ValueError, match="is a 'bart' model; BERTScore needs a text encoder"):
        BertScorer(tmp_path / "bart", layer=1)


def test_an_empty_caption_scores_zero_after_rescaling(bert):
    score = BertScorer(bert, layer=1, baseline=0.5)(["a bell", " "], ["a bell", "a dog"])["bertscore_f1"]
    assert score.per_item == pytest.approx((1.0, 0.0))
    assert (score.value, score.n) == (pytest.approx(0.5), 2)


def test_long_texts_are_cut_and_counted(bert):
    scorer = BertScorer(bert, layer=1)
    score = scorer(["a bell " * 40, "a dog"], ["a bell " * 31, "a dog"])["bertscore_f1"]
    assert score.config["n_cut"] == 1
    assert score.per_item == pytest.approx((1.0, 1.0))  # 62 words of both are left


def test_weights_that_are_not_finite(tmp_path):
    folder = tiny_bert(tmp_path)
    scorer = BertScorer(folder, layer=1)
    with torch.no_grad():
        scorer.model.embeddings.word_embeddings.weight[:] = torch.nan
    with pytest.raises(ValueError, match="a hidden state of layer 1 is not finite"):
        scorer(["a bell"], ["a bell"])
