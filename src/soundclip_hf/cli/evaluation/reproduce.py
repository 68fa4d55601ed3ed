"""`soundclip reproduce tables`: what the paper derives from its tables, recomputed."""

from typing import TYPE_CHECKING, Annotated

import typer

from ..options import DebugOption, JsonOption
from ..output import FAILED, note, reporting, result

if TYPE_CHECKING:
    from ...analysis.reproduce import Outcome

reproduce = typer.Typer(help="Recompute what the paper claims.", no_args_is_help=True)


@reproduce.command()
def tables(
    check: Annotated[
        bool,
        typer.Option("--check", help="Fail if our arithmetic gives other numbers than those stored with the package."),
    ] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """
    Recompute what the paper derives from its own tables, and compare it with what the paper prints.

    The tables are those of the paper; none of the numbers was measured by this package. A mismatch says that the paper
    contradicts itself, and is no failure of the command.

    Exit code: 0, 1 if something failed or --check found a change, 2 if the command line is wrong.
    """
    with reporting(debug):
        from ...analysis.reproduce import check as changes
        from ...analysis.reproduce import reproduce_tables

        outcomes = reproduce_tables()
        for outcome in outcomes:
            if as_json:
                result(outcome.report())
        if not as_json:
            _print(outcomes)
        if not check:
            return
        changed = changes(outcomes)
        for line in changed:
            note(f"changed: {line}")
        if changed:
            raise typer.Exit(FAILED)
        note(f"the arithmetic gives the {len(outcomes)} stored outcomes")


def _print(outcomes: "list[Outcome]") -> None:
    rows = [("claim", "part", "paper", "recomputed", "status")]
    for outcome in outcomes:
        first: tuple[str, str] = (outcome.claim, outcome.status.value)
        parts = list(outcome.paper) + [part for part in outcome.recomputed or {} if part not in outcome.paper]
        for part in parts:
            found = (outcome.recomputed or {}).get(part, "")
            text = found if isinstance(found, str) else f"{found:.6g}"
            rows.append((first[0], part, outcome.paper.get(part, ""), text, first[1]))
            first = "", ""
        if outcome.note:
            rows.append(("", f"({outcome.note})", "", "", ""))
    print("claim | part | paper | recomputed | status")
    widths = [max(len(row[column]) for row in rows if not row[1].startswith("(")) for column in range(3)]
    for row in rows[1:]:
        if row[1].startswith("("):
            print(f"{'':{widths[0]}}   {row[1]}")
        else:
            start = " | ".join(f"{text:{width}}" for text, width in zip(row, widths))
            print(f"{start} | {row[3]:<19} | {row[4]}".rstrip(" |"))
    counts: dict[str, int] = {}
    for outcome in outcomes:
        counts[outcome.status.value] = counts.get(outcome.status.value, 0) + 1
    print(", ".join(f"{count} {status}" for status, count in counts.items()))


__all__ = ["reproduce"]
