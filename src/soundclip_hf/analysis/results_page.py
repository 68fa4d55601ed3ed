"""Writes a page of tables and pictures about a folder of results; it reads nothing but their JSON."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from ..evaluation.results import EvalResult

TEMPLATE = Path(__file__).parent / "results_page.md.jinja"
PICTURES = (".png", ".svg")
# At the end of a page: one without it was written by somebody else, and is not replaced.
MARK = "<!-- Written by soundclip eval; it is replaced when the results are reported again. -->"


@dataclass(frozen=True)
class ResultTable:
    """
    Attributes:
        task: Of the results that it shows.
        results: In the order of the rows.
        columns: Names of the numbers.
        rows: The name of each row, and its numbers as text, "" where it has none.
    """

    task: str
    results: tuple[EvalResult, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def common(self) -> dict[str, Any]:
        """The settings that all results have in common."""
        first, *others = [result.config for result in self.results]
        return {name: value for name, value in first.items() if all(o.get(name, ...) == value for o in others)}


def read_results(folder: str | Path) -> dict[Path, EvalResult]:
    """
    All results in a folder, at any depth, by path; JSON files that are no results are left out.

    Raises:
        ValueError: If there is none, or one of a later format.
    """
    found = {}
    for path in sorted(Path(folder).rglob("*.json"), key=_by_numbers):
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        text = path.read_text(encoding="utf-8")
        if '"metrics"' in text and '"task"' in text:
            found[path] = EvalResult.load(path)
    if not found:
        raise ValueError(f"{folder}: holds no result (JSON with a task and metrics); measure something into it first")
    return found


def result_tables(results: Sequence[EvalResult]) -> list[ResultTable]:
    """
    One table for each task. Results of one task are its rows, named by the settings in which they differ; a result with
    groups of numbers, such as `raw_a2v.t1`, has a row for each group.
    """
    tables = []
    for task in dict.fromkeys(result.task for result in results):
        part = tuple(result for result in results if result.task == task)
        labels = _labels(part)
        rows: list[tuple[str, dict[str, str]]] = []
        for result, label in zip(part, labels):
            for group, numbers in _groups(result).items():
                rows.append((" · ".join(filter(None, (label, group))) or result.model, numbers))
        columns = tuple(dict.fromkeys(name for _, numbers in rows for name in numbers))
        cells = tuple((name, tuple(numbers.get(column, "") for column in columns)) for name, numbers in rows)
        tables.append(_upright(ResultTable(task, part, columns, cells)))
    return tables


def results_page(folder: str | Path, *, title: str, commands: Sequence[str] = (), text: str = "") -> str:
    """
    The page as Markdown.

    Args:
        folder: Of the results. Pictures in it are shown, named by their files.
        title: Heading of the page.
        commands: How the results were made.
        text: A paragraph under the heading.

    Raises:
        ValueError: As of [`read_results`].
    """
    folder = Path(folder)
    results = read_results(folder)
    pictures = sorted(path for path in folder.rglob("*") if path.suffix in PICTURES)
    template = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
        TEMPLATE.read_text(encoding="utf-8")
    )
    return template.render(
        title=title,
        text=text,
        commands=commands,
        tables=result_tables(list(results.values())),
        files=[path.relative_to(folder).as_posix() for path in results],
        pictures=[(path.stem.replace("-", " "), path.relative_to(folder).as_posix()) for path in pictures],
        plain=_plain,
        mark=MARK,
    )


def _by_numbers(path: Path) -> list[tuple[float, str]]:
    """A key that sorts k2 before k16, and alpha0.125 before alpha0.5."""
    text, *rest = re.split(r"(\d+(?:\.\d+)?)", path.as_posix())
    return [(-1, text), *((float(number), after) for number, after in zip(rest[::2], rest[1::2], strict=True))]


def _groups(result: EvalResult) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for name, value in result.numbers().items():
        group, _, last = name.rpartition(".")
        interval = result.interval(name)
        text = _number(value)
        if interval is not None:
            text += f" [{_number(interval[0])}, {_number(interval[1])}]"
        found.setdefault(group, {})[last] = text
    return found


def _labels(results: Sequence[EvalResult]) -> list[str]:
    """What tells each result from the others: model, data, and the settings that differ."""
    values = [
        {"model": result.model, "dataset": result.dataset, "n": result.n, "seed": result.seed}
        | {name: value for name, value in result.config.items() if not isinstance(value, Mapping | list)}
        for result in results
    ]
    names = dict.fromkeys(name for one in values for name in one)
    differing = [name for name in names if len({str(one.get(name)) for one in values}) > 1]
    return [", ".join(f"{name} {one[name]}" for name in differing if one.get(name) is not None) for one in values]


def _upright(table: ResultTable) -> ResultTable:
    """One row of many numbers is read better as a column."""
    if len(table.rows) > 1 or len(table.columns) < 4:
        return table
    ((name, cells),) = table.rows
    return ResultTable(table.task, table.results, (name,), tuple((c, (v,)) for c, v in zip(table.columns, cells)))


def _number(value: float) -> str:
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.2f}" if abs(value) >= 10 else f"{value:.3f}"


def _plain(value: Any) -> str:
    return "–" if value is None else str(value)


__all__ = ["MARK", "ResultTable", "read_results", "result_tables", "results_page"]
