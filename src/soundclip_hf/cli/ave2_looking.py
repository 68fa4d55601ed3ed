"""`soundclip ave2 stats`, `agreement` and `verify`: what is in a table, and whether it holds together."""

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from .ave2_making import Debug, Json, Table
from .output import FAILED, UsageError, reporting, result


def stats(table: Table, as_json: Json = False, debug: Debug = False) -> None:
    """Count what the paper counts, with its numbers beside ours."""
    with reporting(debug):
        from ..data.statistics import COLUMNS, PAPER, statistics
        from ..data.tables import read_batches

        counted = statistics(read_batches(table, COLUMNS))
        if as_json:
            result(_finite(counted.report()))
            return
        print(f"{'':<48}{'here':>12}{'paper':>12}")
        for name, value in counted.numbers().items():
            print(f"{name:<48}{_short(value):>12}{_short(PAPER[name]) if name in PAPER else '':>12}")


def agreement(
    first: Table,
    second: Table,
    key: Annotated[str, typer.Option(help="Column that names a row on both sides.")] = "sample_id",
    repeats: Annotated[int, typer.Option(min=0, help="Bootstrap samples for the intervals.")] = 1000,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Compare two ratings of the same rows: Cohen's kappa in three weightings, exact and within one, alpha."""
    with reporting(debug):
        from ..data.agreement import agreement as compare
        from ..data.schema import SCORES
        from ..data.tables import read_rows

        sides = []
        for table in (first, second):
            rows = list(read_rows(table))
            if rows and key not in rows[0]:
                raise UsageError(f"--key {key}: {table} has no such column")
            sides.append([{name: row[name] for name in (key, *SCORES)} for row in rows])
        for score, found in compare(*sides, key=key, repeats=repeats, seed=seed).items():
            if as_json:
                result(_finite({"score": score, **found}))
            else:
                kappas = "  ".join(f"{name} {_short(found[f'kappa_{name}'])}" for name in _KAPPAS)
                print(
                    f"{score:<32} n {found['n']:>7}  exact {found['exact']:.3f}  ±1 {found['within_one']:.3f}  {kappas}"
                )


_KAPPAS = ("unweighted", "linear", "quadratic")


def verify(
    table: Table,
    media: Annotated[Path | None, typer.Option(help="Folder of the clips, to check their hashes.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Check rows, counts, hashes, and that no video is in two splits. Exit code 1 if anything is wrong."""
    with reporting(debug):
        from ..data.tables import read_rows
        from ..data.verification import verify as check

        found = check(read_rows(table), media)
        if as_json:
            result(found)
        else:
            for bad in found["bad"]:
                print(f"row {bad['index']} ({bad['sample_id']}): {'; '.join(bad['reasons'])}")
            for name in (
                "rows",
                "videos",
                "splits",
                "media_status",
                "bad_rows",
                "leaks",
                "media_missing",
                "media_changed",
            ):
                print(f"{name:<16}{found[name] if found[name] not in ([], {}) else 'none'}")
            if len(found["prompts"]) > 1:
                print(f"judged with {len(found['prompts'])} different prompts: {found['prompts']}")
        if not found["ok"]:
            raise typer.Exit(FAILED)


def _finite(value: Any) -> Any:
    """JSON has no NaN: what is not defined is null."""
    if isinstance(value, dict):
        return {name: _finite(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _short(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


__all__ = ["agreement", "stats", "verify"]
