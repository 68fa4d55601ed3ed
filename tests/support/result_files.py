"""Result files as one may write them by hand."""

from __future__ import annotations

from typing import Any

from soundclip_hf.analysis.paper_tables import paper_table
from soundclip_hf.evaluation.judge import DIMENSIONS
from soundclip_hf.evaluation.results import EvalResult


def measured(metrics: dict[str, Any], model: str = "m", intervals: bool = False, **config: Any) -> EvalResult:
    """A result; with `intervals`, each number of one level has one of 0.1 to both sides."""
    numbers = {name: value for name, value in metrics.items() if isinstance(value, float)}
    bars = {"interval_95": {name: [value - 0.1, value + 0.1] for name, value in numbers.items()}} if intervals else {}
    return EvalResult("judge", model, "a set, test", 100, 0, metrics, bars, config)


def ranked(up_to: list[int], **counts: list[int]) -> EvalResult:
    """A result of retrieval with histograms of ranks, such as `raw_a2v=[1, 2]`."""
    return measured({name: {"t1": 1.0, "histogram": {"up_to": up_to, "counts": c}} for name, c in counts.items()})


def paper_scores(row: str, alignment: str, k: int) -> EvalResult:
    """Six scores of a row of Table 11 (label *paper*)."""
    table = paper_table(11)
    scores = {f"judge_{name}": table.number(row, f"{name}_{alignment}") for name in DIMENSIONS}
    return measured(scores, row.split("-")[0], True, alignment=alignment, k=k)
