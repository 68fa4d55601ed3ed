"""BERTScore with any text encoder of transformers."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

from ...text_tables import csv_rows
from .scores import MetricScore, mean_score
from .texts import check_texts

# The layer that Zhang et al. chose for a model, by correlation with people's judgements on WMT16.
LAYERS = {"roberta-large": 17}
PARTS = ("precision", "recall", "f1")
_LONGEST = 512  # tokens, as in bert-score and torchmetrics


class BertScorer:
    """
    BERTScore: each word piece of one text is matched with the most similar one of the other.

    Source: Zhang et al., "BERTScore: Evaluating Text Generation with BERT", 2020. As in torchmetrics: no weights by
    inverse document frequency, special tokens left out, a similarity below 0 counted as 0. (bert-score also lets pieces
    match special tokens, and writes a space before the text for RoBERTa, which changes the first piece.)

    Args:
        model: Hub id or folder of a text encoder, such as "roberta-large".
        layer: Which hidden state to compare: 0 is the embeddings, `num_hidden_layers` the last. None takes 17 for
            roberta-large (told by the last part of the name), and must be given for other models.
        baseline: What unrelated texts score; scores `s` become `(s - baseline) / (1 - baseline)`, so that 0 is chance.
            A number is used for precision, recall and F1. A path is a CSV file with the columns LAYER, P, R and F, as
            bert-score has them. "roberta-large" is the baseline that comes with this package, for layer 17: P
            0.83150584, R 0.8314941, F 0.83122575, from `bert_score/rescale_baseline/en/roberta-large.tsv` of
            https://github.com/Tiiiger/bert_score (MIT). None leaves the scores as they are.
        device: Where the model runs.
        batch_size: Texts at a time.

    Raises:
        ValueError: If the layer must be given or does not exist, the model is no encoder, or the baseline cannot be
            used.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        layer: int | None = None,
        baseline: float | str | Path | None = None,
        device: str | torch.device = "cpu",
        batch_size: int = 32,
    ) -> None:
        self.name = str(model)
        if layer is None:
            layer = LAYERS.get(Path(self.name).name)
        if layer is None:
            raise ValueError(f"layer of {self.name}: must be given; only that of {', '.join(LAYERS)} is known")
        self.tokenizer = AutoTokenizer.from_pretrained(self.name)
        self.model = AutoModel.from_pretrained(self.name).eval().to(device)
        config = self.model.config
        if config.is_encoder_decoder or not hasattr(config, "num_hidden_layers"):
            raise ValueError(f"{self.name}: is a {config.model_type!r} model; BERTScore needs a text encoder")
        if not 0 <= layer <= config.num_hidden_layers:
            raise ValueError(f"layer={layer}: {self.name} has the hidden states 0..{config.num_hidden_layers}")
        self.layer = layer
        self.baseline = _baseline(baseline, layer)
        self.batch_size = batch_size
        self.longest = min(_LONGEST, self.tokenizer.model_max_length)
        self.config = {
            "model": self.name,
            "revision": getattr(config, "_commit_hash", None),
            "layer": layer,
            "idf": False,
            "rescale_with_baseline": baseline is not None,
            "baseline": None if self.baseline is None else dict(zip(PARTS, self.baseline.tolist())),
        }

    def __call__(
        self, predictions: Sequence[str], references: Sequence[str | Sequence[str]], *, seed: int = 0
    ) -> dict[str, MetricScore]:
        """
        Args:
            predictions: n captions; an empty one scores 0, after rescaling too.
            references: 1..m texts for each caption; the highest precision, recall and F1 over them count, each on its
                own.
            seed: Of the bootstrap.

        Returns:
            `{"bertscore_precision": score, "bertscore_recall": score, "bertscore_f1": score}`; values are means over
            items, at most 1. `config["n_cut"]` counts the texts that were longer than the model's limit.

        Raises:
            ValueError: If predictions or references are missing, of different numbers, or no texts; if an embedding is
                not finite.
        """
        texts, grouped = check_texts(predictions, references)
        pairs = [(item, text, other) for item, (text, group) in enumerate(zip(texts, grouped)) for other in group]
        # Texts of one length together: nothing is padded much.
        pairs.sort(key=lambda pair: len(pair[1]) + len(pair[2]))
        best = np.full((len(texts), len(PARTS)), -np.inf)
        cut: set[str] = set()
        for start in range(0, len(pairs), self.batch_size):
            batch = pairs[start : start + self.batch_size]
            said = self._embed([text for _, text, _ in batch], cut)
            true = self._embed([other for _, _, other in batch], cut)
            for (item, _, _), one, other in zip(batch, said, true):
                best[item] = np.maximum(best[item], self._scores(one, other))
        config = {**self.config, "n_cut": len(cut)}
        return {
            f"bertscore_{part}": mean_score(best[:, index].tolist(), config, seed=seed)
            for index, part in enumerate(PARTS)
        }

    def _scores(self, said: Tensor, true: Tensor) -> np.ndarray:
        """Precision, recall and F1, `(3,)`, of the pieces `(p, d)` of a caption and `(r, d)` of a reference."""
        if not len(said) or not len(true):
            return np.zeros(len(PARTS))
        similarity = (said @ true.T).clamp(min=0)  # (p, r)
        precision = float(similarity.amax(1).mean())
        recall = float(similarity.amax(0).mean())
        both = precision + recall
        scores = np.array([precision, recall, 2 * precision * recall / both if both else 0.0])
        return scores if self.baseline is None else (scores - self.baseline) / (1 - self.baseline)

    @torch.inference_mode()
    def _embed(self, texts: list[str], cut: set[str]) -> list[Tensor]:
        """The normalised hidden states `(pieces, d)` float64 of each text, without special tokens."""
        lengths = self.tokenizer(texts, verbose=False)["input_ids"]
        cut.update(text for text, ids in zip(texts, lengths) if len(ids) > self.longest)
        inputs = self.tokenizer(
            texts,
            padding=True,
            truncation=True,
            max_length=self.longest,
            return_special_tokens_mask=True,
            return_tensors="pt",
        )
        special = inputs.pop("special_tokens_mask").bool()
        output: Any = self.model(**inputs.to(self.model.device), output_hidden_states=True)
        states = output.hidden_states[self.layer].double().cpu()
        words = inputs["attention_mask"].bool().cpu() & ~special
        if not torch.isfinite(states[words]).all():
            raise ValueError(f"{self.name}: a hidden state of layer {self.layer} is not finite")
        states = torch.nn.functional.normalize(states, dim=-1)
        return [row[mask] for row, mask in zip(states, words)]


def _baseline(given: float | str | Path | None, layer: int) -> np.ndarray | None:
    if given is None:
        return None
    if isinstance(given, int | float):
        values = [float(given)] * len(PARTS)
    else:
        shipped = files(__package__) / "roberta-large.csv"
        path = shipped if given == "roberta-large" else Path(given)
        rows = {row["LAYER"]: row for row in csv_rows(str(path), ("LAYER", "P", "R", "F"))}
        row = rows.get(str(layer))
        if row is None:
            raise ValueError(f"baseline {given}: has no layer {layer}; there are {', '.join(rows) or 'none'}")
        try:
            values = [float(row[column]) for column in ("P", "R", "F")]
        except (TypeError, ValueError) as error:
            raise ValueError(f"baseline {given}: layer {layer} holds something else than numbers") from error
    if not all(value < 1 for value in values):
        raise ValueError(f"baseline {given}: must be below 1, the score of equal texts")
    return np.array(values)


__all__ = ["LAYERS", "BertScorer"]
