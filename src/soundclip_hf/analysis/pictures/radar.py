"""Draws the six dimensions of judged answers on six axes, as in the paper's Figure 7."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from ...evaluation.judge.prompt import DIMENSIONS, HIGHEST, LOWEST
from ...evaluation.results import EvalResult
from ..tradeoff import Measured, measured_values
from .style import COLOURS, LARGE, LINE, MARKERS, OF_ALIGNMENT, SMALL, TEXT, check_picture, new_figure, save

if TYPE_CHECKING:
    from matplotlib.projections.polar import PolarAxes

MOST = 6


def draw_radar(results: Sequence[EvalResult], path: str | Path, title: str | None = None) -> None:
    """
    One closed line for each model with raw and with projected embeddings, with 95 % intervals where there are any.

    Args:
        results: Of `soundclip eval judge`: `judge_<dimension>` from 1 to 5, with `config["alignment"]` or with
            `raw_` and `projected_` in front of the names.
        path: `.png`, `.svg` or `.pdf`.
        title: None for the data set of the results.

    Raises:
        NotInstalledError: matplotlib is missing.
        ValueError: A result lacks a dimension or its alignment, a score is outside 1..5, there are more than six lines
            or none; another kind of file.
    """
    check_picture(path)
    lines = [line for result in results for line in _lines(result)]
    if not 0 < len(lines) <= MOST:
        raise ValueError(f"{len(lines)} lines to draw: give results that make 1 to {MOST}")
    names = _names(lines)
    figure = new_figure(7.8, "drawing a radar chart")
    ax = cast("PolarAxes", figure.add_subplot(projection="polar"))
    angles = np.linspace(0, 2 * np.pi, len(DIMENSIONS), endpoint=False)
    for number, ((result, alignment, values), name) in enumerate(zip(lines, names)):
        colour = OF_ALIGNMENT[alignment] if len(lines) == 2 else COLOURS[number]
        filled = alignment == "projected"
        ax.plot(
            [*angles, angles[0]],
            [value.value for value in (*values, values[0])],
            linestyle="-" if filled else "--",
            linewidth=2,
            color=colour,
            marker=MARKERS[number],
            markerfacecolor=colour if filled else "white",
            markersize=8,
            label=f"{name}, n = {result.n:,}",
            zorder=3,
        )
        for angle, value in zip(angles, values):
            if value.interval is not None:
                ax.plot([angle, angle], value.interval, color=colour, linewidth=5, alpha=0.35, zorder=2)
    _axes(ax, angles, lines)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=TEXT)
    named = title or " and ".join(dict.fromkeys(result.dataset for result in results))
    figure.suptitle(f"{named}\n", fontsize=LARGE, wrap=True)
    save(figure, path)


def _lines(result: EvalResult) -> list[tuple[EvalResult, str, list[Measured]]]:
    metrics = [f"judge_{dimension}" for dimension in DIMENSIONS]
    found = {metric: measured_values(result, metric) for metric in metrics}
    there = [alignment for alignment in OF_ALIGNMENT if any(alignment in values for values in found.values())]
    if not there:
        unnamed = sorted(set(metrics) & set(result.numbers()))
        reason = "its config has no alignment, raw or projected" if unnamed else f"it has no {metrics[0]} and so on"
        raise ValueError(f"{result.model}: {reason}; give results of `soundclip eval judge`")
    for alignment in there:
        missing = [metric for metric, values in found.items() if alignment not in values]
        if missing:
            raise ValueError(f"{result.model}, {alignment}: has no {', '.join(missing)}")
        for metric, values in found.items():
            score = values[alignment].value
            if not LOWEST <= score <= HIGHEST:
                raise ValueError(f"{result.model}, {alignment}: {metric} is {score:g}, expected {LOWEST} to {HIGHEST}")
    return [(result, alignment, [values[alignment] for values in found.values()]) for alignment in there]


def _names(lines: Sequence[tuple[EvalResult, str, list[Measured]]]) -> list[str]:
    """What sets the lines apart: the model and the budget only where they differ."""
    models = {result.model for result, _, _ in lines}
    budgets = {result.config.get("k") for result, _, _ in lines}
    names = []
    for result, alignment, _ in lines:
        parts = [Path(result.model).name] if len(models) > 1 else []
        parts.append(alignment)
        if len(budgets) > 1:
            parts.append(f"k = {result.config.get('k')}")
        names.append(" ".join(parts))
    return names


def _axes(ax: PolarAxes, angles: np.ndarray, lines: Sequence[tuple[EvalResult, str, list[Measured]]]) -> None:
    ax.set_theta_offset(np.pi / 2)
    ax.set_theta_direction(-1)
    labels = []
    for place, dimension in enumerate(DIMENSIONS):
        # Beside one another only where there are two: more numbers would not fit.
        scores = " · ".join(f"{values[place].value:.2f}" for _, _, values in lines) if len(lines) <= 2 else ""
        labels.append(dimension.replace("_", " ") + (f"\n{scores}" if scores else ""))
    ax.set_xticks(angles, labels, fontsize=TEXT)
    for label, angle in zip(ax.get_xticklabels(), angles):
        # Away from the circle, which a centred label at the side would touch.
        side = np.sin(angle)
        label.set_horizontalalignment("center" if abs(side) < 0.1 else "left" if side > 0 else "right")
    ax.set_ylim(LOWEST - 0.5, HIGHEST)
    ax.set_yticks(range(LOWEST, HIGHEST + 1))
    ax.set_yticklabels([str(score) for score in range(LOWEST, HIGHEST + 1)], fontsize=SMALL, color=LINE)
    ax.set_rlabel_position(30)
    ax.grid(color="#cccccc")
    ax.spines["polar"].set_visible(False)


__all__ = ["draw_radar"]
