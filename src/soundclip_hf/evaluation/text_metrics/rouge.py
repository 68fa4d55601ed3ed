"""ROUGE-1, ROUGE-2 and ROUGE-L of rouge-score."""

from collections.abc import Sequence
from importlib.metadata import version

from ...extras import require
from .scores import MetricScore, mean_score
from .texts import check_texts

KINDS = ("rouge1", "rouge2", "rougeL")


def rouge(
    predictions: Sequence[str],
    references: Sequence[str | Sequence[str]],
    *,
    use_stemmer: bool = False,
    seed: int = 0,
) -> dict[str, MetricScore]:
    """
    F1 of ROUGE-1, ROUGE-2 and ROUGE-L, in 0..1. Source: Lin, 2004; Google's rouge-score.

    Args:
        predictions: n captions; an empty one scores 0.
        references: 1..m texts for each caption; the one with the highest F1 counts, for each kind on its own.
        use_stemmer: Compare words without their English endings (Porter's stemmer).
        seed: Of the bootstrap.

    Returns:
        `{"rouge1": score, "rouge2": score, "rougeL": score}`; values are means over items.

    Raises:
        ValueError: If predictions or references are missing, of different numbers, or no texts.
        NotInstalledError: If rouge-score is not installed.
    """
    require("rouge_score", what="ROUGE")
    from rouge_score.rouge_scorer import RougeScorer  # an optional package

    texts, grouped = check_texts(predictions, references)
    scorer = RougeScorer(list(KINDS), use_stemmer=use_stemmer)
    found = [scorer.score_multi(group, text) for text, group in zip(texts, grouped)]
    config = {"use_stemmer": use_stemmer, "rouge_score": version("rouge-score")}
    return {kind: mean_score([scores[kind].fmeasure for scores in found], config, seed=seed) for kind in KINDS}


__all__ = ["KINDS", "rouge"]
