"""BLEU of sacrebleu, on the scale 0..1."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...extras import require
from .scores import MetricScore, bootstrap_sums, percentile_interval
from .texts import check_texts


def bleu(
    predictions: Sequence[str], references: Sequence[str | Sequence[str]], *, seed: int = 0
) -> dict[str, MetricScore]:
    """
    Corpus BLEU with sacrebleu's defaults (13a tokens, 4-grams, exponential smoothing), divided by 100.

    Source: Papineni et al., 2002; Post, 2018 (sacrebleu).

    Args:
        predictions: n captions; an empty one scores 0.
        references: 1..m texts for each caption; the number may differ between items.
        seed: Of the bootstrap.

    Returns:
        `{"bleu": score}`. `value` is `corpus_bleu(...).score / 100`, which is not the mean of `per_item`: those are
        sentence BLEU with effective order, as sacrebleu recommends for single sentences. The interval resamples each
        item's counts of n-grams and lengths. `config["signature"]` is sacrebleu's.

    Raises:
        ValueError: If predictions or references are missing, of different numbers, or no texts.
        NotInstalledError: If sacrebleu is not installed.
    """
    require("sacrebleu", what="BLEU")
    from sacrebleu.metrics import BLEU  # an optional package

    texts, grouped = check_texts(predictions, references)
    metric = BLEU()
    most = max(map(len, grouped))
    # None where an item has fewer references than others, as sacrebleu expects.
    streams: Any = [[group[index] if index < len(group) else None for group in grouped] for index in range(most)]
    corpus = metric.corpus_score(texts, streams)
    signature = str(metric.get_signature())
    single = BLEU(effective_order=True)
    sentences = [single.sentence_score(text, group) for text, group in zip(texts, grouped)]
    statistics = np.array([[*found.counts, *found.totals, found.sys_len, found.ref_len] for found in sentences])
    interval = None
    if len(texts) > 1:
        orders = metric.max_ngram_order
        estimates = [
            BLEU.compute_bleu(
                correct=[int(count) for count in sums[:orders]],
                total=[int(count) for count in sums[orders : 2 * orders]],
                sys_len=int(sums[-2]),
                ref_len=int(sums[-1]),
                smooth_method=metric.smooth_method,
                smooth_value=metric.smooth_value,
                effective_order=metric.effective_order,
                max_ngram_order=orders,
            ).score
            for sums in bootstrap_sums(statistics, seed=seed)
        ]
        interval = percentile_interval(np.array(estimates) / 100)
    items = tuple(found.score / 100 for found in sentences)
    return {"bleu": MetricScore(corpus.score / 100, items, len(items), interval, {"signature": signature})}


__all__ = ["bleu"]
