"""Finds the best epoch in the log of a training run, and draws its losses and mean ranks."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..extras import require
from ..files import replacing


@dataclass(frozen=True)
class BestEpoch:
    """
    Attributes:
        epoch: After which the evaluation was best.
        metric: What it was chosen by, as the trainer logs it, such as "eval_loss".
        value: Of this metric, at that epoch.
    """

    epoch: float
    metric: str
    value: float


def best_epoch(history: Iterable[Mapping[str, Any]], metric: str | None, greater: bool | None) -> BestEpoch | None:
    """
    The epoch with the best evaluation; of equal ones, the first.

    Args:
        history: `log_history` of a trainer.
        metric: `metric_for_best_model` of `TrainingArguments`; None is the validation loss.
        greater: `greater_is_better`; None means that losses should be small, and everything else large.

    Returns:
        None if there was no evaluation with a finite value.
    """
    name = metric or "loss"
    name = name if name.startswith("eval_") else f"eval_{name}"
    sign = 1 if (greater if greater is not None else not name.endswith("loss")) else -1
    found = [entry for entry in history if math.isfinite(entry.get(name, math.nan))]
    if not found:
        return None
    best = max(found, key=lambda entry: sign * entry[name])
    return BestEpoch(float(best["epoch"]), name, float(best[name]))


def draw_curve(history: Iterable[Mapping[str, Any]], best: BestEpoch | None, path: Path) -> None:
    """
    Draw the losses and the mean ranks of the validation pairs over the epochs.

    Args:
        history: As for [`best_epoch`].
        best: Marked by a vertical line.
        path: `.png`, `.svg` or `.pdf`; the file appears whole or not at all.

    Raises:
        NotInstalledError: If matplotlib is missing.
    """
    require("matplotlib", what="drawing the curve of a training run")
    from matplotlib.figure import Figure

    entries = list(history)
    # A figure of its own needs neither a display nor pyplot's global state.
    figure = Figure(figsize=(10, 4), layout="constrained")
    losses, ranks = figure.subplots(1, 2)
    for axes, label, lines in (
        (losses, "loss", {"loss": "training", "eval_loss": "validation"}),
        (
            ranks,
            "mean rank",
            {
                "eval_a2v_mean_rank": "sound to picture",
                "eval_v2a_mean_rank": "picture to sound",
                "eval_chance_mean_rank": "chance",
            },
        ),
    ):
        for name, words in lines.items():
            points = [(entry["epoch"], entry[name]) for entry in entries if name in entry and "epoch" in entry]
            if points:
                style = {"linestyle": ":", "color": "grey"} if words == "chance" else {"marker": "."}
                axes.plot(*zip(*points), label=words, **style)
        if best is not None:
            axes.axvline(best.epoch, color="black", linewidth=0.8, label=f"best epoch, by {best.metric}")
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        if axes.has_data():
            axes.legend()
    with replacing(path) as partial:
        figure.savefig(partial, format=path.suffix[1:], dpi=150)


__all__ = ["BestEpoch", "best_epoch", "draw_curve"]
