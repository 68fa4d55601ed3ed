"""Repeats the paper's tables of retrieval: what is missing for it, and the paper beside what was measured."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..evaluation.results import EvalResult
from ..settings import find_config
from .paper_tables import paper_table

# Pairs out of which the paper draws, at most.
POOL = 500


@dataclass(frozen=True)
class Missing:
    """
    Attributes:
        encoder: A row of the table; None where it concerns all of them.
        what: Is not there.
        fix: How to get it.
    """

    encoder: str | None
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.encoder or 'data'}: {self.what}; {self.fix}"


@dataclass(frozen=True)
class Comparison:
    """
    One cell of the table.

    Attributes:
        encoder, column: Its row and column, such as "ImageBind" and "a2v_t1_raw".
        paper: Its value, in percent (label *paper*).
        measured: Ours, in percent; None where it was not measured.
        interval: 95 % interval of `measured`.
    """

    encoder: str
    column: str
    paper: float
    measured: float | None
    interval: tuple[float, float] | None


def adapter_folder(encoder: str, adapters: str | Path) -> Path:
    """Where the adapter of a row is looked for: `ADAPTERS/imagebind` of "ImageBind", as `soundclip align` names it."""
    return Path(adapters) / encoder.lower()


def missing_parts(encoder: str, adapters: str | Path) -> list[Missing]:
    """
    What has to be there before a row of the table can be measured: the adapter, its base and its audio encoder.

    Nothing is downloaded. What an adapter names by a Hub id counts as missing only if it is not in the cache while
    `HF_HUB_OFFLINE` is set.

    Args:
        encoder: A row of the table.
        adapters: The folder with one adapter for each row, see [`adapter_folder`].
    """
    folder = adapter_folder(encoder, adapters)
    if not (folder / "config.json").is_file():
        recipe = f"align/{encoder.lower()}"
        fix = f"train it with: soundclip align --config {recipe} --dataset CLIPS --output_dir {folder}"
        return [Missing(encoder, f"no adapter in {folder}", f"{fix} (it needs {_needs(recipe)})")]
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        return [Missing(encoder, f"{folder / 'config.json'} is no JSON ({error})", "save the adapter again")]
    found = []
    for part, key in (("base model", "base_model"), ("audio encoder", "audio_encoder")):
        name, revision = config.get(f"{key}_name_or_path"), config.get(f"{key}_revision")
        if name is not None and not _is_reachable(name, revision):
            fix = "fetch it while online, or name a folder of it in config.json"
            at = f" at revision {revision}" if revision else ""
            found.append(Missing(encoder, f"the {part} {name}{at} is neither a folder nor in the cache", fix))
    return found


def compare(table: int, results: Mapping[str, EvalResult]) -> Iterator[Comparison]:
    """
    The cells of a table, row by row.

    Args:
        table: 1 (AudioCaps), 4 (AVE-2), 5 (TVSum) or 6 (Ego4D).
        results: Of `soundclip eval retrieval`, by the rows of the table; rows may be absent.

    Raises:
        ValueError: If a result lacks one of the numbers.
    """
    paper = paper_table(table)
    for cell in paper.cells:
        way, k, alignment = cell.column.split("_")
        measured = interval = None
        if cell.row in results:
            name = f"{alignment}_{way}.{k}"
            numbers = results[cell.row].numbers()
            if name not in numbers:
                raise ValueError(f"{cell.row}: the result has no {name}; measure it with soundclip eval retrieval")
            measured, interval = numbers[name], results[cell.row].interval(name)
        yield Comparison(cell.row, cell.column, cell.number, measured, interval)


def _needs(recipe: str) -> str:
    """What a configuration says that it needs, in its second line."""
    lines = find_config(recipe).read_text(encoding="utf-8").splitlines()
    return next(line.removeprefix("# Needs:").strip().rstrip(".") for line in lines if line.startswith("# Needs:"))


def _is_reachable(name: str, revision: str | None) -> bool:
    if Path(name).is_dir():
        return True
    from huggingface_hub import constants, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        cached: Any = try_to_load_from_cache(name, "config.json", revision=revision)
    except HFValidationError:  # a path, and no folder is there
        return False
    return isinstance(cached, str) or not constants.HF_HUB_OFFLINE


__all__ = ["POOL", "Comparison", "Missing", "adapter_folder", "compare", "missing_parts"]
