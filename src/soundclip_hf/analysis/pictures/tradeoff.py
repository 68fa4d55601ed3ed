"""Draws reports of `tradeoff`. Needs the `plots` extra."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..regression import mean_band
from .style import BAND, COLOURS, LARGE, LINE, MARKERS, SMALL, TEXT, check_picture, new_figure, plain, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_tradeoff(report: Mapping[str, Any], path: str | Path, title: str) -> None:
    """Two panels: loss of generation over gain of retrieval with the fitted line, and settings with their Pareto front.

    Args:
        report: As `Tradeoff.report` makes it, or as JSON read back; nothing else is looked at.
        path: `.png`, `.svg` or `.pdf`; the file appears whole or not at all.
        title: Where the numbers are from.

    Raises:
        NotInstalledError: matplotlib is missing.
        ValueError: Another kind of file, or a report without points.
    """
    target = check_picture(path)
    if not report.get("points"):
        raise ValueError("the report has no points; it is no report of a trade-off")
    figure = new_figure(9, "drawing the trade-off")
    upper, lower = figure.subplots(2, 1)
    _losses(upper, report)
    _settings(lower, report)
    for ax in (upper, lower):
        plain(ax)
    figure.suptitle(title, fontsize=LARGE, wrap=True)
    save(figure, target)


def _style(number: int) -> tuple[str, str]:
    return COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]


def _losses(ax: Axes, report: Mapping[str, Any]) -> None:
    points, line, found = report["points"], report.get("line"), report.get("pearson")
    x, y = [point["gain_pp"] for point in points], [point["loss_percent"] for point in points]
    for number, point in enumerate(points):
        colour, marker = _style(number)
        ax.plot(point["gain_pp"], point["loss_percent"], marker, color=colour, markersize=9, zorder=3)
        # Labels of points at the right edge stand to their left.
        right = point["gain_pp"] > (min(x) + max(x)) / 2
        ax.annotate(
            point["name"],
            (point["gain_pp"], point["loss_percent"]),
            xytext=(-9 if right else 9, 6),
            textcoords="offset points",
            ha="right" if right else "left",
            fontsize=TEXT,
        )
    if line is not None:
        at = np.linspace(min(x), max(x), 60)
        ax.plot(at, line["intercept"] + line["slope"] * at, color=LINE, linewidth=1.5, zorder=2)
        ax.margins(x=0.08, y=0.25)
        low, high = ax.get_ylim()
        if line["n"] > 2:
            ax.fill_between(at, *mean_band(x, y, at), color=BAND, zorder=1, linewidth=0)
        # The band of a few points is far wider than the points; it must not press them together.
        ax.set_ylim(low, high)
    ax.set_xlabel(f"gain in retrieval, {report['retrieval_metric']} (percentage points)", fontsize=TEXT)
    ax.set_ylabel(f"loss in generation,\n{report['generation_metric']} (%)", fontsize=TEXT)
    ax.set_title(_words(line, found, len(points)), fontsize=TEXT, loc="left")


def _words(line: Mapping[str, Any] | None, found: Mapping[str, Any] | None, n: int) -> str:
    if line is None or found is None:
        return f"n = {n}: too few different points for a line"
    slope, interval = line["slope_interval"], found["interval"]
    first = f"slope {line['slope']:.3f}" + (f" [{slope[0]:.2f}, {slope[1]:.2f}]" if slope else " (no interval)")
    second = f"r = {found['r']:.2f}" + (f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else " (no interval)")
    shade = "; grey: 95 % interval of the line" if line["n"] > 2 else ""
    return f"{first}, {second}, n = {n}{shade}"


def _settings(ax: Axes, report: Mapping[str, Any]) -> None:
    names = list(dict.fromkeys(setting["name"] for setting in report["settings"]))
    for number, name in enumerate(names):
        colour, marker = _style(number)
        both = [setting for setting in report["settings"] if setting["name"] == name]
        xy = [(setting["retrieval"]["value"], setting["generation"]["value"]) for setting in both]
        ax.plot(*zip(*xy), color=colour, linewidth=1, alpha=0.5, zorder=1)
        for setting, (x, y) in zip(both, xy):
            filled = setting["alignment"] == "projected"
            ax.errorbar(
                x,
                y,
                xerr=_error(setting["retrieval"]),
                yerr=_error(setting["generation"]),
                fmt=marker,
                color=colour,
                markerfacecolor=colour if filled else "white",
                markersize=9,
                elinewidth=1,
                label=name if filled else None,
                zorder=3,
            )
    front = sorted((s["retrieval"]["value"], s["generation"]["value"]) for s in report["settings"] if s["pareto"])
    if len(front) > 1:
        # In steps: between two settings nothing better than the next one has been reached.
        style: dict[str, Any] = {"color": LINE, "linestyle": "--", "linewidth": 1.5, "drawstyle": "steps-pre"}
        ax.plot(*zip(*front), **style, zorder=2, label="Pareto front")
    ax.margins(x=0.08, y=0.12)
    ax.set_xlabel(f"retrieval, {report['retrieval_metric']} (%)", fontsize=TEXT)
    ax.set_ylabel(f"generation,\n{report['generation_metric']}", fontsize=TEXT)
    ax.set_title("raw (hollow) to projected (filled)", fontsize=TEXT, loc="left")
    ax.legend(loc="upper right", frameon=False, fontsize=SMALL)


def _error(measured: Mapping[str, Any]) -> list[list[float]] | None:
    if measured["interval"] is None:
        return None
    low, high = measured["interval"]
    return [[max(0.0, measured["value"] - low)], [max(0.0, high - measured["value"])]]


__all__ = ["draw_tradeoff"]
