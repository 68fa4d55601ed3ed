"""Judged answers as results: means, spread and intervals of the six dimensions, and how many replies failed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..results import EvalResult
from .judging import NO_ANSWER, JudgedAnswer
from .prompt import DIMENSIONS, JUDGE_SCALE

RESAMPLES = 1000
CONFIDENCE = 0.95
# In `config`; a data set may ask each sample something else.
MOST_QUESTIONS = 20


def summarize(
    judged: Sequence[JudgedAnswer],
    *,
    dataset: str,
    dataset_revision: str | None = None,
    judge: Mapping[str, Any],
    seed: int = 0,
) -> list[EvalResult]:
    """
    One result for each group of answers with the same settings, in the order in which they come.

    Its `metrics` are `judge_<dimension>`, the mean from 1 to 5 over the answers that have scores (`n`);
    `parse_failure_rate`, the share of the judge's replies that could not be used; and `no_answer_rate`, the share of
    answers that are empty. Its `error_bars` have, by the same names, `interval_95` (bootstrap over videos) and `sd`
    (over answers). Without scores there are no means.

    Args:
        dataset, dataset_revision: Where the references are from.
        judge: What says which judge it was, for `config["judge"]`; the names under which it answered are added.
        seed: Of the bootstrap.
    """
    groups: dict[str, list[JudgedAnswer]] = {}
    for one in judged:
        groups.setdefault(repr(sorted(one.given.settings.items())), []).append(one)
    return [_result(group, dataset, dataset_revision, judge, seed) for group in groups.values()]


def _result(
    judged: list[JudgedAnswer], dataset: str, dataset_revision: str | None, judge: Mapping[str, Any], seed: int
) -> EvalResult:
    settings = dict(judged[0].given.settings)
    scored = [one for one in judged if one.failure is None]
    failures = Counter(one.failure for one in judged if one.failure not in (None, NO_ANSWER))
    replies = len(scored) + failures["unusable"]
    metrics: dict[str, float] = {}
    error_bars: dict[str, Any] = {}
    if scored:
        values = np.array([[one.row[column] for column in JUDGE_SCALE.columns] for one in scored], dtype=float)
        names = [f"judge_{dimension}" for dimension in DIMENSIONS]
        metrics |= dict(zip(names, values.mean(0).tolist()))
        if len(scored) > 1:
            error_bars["sd"] = dict(zip(names, values.std(0, ddof=1).tolist()))
        intervals = mean_intervals(values, [one.group for one in scored], seed)
        if intervals is not None:
            error_bars["interval_95"] = dict(zip(names, intervals.tolist()))
    if replies:
        metrics["parse_failure_rate"] = failures["unusable"] / replies
    metrics["no_answer_rate"] = sum(one.failure == NO_ANSWER for one in judged) / len(judged)
    answered_as = sorted({one.row["judge_model"] for one in scored})
    model, revision = settings.pop("model", None), settings.pop("revision", None)
    return EvalResult(
        task="judge",
        model=str(model) if model is not None else judged[0].given.source.partition(",")[0],
        revision=revision if isinstance(revision, str) else None,
        dataset=dataset,
        dataset_revision=dataset_revision,
        n=len(scored),
        seed=seed,
        metrics=metrics,
        error_bars=error_bars,
        config={
            **settings,
            "questions": sorted({one.given.question for one in judged})[:MOST_QUESTIONS],
            "answers": len(judged),
            "failures": dict(failures),
            "judge": {**judge, "answered_as": answered_as},
        },
    )


def mean_intervals(values: NDArray[np.float64], groups: Sequence[str], seed: int = 0) -> NDArray[np.float64] | None:
    """
    95 % intervals of means, by a bootstrap that draws groups with replacement.

    Args:
        values: `(n, m)`.
        groups: Of each row; rows of one group are drawn together.

    Returns:
        `(m, 2)`: low and high; None for fewer than two groups, which say nothing about the spread between groups.
    """
    names, places = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 2:
        return None
    sums, counts = np.zeros((len(names), values.shape[1])), np.zeros(len(names))
    np.add.at(sums, places, values)
    np.add.at(counts, places, 1)
    random = np.random.default_rng(seed)
    means = []
    for _ in range(RESAMPLES):
        drawn = random.integers(len(names), size=len(names))
        means.append(sums[drawn].sum(0) / counts[drawn].sum())
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    return np.stack([low, high], axis=1)


__all__ = ["mean_intervals", "summarize"]
