"""`soundclip ave2 sample` and `agreement`: clips for people to rate, and how far raters agree."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ...extras import require
from ..options import DebugOption, JsonOption, TableArgument
from ..output import FAILED, UsageError, note, reporting, result, warn

_KAPPAS = ("unweighted", "linear", "quadratic")
KEY_HELP = "Column that identifies a row in every table."
RepeatsOption = Annotated[int, typer.Option(min=0, help="How many bootstrap samples the intervals are computed from.")]
BootstrapSeedOption = Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")]


def sample(
    table: TableArgument,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="CSV to fill in: one row per clip, with an empty column for each score.")
    ],
    per_type: Annotated[int, typer.Option(min=1, help="How many rows to draw of each segment type.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draw.")] = 0,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """
    Draw rows evenly from the eight segment types, for people to rate without seeing the judge's scores.

    Compare a filled sheet with the judge: soundclip ave2 agreement SHEET TABLE

    Exit code: 0, 1 if something failed, 2 if the command line is wrong.
    """
    with reporting(debug):
        if out.suffix.lower() != ".csv":
            raise UsageError(f"--out {out}: a sheet is a .csv file")

        require("pyarrow", what="soundclip ave2 sample")

        from ...data.stats.rating_sheet import stratified, write_sheet

        rows, seen = stratified(table, per_type, seed)
        write_sheet(rows, out)
        for name, count in seen.items():
            if name != "none" and count < per_type:
                warn(f"{name}: {table} has only {count} of {per_type} rows")
        if as_json:
            result({"rows": len(rows), "per_type": per_type, "seed": seed, "table": seen, "out": str(out)})
        else:
            print(f"{len(rows)} rows in {out}; fill in the scores, then: soundclip ave2 agreement {out} {table}")


def agreement(
    tables: Annotated[
        list[Path], typer.Argument(metavar="TABLES...", help="Two or more: filled sheets (.csv), or tables of rows.")
    ],
    key: Annotated[str, typer.Option(help=KEY_HELP)] = "sample_id",
    repeats: RepeatsOption = 1000,
    seed: BootstrapSeedOption = 0,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """
    Compare ratings of the same rows: exact agreement, agreement within one, and Krippendorff's alpha.

    For two raters, Cohen's kappa is shown, too, in three weightings. For more, --json has the agreement of each two.

    Exit code: 0, 1 if something failed or no row has two ratings, 2 if the command line is wrong.
    """
    with reporting(debug):
        if len(tables) < 2:
            raise UsageError(f"agreement needs two or more tables; {tables[0]} is only one")

        from ...data.ave2.tables import check_readable
        from ...data.stats.agreement import agreement as compare
        from ...data.stats.rating_sheet import read_ratings

        check_readable(*tables)
        sides = [read_ratings(table, key) for table in tables]
        print_agreement(compare(*sides, key=key, repeats=repeats, seed=seed), len(sides), as_json)


def print_agreement(compared: Mapping[str, Mapping[str, Any]], raters: int, as_json: bool) -> None:
    """
    Print a line for each score.

    Args:
        compared: As of `data.stats.agreement.agreement`.
        raters: How many were compared.

    Raises:
        typer.Exit: If no row has two ratings.
    """
    rated = 0
    for score, found in compared.items():
        if not found["n"]:
            note(f"{score}: no row has two ratings")
        rated += found["n"]
        if as_json:
            result(finite({"score": score, **found}))
            continue
        if not found["n"]:
            continue
        parts = [f"{score:<32} n {found['n']:>7}"]
        if raters == 2:
            parts.append(f"exact {found['exact']:.3f}  ±1 {found['within_one']:.3f}")
            parts += [f"{name} {short(found[f'kappa_{name}'])}" for name in _KAPPAS]
        low, high = found.get("alpha_ordinal_ci", (math.nan, math.nan))
        interval = f" ({low:.4f} to {high:.4f})" if math.isfinite(low) else ""
        print("  ".join([*parts, f"alpha {short(found['alpha_ordinal'])}{interval}"]))
    if not rated:
        raise typer.Exit(FAILED)


def finite(value: Any) -> Any:
    """JSON has no NaN: what is not defined is null."""
    if isinstance(value, dict):
        return {name: finite(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def short(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


__all__ = [
    "KEY_HELP",
    "BootstrapSeedOption",
    "RepeatsOption",
    "agreement",
    "finite",
    "print_agreement",
    "sample",
    "short",
]
