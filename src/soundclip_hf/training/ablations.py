"""Runs the grids of the paper's Tables 7 to 10: an adapter for each row, and a table of results."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..evaluation.results import EvalResult
from ..files import write_text
from .alignment import RESULT_NAME, align, recipe_of
from .arguments import ArgumentsError, read_arguments
from .trainer import Progress


@dataclass(frozen=True)
class Row:
    """
    Attributes:
        label: The name of the row and of the folder of its run.
        options: The options in which it differs from the other rows.
        paper: Mean ranks of 100 (sound to picture, picture to sound) that the paper reports on its own data.
    """

    label: str
    options: tuple[str, ...]
    paper: tuple[float, float]


def _loss(name: str, paper: tuple[float, float]) -> Row:
    return Row(name, ("--loss", name), paper)


def _fusion(name: str, paper: tuple[float, float], *more: str, label: str | None = None) -> Row:
    return Row(label or name, ("--layer_fusion", name, *more), paper)


def _last(n: int, paper: tuple[float, float], *more: str) -> Row:
    return _fusion("last_n", paper, "--layer_fusion_n", str(n), *more, label=f"last_{n}")


def _size(name: str, paper: tuple[float, float]) -> Row:
    return Row(f"whisper-{name}", ("--audio_encoder", f"openai/whisper-{name}"), paper)


GRIDS: dict[str, tuple[Row, ...]] = {
    "loss": (  # Table 7; for its third row see `losses.alignment_loss`
        _loss("cosine", (39.1, 18.8)),
        _loss("mse", (48.3, 38.5)),
        _loss("distribution", (37.8, 16.6)),
        _loss("info_nce", (14.3, 12.2)),
        _loss("info_nce+distribution", (12.4, 11.6)),
    ),
    "pooling": (  # Table 8
        _fusion("final", (38.8, 19.7)),
        _fusion("middle", (28.3, 23.2)),
        _last(1, (38.8, 19.7)),
        _last(2, (27.4, 16.4)),
        _last(3, (27.4, 16.4)),
        _fusion("average_all", (11.4, 10.7)),
        # Its mixture is learned, so it cannot be cached.
        _fusion("weighted_sum", (13.6, 12.0), "--cache_embeddings", "none"),
    ),
    "size": (  # Table 9
        _size("tiny", (26.4, 17.5)),
        _size("base", (12.2, 11.5)),
        _size("small", (10.8, 9.4)),
        _size("medium", (10.3, 8.7)),
    ),
    "last_n": tuple(  # Table 10; its second row contradicts Table 8's
        _last(n, paper, "--loss", "info_nce") for n, paper in enumerate(((38.8, 19.7), (37.1, 23.8), (27.4, 16.4)), 1)
    ),
}


def run_grid(
    name: str, options: Sequence[str], config: str | Path | None = None, progress: Progress | None = None
) -> Iterator[tuple[Row, EvalResult]]:
    """
    Train every row of a grid, each in its own folder of `output_dir`. Rows that are finished already are read.

    After each row `output_dir/<name>.json` and `<name>.md` hold the table so far.

    Args:
        name: One of `GRIDS`.
        options, config: As in `read_arguments`; the same for all rows.
        progress: As in `align`.

    Raises:
        ArgumentsError: For an unknown name, and as in `align`.
    """
    if name not in GRIDS:
        raise ArgumentsError(f"grid {name!r}: must be one of {', '.join(GRIDS)}")
    done: list[tuple[Row, EvalResult]] = []
    for row in GRIDS[name]:
        settings, training = read_arguments([*options, *row.options], config)
        root = Path(str(training.output_dir))
        training.output_dir = str(root / row.label)
        found = _finished(Path(training.output_dir), recipe_of(settings, training))
        result = align(settings, training, progress) if found is None or settings.overwrite else found
        done.append((row, result))
        _write(root, name, done)
        yield row, result


def as_markdown(rows: Sequence[tuple[Row, EvalResult]]) -> str:
    """A table of the mean ranks with their 95 % intervals, and those of the paper."""
    chance = rows[0][1].metrics["chance"]["mean_rank"]
    lines = [
        f"Mean rank of {rows[0][1].config['sample']} (chance {chance:g}), n = {rows[0][1].n}, seed {rows[0][1].seed}.",
        "",
        "| | sound to picture | picture to sound | *paper* (its data), both ways |",
        "|---|---|---|---|",
    ]
    for row, result in rows:
        cells = []
        for way in ("a2v", "v2a"):
            low, high = result.error_bars[f"projected_{way}"]["interval_95"]["mean_rank"]
            cells.append(f"{result.metrics[f'projected_{way}']['mean_rank']:.1f} [{low:.1f}, {high:.1f}]")
        lines.append(f"| {row.label} | {' | '.join(cells)} | {row.paper[0]:g} / {row.paper[1]:g} |")
    return "\n".join(lines) + "\n"


def _finished(folder: Path, recipe: dict[str, Any]) -> EvalResult | None:
    path = folder / RESULT_NAME
    if not path.is_file():
        return None
    result = EvalResult.load(path)
    return result if all(result.config.get(key) == value for key, value in recipe.items()) else None


def _write(root: Path, name: str, rows: Sequence[tuple[Row, EvalResult]]) -> None:
    table = [
        {"row": row.label, "paper": list(row.paper), "metrics": result.metrics, "error_bars": result.error_bars}
        for row, result in rows
    ]
    write_text(root / f"{name}.json", json.dumps(table, indent=1) + "\n")
    write_text(root / f"{name}.md", as_markdown(rows))


__all__ = ["GRIDS", "Row", "as_markdown", "run_grid"]
