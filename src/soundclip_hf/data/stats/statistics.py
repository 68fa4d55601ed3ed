"""Counts AVE-2 tables: the numbers of the paper's sections 2 and D.2 and of Table 16, beside the paper's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ave2.schema import DIMENSIONS, MAX_SCORE, SCORES, SEGMENT_TYPES, SOURCES

if TYPE_CHECKING:
    import pyarrow

COLUMNS = (*SCORES, *SOURCES)
KINDS = ("visible", "invisible", "silent")
# All numbers below are the paper's. Where it contradicts itself, the value is the one of the named place.
PAPER: dict[str, float] = {
    "rows": 580_147,  # section 2.1; section 1 says 580,145
    "mean.temporal_alignment": 7.54,  # section 2.1
    "mean.spatial_coherence": 8.35,
    "mean.contextual_relevance": 6.32,
    "mean.physical_causality": 9.02,
    "mean.sound_source_visibility": 8.04,
    "with.visible": 490_546,  # section 2.2
    "with.invisible": 337_069,
    "with.silent": 446_567,
    "names.visible": 157_800,
    "names.invisible": 111_644,
    "names.silent": 300_265,
    "visible_rows.median.physical_causality": 9.0,  # section D.2
    "visible_rows.std.physical_causality": 0.51,
    "visible_rows.median.contextual_relevance": 6.0,
    "visible_rows.std.contextual_relevance": 1.33,
    "visible_rows.above_8.physical_causality": 0.9971,  # section 2.1
    "visible_rows.above_8.sound_source_visibility": 0.9995,  # section D.2
    "visible_rows.above_8.spatial_coherence": 0.9465,
    "per_segment.visible": 1.08,
    "per_segment.invisible": 0.63,
    "per_segment.silent": 1.00,
    "type.visible_only": 62_073,  # Table 16
    "type.invisible_only": 2_060,
    "type.silent_only": 852,
    "type.visible_invisible": 45_045,
    "type.visible_silent": 155_751,
    "type.invisible_silent": 62_287,
    "type.all": 227_677,
    "type.no_source": 24_402,
}
COMMONEST = 10


class Statistics:
    """Counts over any number of batches; memory grows with distinct source names only."""

    def __init__(self) -> None:
        self.rows = 0
        size = MAX_SCORE + 1
        self.scores = {name: np.zeros(size, np.int64) for name in DIMENSIONS}
        self.visible = {name: np.zeros(size, np.int64) for name in DIMENSIONS}
        # Of the sum of the five scores: five times the overall score.
        self.overall = np.zeros(len(DIMENSIONS) * MAX_SCORE + 1, np.int64)
        self.types: Counter[str] = Counter()
        self.names: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
        self.listed = 0  # rows that have all three lists

    def add(self, batch: pyarrow.RecordBatch) -> None:
        """Count a batch with at least `COLUMNS`.

        Raises:
            ValueError: A score outside 0..10.
        """
        import pyarrow.compute

        self.rows += batch.num_rows
        lists = [batch.column(name) for name in SOURCES]
        filled = [pyarrow.compute.list_value_length(names) for names in lists]
        known = np.logical_and.reduce([np.asarray(lengths.is_valid()) for lengths in filled])
        flags = [np.asarray(lengths.fill_null(0)) > 0 for lengths in filled]
        self.listed += int(known.sum())
        codes, counts = np.unique(np.stack(flags, 1)[known], axis=0, return_counts=True)
        for (visible, invisible, silent), count in zip(codes.tolist(), counts.tolist()):
            self.types[SEGMENT_TYPES[visible, invisible, silent]] += count
        for kind, names in zip(KINDS, lists):
            found = pyarrow.compute.value_counts(names.flatten())
            self.names[kind].update(dict(zip(*(found.field(part).to_pylist() for part in ("values", "counts")))))
        total, judged = np.zeros(batch.num_rows, np.int64), np.ones(batch.num_rows, bool)
        for dimension, name in zip(DIMENSIONS, SCORES):
            column = batch.column(name)
            there = np.asarray(column.is_valid())
            values = np.asarray(column.fill_null(0)).astype(np.int64)
            if values.size and not (values.min() >= 0 and values.max() <= MAX_SCORE):
                raise ValueError(f"{name} has a value outside 0..{MAX_SCORE}; validate the table")
            self.scores[dimension] += np.bincount(values[there], minlength=MAX_SCORE + 1)
            self.visible[dimension] += np.bincount(values[there & flags[0]], minlength=MAX_SCORE + 1)
            total, judged = total + values, judged & there
        self.overall += np.bincount(total[judged], minlength=len(self.overall))

    def numbers(self) -> dict[str, float]:
        """Every number by its name in `PAPER`, and more; shares are in [0, 1], standard deviations of all rows."""
        found: dict[str, float] = {"rows": self.rows, "judged": int(self.overall.sum())}
        for dimension, counts in self.scores.items():
            found[f"mean.{dimension}"], found[f"std.{dimension}"] = _moments(counts)
            found[f"median.{dimension}"] = _median(counts)
            found[f"null.{dimension}"] = self.rows - int(counts.sum())
        overall_mean, overall_std = _moments(self.overall)
        found |= {
            "mean.overall": overall_mean / 5,
            "std.overall": overall_std / 5,
            "median.overall": _median(self.overall) / 5,
        }
        found["above_8.overall"] = _share(self.overall, slice(41, None))
        found["at_least_8.overall"] = _share(self.overall, slice(40, None))
        for dimension, counts in self.visible.items():
            found[f"visible_rows.median.{dimension}"] = _median(counts)
            found[f"visible_rows.std.{dimension}"] = _moments(counts)[1]
            found[f"visible_rows.above_8.{dimension}"] = _share(counts, slice(9, None))
            found[f"visible_rows.at_least_8.{dimension}"] = _share(counts, slice(8, None))
        for index, kind in enumerate(KINDS):
            found[f"with.{kind}"] = sum(self.types[name] for flags, name in SEGMENT_TYPES.items() if flags[index])
            found[f"names.{kind}"] = len(self.names[kind])
            sources = sum(self.names[kind].values())
            found[f"per_segment.{kind}"] = sources / self.listed if self.listed else float("nan")
        return found | {f"type.{name}": self.types[name] for name in SEGMENT_TYPES.values()}

    def report(self) -> dict[str, Any]:
        """For JSON: `numbers`, the paper's, histograms, and the commonest source names."""
        return {
            "numbers": self.numbers(),
            "paper": PAPER,
            "histograms": {
                **{name: counts.tolist() for name, counts in self.scores.items()},
                "five_times_overall": self.overall.tolist(),
            },
            "commonest": {kind: names.most_common(COMMONEST) for kind, names in self.names.items()},
        }


def statistics(batches: Iterable[pyarrow.RecordBatch]) -> Statistics:
    """Count all batches, as `tables.read_batches(path, COLUMNS)` reads them."""
    counted = Statistics()
    for batch in batches:
        counted.add(batch)
    return counted


def _moments(counts: np.ndarray) -> tuple[float, float]:
    n = counts.sum()
    if not n:
        return float("nan"), float("nan")
    values = np.arange(len(counts))
    mean = float(counts @ values / n)
    return mean, float(np.sqrt(counts @ (values - mean) ** 2 / n))


def _median(counts: np.ndarray) -> float:
    n = int(counts.sum())
    if not n:
        return float("nan")
    reached = np.cumsum(counts)
    low, high = (int(np.searchsorted(reached, place, side="right")) for place in ((n - 1) // 2, n // 2))
    return (low + high) / 2


def _share(counts: np.ndarray, part: slice) -> float:
    n = counts.sum()
    return float(counts[part].sum() / n) if n else float("nan")


__all__ = ["COLUMNS", "PAPER", "Statistics", "statistics"]
