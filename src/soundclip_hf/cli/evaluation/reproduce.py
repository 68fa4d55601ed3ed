"""`soundclip reproduce …`: what the paper derives from its tables, recomputed, and its Table 1, measured."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..options import DataOption, DebugOption, JsonOption, LimitOption, check_out, check_place
from ..output import FAILED, note, reporting, result
from .running import runner

if TYPE_CHECKING:
    from ...analysis.reproduce import Outcome
    from ...analysis.retrieval_table import Comparison

reproduce = typer.Typer(help="Recompute what the paper claims, and repeat its experiments.", no_args_is_help=True)


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


@reproduce.command()
def table1(
    context: typer.Context,
    data: DataOption,
    adapters: Annotated[
        Path, typer.Option(help="Folder with one adapter for each encoder: imagebind, whisperclip, clap, …")
    ] = Path("out/align"),
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the results and the embeddings.")] = Path(
        "out/table1"
    ),
    limit: LimitOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws and the bootstrap.")] = 0,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """
    Repeat Table 1, retrieval on AudioCaps, with the adapters and the clips that are there.

    Each encoder is measured with raw and with projected embeddings, by the paper's protocol. What is missing for the
    others is listed, with the command that makes it. The paper's figures stand beside the measured ones.

    \b
      soundclip reproduce table1 --data audiocaps-test-clips --adapters out/align

    Exit code: 0, 1 if no encoder could be measured, 2 if the command line is wrong.
    """
    with reporting(debug):
        _repeat(1, context, data, adapters, out, limit, seed, as_json)


def _repeat(
    table: int,
    context: typer.Context,
    data: str,
    adapters: Path,
    out: Path,
    limit: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Measure the rows of a table of retrieval that can be measured, and say what is missing for the others."""
    check_out(out)
    check_place(out, folder=True)

    from ...analysis.paper_tables import paper_table
    from ...analysis.retrieval_table import POOL, Missing, adapter_folder, compare, missing_parts
    from ...evaluation.results import EvalResult
    from ...evaluation.samples import open_samples

    missing: list[Missing] = []
    try:
        pairs = len(open_samples(data, limit=limit))
    except (ValueError, OSError) as error:
        missing.append(
            Missing(None, " ".join(str(error).split()), "give --data with sounds and pictures of the test set")
        )
        pairs = 0
    if 0 < pairs < POOL:
        note(f"{data}: has {pairs} samples; the paper draws out of {POOL}")
    run, results = runner(context, to_stderr=True), {}
    for encoder in paper_table(table).rows:
        found = missing_parts(encoder, adapters)
        missing += found
        if found or not pairs:
            continue
        path = out / f"{encoder.lower()}.json"
        words = ["--model", str(adapter_folder(encoder, adapters)), "--data", data, "--preset", "paper"]
        words += [] if limit is None else ["--limit", str(limit)]
        words += ["--seed", str(seed), "--cache", str(out / f"{encoder.lower()}.safetensors"), "--out", str(path)]
        if run(["eval", "retrieval", *words]):
            missing.append(Missing(encoder, "its measurement failed", "see the error above"))
        else:
            results[encoder] = EvalResult.load(path)
    cells = list(compare(table, results))
    if as_json:
        for cell in cells:
            result(
                {
                    "encoder": cell.encoder,
                    "column": cell.column,
                    "paper": cell.paper,
                    "measured": cell.measured,
                    "interval_95": cell.interval and list(cell.interval),
                }
            )
    else:
        _print_cells(cells)
    for one in missing:
        note(f"missing: {one}")
    if not results:
        raise typer.Exit(FAILED)


def _print_cells(cells: "list[Comparison]") -> None:
    print("encoder | direction | embeddings | T1 | T3 | T10: paper, measured [95 % interval], in percent")
    found = {(cell.encoder, cell.column): cell for cell in cells}
    for encoder in dict.fromkeys(cell.encoder for cell in cells):
        for way, words in (("a2v", "sound to picture"), ("v2a", "picture to sound")):
            for alignment in ("raw", "projected"):
                numbers = [_cell(found[encoder, f"{way}_t{k}_{alignment}"]) for k in (1, 3, 10)]
                print(f"{encoder:11} | {words} | {alignment:9} | " + " | ".join(numbers))


def _cell(cell: "Comparison") -> str:
    if cell.measured is None:
        return f"{cell.paper:4.1f}, –"
    ends = f" [{cell.interval[0]:.1f}, {cell.interval[1]:.1f}]" if cell.interval else ""
    return f"{cell.paper:4.1f}, {cell.measured:.1f}{ends}"


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
