"""Draws the score histograms of a report of `statistics`. Needs the `plots` extra."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...extras import require
from ...files import replacing
from ..ave2.schema import DIMENSIONS, MAX_SCORE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BARS, MEAN, PUBLISHED = "#8fb2d6", "#1f3b5c", "#c2410c"


def draw_histograms(report: Mapping[str, Any], path: str | Path, title: str) -> None:
    """Six histograms, of the five scores and of their mean, as shares of the judged rows.

    Args:
        report: As `Statistics.report` makes it, or as JSON read back; nothing else is looked at.
        path: `.png`, `.svg` or `.pdf`; the file appears whole or not at all.
        title: What was counted; the number of rows is put behind it.

    Raises:
        NotInstalledError: matplotlib is missing.
        ValueError: Another kind of file, a report without histograms, or no judged row.
    """
    target = Path(path)
    if target.suffix not in (".png", ".svg", ".pdf"):
        raise ValueError(f"{target}: a picture is a .png, .svg or .pdf file")
    require("matplotlib", what="drawing histograms")
    from matplotlib.figure import Figure

    numbers, paper, counts = (report.get(part) or {} for part in ("numbers", "paper", "histograms"))
    missing = [name for name in (*DIMENSIONS, "five_times_overall") if name not in counts]
    if missing:
        raise ValueError(f"the report has no histogram of {missing[0]}; it is no report of `ave2 stats`")
    if not any(sum(counts[name]) for name in DIMENSIONS):
        raise ValueError("no row has a score, so there is nothing to draw")
    # A figure of its own needs neither a display nor pyplot's global state.
    figure = Figure(figsize=(11, 6.4), layout="constrained")
    axes = figure.subplots(2, 3)
    for ax in axes.flat[1 : len(DIMENSIONS)]:
        ax.sharey(axes[0, 0])
    for ax, dimension in zip(axes.flat, DIMENSIONS):
        _panel(ax, np.asarray(counts[dimension]), np.arange(MAX_SCORE + 1), 0.9, dimension.replace("_", " "))
        _means(ax, numbers.get(f"mean.{dimension}"), paper.get(f"mean.{dimension}"))
    sums = np.asarray(counts["five_times_overall"])
    steps = np.arange(len(sums)) / len(DIMENSIONS)
    _panel(axes.flat[-1], sums, steps, 0.9 / len(DIMENSIONS), "overall (mean of the five)")
    _means(axes.flat[-1], numbers.get("mean.overall"), None)
    for ax in axes[:, 0]:
        ax.set_ylabel("share of scored rows (%)")
    for ax in axes[1]:
        ax.set_xlabel("score")
    figure.suptitle(
        f"{title}: {numbers.get('rows', 0):,} rows, {numbers.get('judged', 0):,} with all five scores", wrap=True
    )
    with replacing(target) as partial:
        figure.savefig(partial, dpi=150, format=target.suffix[1:])


def _panel(ax: Axes, counts: np.ndarray, values: np.ndarray, width: float, name: str) -> None:
    total = counts.sum()
    ax.bar(values, 100 * counts / max(total, 1), width=width, color=BARS)
    ax.set_title(f"{name}, n = {total:,}", fontsize=10)
    ax.set_xlim(-0.6, MAX_SCORE + 0.6)
    ax.set_xticks(range(0, MAX_SCORE + 1, 2))
    ax.tick_params(labelleft=True)
    ax.spines[["top", "right"]].set_visible(False)


def _means(ax: Axes, found: float | None, published: float | None) -> None:
    if found is not None and np.isfinite(found):
        ax.axvline(found, color=MEAN, linewidth=1.5, label=f"mean {found:.2f}")
    if published is not None:
        ax.axvline(published, color=PUBLISHED, linewidth=1.5, linestyle="--", label=f"paper {published:.2f}")
    if ax.get_legend_handles_labels()[1]:
        # Room above the bars, so that the legend covers none.
        ax.margins(y=0.25)
        ax.legend(loc="upper left", frameon=False, fontsize=9)


__all__ = ["draw_histograms"]
