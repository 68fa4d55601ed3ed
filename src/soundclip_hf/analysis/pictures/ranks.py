"""Draws at which ranks the true matches of a retrieval stand, with raw and with projected embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...evaluation.results import EvalResult
from .style import LARGE, LINE, OF_ALIGNMENT, SMALL, TEXT, check_picture, new_figure, plain, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WAYS = {"a2v": "sound to picture", "v2a": "picture to sound"}
# Ranks whose bars are named below them, and those alone that are named where more bars than these stand side by side.
_FEW = 24
_TENS = {10**power for power in range(10)}
_NAMED = {3, *(number * ten for number in (1, 2, 5) for ten in _TENS)}


def draw_ranks(results: Sequence[EvalResult], path: str | Path, title: str | None = None) -> None:
    """
    A histogram for each result and direction, in percent of its queries, beside what chance would give.

    Args:
        results: Of retrieval. Of each, `metrics["projected_a2v"]["histogram"]` and the same of `raw_a2v`, `v2a` and so
            on are looked at: `counts[i]` ranks are above `up_to[i - 1]` and at most `up_to[i]`. One of raw and
            projected may be missing.
        path: `.png`, `.svg` or `.pdf`.
        title: None for the data set of the results.

    Raises:
        NotInstalledError: matplotlib is missing.
        ValueError: A result without a histogram or with a broken one; another kind of file.
    """
    check_picture(path)
    if not results:
        raise ValueError("there is no result to draw")
    found = [_histograms(result) for result in results]
    figure = new_figure(0.9 + 3.0 * len(results), "drawing ranks")
    axes = figure.subplots(len(results), len(WAYS), squeeze=False, sharey="row")
    for row, (result, of_ways) in enumerate(zip(results, found)):
        for column, way in enumerate(WAYS):
            ax = axes[row, column]
            _panel(ax, of_ways[way])
            name = f"{result.model}\n" if len(results) > 1 else ""
            ax.set_title(f"{name}{WAYS[way]}", fontsize=TEXT, loc="left")
            if column == 0:
                ax.set_ylabel("queries (%)", fontsize=TEXT)
            if row == len(results) - 1:
                ax.set_xlabel("rank of the true match, up to", fontsize=TEXT)
        # Once both panels, which share the axis, have their bars.
        axes[row, 0].set_ylim(bottom=0)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=TEXT)
    named = title or " and ".join(dict.fromkeys(result.dataset for result in results))
    figure.suptitle(named, fontsize=LARGE, wrap=True)
    save(figure, path)


def _histograms(result: EvalResult) -> dict[str, dict[str, tuple[list[int], list[int]]]]:
    """Direction -> "projected" and "raw" -> upper edges and counts."""
    found: dict[str, dict[str, tuple[list[int], list[int]]]] = {}
    for way in WAYS:
        found[way] = {}
        for alignment in OF_ALIGNMENT:
            name = f"{alignment}_{way}"
            values = result.metrics.get(name)
            histogram = values.get("histogram") if isinstance(values, Mapping) else None
            if histogram is not None:
                found[way][alignment] = _checked(histogram, f"{result.model}: metrics[{name!r}]['histogram']")
        if not found[way]:
            have = ", ".join(sorted(result.metrics)) or "nothing"
            raise ValueError(
                f"{result.model}: has no histogram of ranks in raw_{way} or projected_{way} (metrics: {have}); give "
                "results of `soundclip eval retrieval`"
            )
        edges = [edge for edge, _ in found[way].values()]
        if any(other != edges[0] for other in edges):
            raise ValueError(f"{result.model}: raw_{way} and projected_{way} have histograms of other ranks")
    return found


def _checked(histogram: Any, where: str) -> tuple[list[int], list[int]]:
    lists: list[list[int]] = []
    for name in ("up_to", "counts"):
        values = histogram.get(name) if isinstance(histogram, Mapping) else None
        if not isinstance(values, list) or not values or any(type(value) is not int for value in values):
            raise ValueError(f"{where}: expected lists of whole numbers, up_to and counts")
        lists.append(values)
    up_to, counts = lists
    if len(up_to) != len(counts) or sorted(set(up_to)) != up_to or min(counts) < 0 or not sum(counts):
        raise ValueError(f"{where}: expected as many counts as ascending ranks, and at least one query")
    return up_to, counts


def _panel(ax: Axes, of_alignments: Mapping[str, tuple[list[int], list[int]]]) -> None:
    up_to = next(iter(of_alignments.values()))[0]
    edges = np.arange(len(up_to) + 1) - 0.5
    for alignment, (_, counts) in of_alignments.items():
        share = 100 * np.array(counts) / sum(counts)
        # The one is filled and the other an outline: they overlap, and neither hides the other.
        if alignment == "projected":
            style: dict[str, Any] = {"fill": True, "color": OF_ALIGNMENT[alignment], "alpha": 0.55}
        else:
            style = {"fill": False, "edgecolor": OF_ALIGNMENT[alignment], "linewidth": 2.5}
        ax.stairs(share, edges, label=alignment, **style)
    widths = np.diff([0, *up_to])
    ax.stairs(100 * widths / up_to[-1], edges, baseline=None, color=LINE, linestyle=":", linewidth=1.8, label="chance")
    some = _NAMED if len(up_to) <= _FEW else _TENS
    named = [place for place, rank in enumerate(up_to) if rank in some or place == len(up_to) - 1]
    # The last rank is named, and would touch a round one right before it.
    if len(named) > 1 and named[-1] - named[-2] < len(up_to) / 10:
        del named[-2]
    ax.set_xticks(named, [f"{up_to[place]:,}" for place in named], fontsize=SMALL)
    ax.tick_params(labelsize=SMALL)
    ax.set_xlim(-0.7, len(up_to) - 0.3)
    plain(ax)
    ax.grid(visible=False, axis="x")


__all__ = ["draw_ranks"]
