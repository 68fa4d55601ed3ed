"""Draws a metric over the token budget `k`, or over `alpha`, the weight of the raw embedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...evaluation.results import EvalResult
from ..tradeoff import ALIGNMENTS, Measured, measured_values
from .style import COLOURS, LARGE, MARKERS, OF_ALIGNMENT, SMALL, TEXT, check_picture, new_figure, plain, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# From this ratio of the largest to the smallest budget on, an even axis would press the small ones together.
_WIDE = 8


def draw_budget(results: Sequence[EvalResult], metric: str, path: str | Path, title: str | None = None) -> None:
    """
    A line for each model and alignment, with 95 % intervals where there are any.

    Args:
        results: Each with `config["k"]`, the number of kept patches, and the metric of one alignment or both.
        metric: Nested names are joined by dots; higher or lower may be better.
        path: `.png`, `.svg` or `.pdf`.
        title: None for the data set of the results.

    Raises:
        NotInstalledError: matplotlib is missing.
        ValueError: A result lacks `k` or the metric, two say the same, or there are not two budgets; another kind of
            file.
    """
    check_picture(path)
    lines: dict[tuple[str, str], dict[float, Measured]] = {}
    for result in results:
        budget = _setting(result, "k")
        for alignment, value in _values(result, metric).items():
            _add(lines.setdefault((result.model, alignment), {}), budget, value, f"{result.model}, {alignment}: k")
    budgets = sorted({budget for line in lines.values() for budget in line})
    if len(budgets) < 2:
        raise ValueError(f"a curve over k needs two budgets or more; the results have {budgets or 'none'}")
    figure = new_figure(4.6, "drawing a curve")
    ax: Axes = figure.subplots()
    models = list(dict.fromkeys(model for model, _ in lines))
    for number, ((model, alignment), line) in enumerate(lines.items()):
        colour = OF_ALIGNMENT[alignment] if len(models) == 1 else COLOURS[models.index(model) % len(COLOURS)]
        name = alignment if len(models) == 1 else f"{Path(model).name} {alignment}"
        _line(ax, line, colour, MARKERS[number % len(MARKERS)], alignment == "projected", name)
    if budgets[-1] > _WIDE * max(budgets[0], 1):
        ax.set_xscale("symlog", linthresh=max(min(budget for budget in budgets if budget > 0), 1))
    ax.set_xticks(budgets, [f"{budget:g}" for budget in budgets])
    ax.minorticks_off()
    _finish(ax, "token budget k (kept patches)", metric)
    figure.suptitle(title or _datasets(results), fontsize=LARGE, wrap=True)
    save(figure, path)


def draw_alpha(results: Sequence[EvalResult], metric: str, path: str | Path, title: str | None = None) -> None:
    """
    A line for each model over `alpha`, from the projected embedding at 0 to the raw one at 1, with 95 % intervals where
    there are any.

    Args:
        results: Each with the metric, `config["alignment"]` ("projected", "mixed" or "raw") and `config["alpha"]`; or
            with `projected_<metric>` and `config["alpha"]`, where a `raw_<metric>` beside it is a line across.
        metric: Nested names are joined by dots; higher or lower may be better.
        path: `.png`, `.svg` or `.pdf`.
        title: None for the data set of the results.

    Raises:
        NotInstalledError: matplotlib is missing.
        ValueError: A result lacks `alpha` or the metric, two say the same, or there are not two values of alpha;
            another kind of file.
    """
    check_picture(path)
    lines: dict[str, dict[float, Measured]] = {}
    raw: dict[str, Measured] = {}
    for result in results:
        if metric in result.numbers() and result.config.get("alignment") in (*ALIGNMENTS, "mixed"):
            # The raw embedding is that of alpha 1, and is found under no other name.
            of_kind = "raw" if result.config["alignment"] == "raw" else "projected"
            named = replace(result, config={**result.config, "alignment": of_kind})
            value = _values(named, metric)[of_kind]
            alpha = 1.0 if of_kind == "raw" else _setting(result, "alpha")
        else:
            values = _values(result, metric)
            if "raw" in values:
                raw.setdefault(result.model, values["raw"])
            if "projected" not in values:
                continue
            value, alpha = values["projected"], _setting(result, "alpha")
        if not 0 <= alpha <= 1:
            raise ValueError(f"{result.model}: alpha is {alpha:g}, expected 0 to 1")
        _add(lines.setdefault(result.model, {}), alpha, value, f"{result.model}: alpha")
    found = sorted({alpha for line in lines.values() for alpha in line})
    if len(found) < 2:
        raise ValueError(f"a curve over alpha needs two values or more; the results have {found or 'none'}")
    figure = new_figure(4.6, "drawing a curve")
    ax: Axes = figure.subplots()
    for number, (model, line) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        name = "projected and raw" if len(lines) == 1 else Path(model).name
        _line(ax, line, colour, MARKERS[number % len(MARKERS)], True, name)
        if model in raw:
            style: dict[str, Any] = {"color": colour, "linestyle": "--", "linewidth": 1.5}
            ax.axhline(raw[model].value, label=f"{name}: raw alone" if len(lines) > 1 else "raw alone", **style)
    _finish(ax, "alpha (0: projected, 1: raw)", metric)
    figure.suptitle(title or _datasets(results), fontsize=LARGE, wrap=True)
    save(figure, path)


def _values(result: EvalResult, metric: str) -> dict[str, Measured]:
    found = measured_values(result, metric)
    if not found:
        have = sorted(result.numbers())
        kind = result.config.get("alignment")
        reason = f"its config has alignment = {kind!r}" if metric in have else f"there are {', '.join(have)}"
        raise ValueError(f"{result.model}: has no {metric} of raw or projected embeddings; {reason}")
    return found


def _setting(result: EvalResult, name: str) -> float:
    value = result.config.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{result.model}: config[{name!r}] is {value!r:.40}, expected a number")
    return float(value)


def _add(line: dict[float, Measured], x: float, value: Measured, where: str) -> None:
    if x in line:
        raise ValueError(f"{where} = {x:g} is in two results; give one of them")
    line[x] = value


def _line(ax: Axes, line: dict[float, Measured], colour: str, marker: str, filled: bool, name: str) -> None:
    xs = sorted(line)
    ax.plot(
        xs,
        [line[x].value for x in xs],
        marker=marker,
        color=colour,
        markerfacecolor=colour if filled else "white",
        linestyle="-" if filled else "--",
        linewidth=2,
        markersize=8,
        label=name,
        zorder=3,
    )
    known = [x for x in xs if line[x].interval is not None]
    if known:
        low, high = zip(*(interval for x in known if (interval := line[x].interval) is not None))
        ax.fill_between(known, low, high, color=colour, alpha=0.18, linewidth=0, zorder=1)
        ax.vlines(known, low, high, color=colour, linewidth=1.5, zorder=2)


def _finish(ax: Axes, x: str, y: str) -> None:
    plain(ax)
    ax.margins(y=0.12)
    ax.tick_params(labelsize=SMALL)
    ax.set_xlabel(x, fontsize=TEXT)
    ax.set_ylabel(y, fontsize=TEXT)
    ax.legend(loc="best", frameon=False, fontsize=TEXT)


def _datasets(results: Sequence[EvalResult]) -> str:
    return " and ".join(dict.fromkeys(result.dataset for result in results))


__all__ = ["draw_alpha", "draw_budget"]
