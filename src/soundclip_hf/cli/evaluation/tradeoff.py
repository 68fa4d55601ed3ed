"""`soundclip tradeoff`: retrieval against generation, from result files."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...extras import require
from ..options import DebugOption, JsonOption, check_place
from ..output import UsageError, note, reporting, result

if TYPE_CHECKING:
    from ...analysis.tradeoff import Recommendation


PAPER_METRICS = ("a2v.t1", "gpt4o_overall")
TITLES = {
    "paper": "paper: its five encoders; the line was withdrawn by its authors",
    "icassp2027": "the authors' later version (ICASSP 2027): five encoders",
    "results": "Retrieval and generation",
}


def tradeoff(
    results: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RESULTS…", help="Result files (JSON) of retrieval and of generation.", show_default=False
        ),
    ] = None,
    paper: Annotated[
        bool, typer.Option("--paper", help="Take the paper's five encoders on AudioCaps, in place of RESULTS.")
    ] = False,
    icassp2027: Annotated[
        bool,
        typer.Option(
            "--icassp2027",
            help="Take the five encoders of the authors' later version (b1, b2, b3).",
        ),
    ] = False,
    retrieval_metric: Annotated[
        str, typer.Option(help="Name of the retrieval score in RESULTS, in percent.")
    ] = PAPER_METRICS[0],
    generation_metric: Annotated[
        str, typer.Option(help="Name of the generation score in RESULTS; higher is better.")
    ] = PAPER_METRICS[1],
    task: Annotated[
        str | None, typer.Option(help="Say what the paper recommends for a task, such as 'dense captioning'.")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw into this .png, .svg or .pdf file; a .json beside it gets the numbers."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """
    Compare what projecting adds to retrieval with what it takes from generation.

    RESULTS are put together by their model. Each model needs both scores with raw and with projected embeddings: in one
    file as raw_METRIC and projected_METRIC, or in a file for each, whose config says alignment: raw or projected.

    \b
      soundclip tradeoff out/*/retrieval.json out/*/generation.json --plot tradeoff.png
      soundclip tradeoff --paper
      soundclip tradeoff --icassp2027 --generation-metric b3

    Exit code: 0, 1 if something failed, 2 if the command line is wrong.
    """
    with reporting(debug):
        if paper + icassp2027 + bool(results) != 1:
            raise UsageError("give RESULTS, --paper or --icassp2027, and one of them only")
        if paper and (retrieval_metric, generation_metric) != PAPER_METRICS:
            raise UsageError(f"--paper has the metrics {' and '.join(PAPER_METRICS)} only")
        if plot is not None:
            require("matplotlib", what="soundclip tradeoff --plot")
            if plot.suffix not in (".png", ".svg", ".pdf"):
                raise UsageError(f"--plot {plot}: a picture is a .png, .svg or .pdf file")
            check_place(plot, "--plot")
        from ...analysis.tradeoff import ICASSP2027_METRICS, icassp2027_points, paper_points, read_points, recommend
        from ...analysis.tradeoff import tradeoff as compare
        from ...evaluation.results import EvalResult
        from ...files import write_text

        if paper:
            points = paper_points()
        elif icassp2027:
            generation_metric = ICASSP2027_METRICS[0] if generation_metric == PAPER_METRICS[1] else generation_metric
            if generation_metric not in ICASSP2027_METRICS or retrieval_metric != PAPER_METRICS[0]:
                raise UsageError(f"--icassp2027 has the generation metrics {', '.join(ICASSP2027_METRICS)} only")
            points = icassp2027_points(generation_metric)
        else:
            loaded = [EvalResult.load(path) for path in results or ()]
            points = read_points(loaded, retrieval_metric, generation_metric)
        found = compare(points, retrieval_metric=retrieval_metric, generation_metric=generation_metric, seed=seed)
        report = {"source": "paper" if paper else "icassp2027" if icassp2027 else "results", **found.report()}
        # The paper's own numbers stand in its recommendation already.
        advice = None if task is None else recommend(task, found if results else None)
        if plot is not None:
            from ...analysis.pictures.tradeoff import draw_tradeoff

            numbers = plot.with_suffix(".json")
            write_text(numbers, json.dumps(report, ensure_ascii=False, indent=1, allow_nan=False) + "\n")
            # From the file, so that the picture can be drawn again from what was published.
            draw_tradeoff(json.loads(numbers.read_text(encoding="utf-8")), plot, TITLES[report["source"]])
            note(f"picture in {plot}, its numbers in {numbers}")
        if as_json:
            from dataclasses import asdict

            result(report if advice is None else {**report, "recommendation": asdict(advice)})
            return
        _print(report)
        if advice is not None:
            _print_advice(advice)


def _print(report: dict[str, Any]) -> None:
    if report["source"] == "paper":
        print("paper: the paper's own numbers; the line and the Pareto front were withdrawn by its authors")
    if report["source"] == "icassp2027":
        print("icassp2027: the authors' own report for a later version of the paper")
    print(f"gain in {report['retrieval_metric']}, loss in {report['generation_metric']}, by projecting")
    print(f"{'model':<24} {'gain (pp)':>10} {'loss (%)':>10}")
    for point in report["points"]:
        print(f"{point['name']:<24} {point['gain_pp']:>10.2f} {point['loss_percent']:>10.2f}")
    line = report["line"]
    n = report["n"]
    if line is None:
        print(f"no line: n = {n}, and a line needs two points with different gains")
    else:
        print(
            f"loss = {line['slope']:.4f} gain + {line['intercept']:.4f}, slope {_interval(line['slope_interval'])}, "
            f"intercept {_interval(line['intercept_interval'])}, n = {n}"
        )
    for name in ("pearson", "spearman"):
        found = report[name]
        if found is None:
            continue
        p = "" if found["p"] is None else f", p = {found['p']:.3f}"
        interval, bootstrap = (_interval(found[key]) for key in ("interval", "bootstrap_interval"))
        print(f"{name} {found['r']:.3f} {interval} (bootstrap {bootstrap}){p}, n = {n}")
    front = [f"{one['name']} {one['alignment']}" for one in report["settings"] if one["pareto"]]
    area, corner = report["hypervolume"]["area"], report["hypervolume"]["reference"]
    print(f"Pareto front: {', '.join(front)}")
    print(f"hypervolume {area:.3f} from the reference point ({corner[0]:g}, {corner[1]:g})")


def _interval(pair: list[float] | None) -> str:
    return "[no interval: too few points]" if pair is None else f"[{pair[0]:.3f}, {pair[1]:.3f}]"


def _print_advice(advice: "Recommendation") -> None:
    print(
        f"{advice.task}: the paper recommends {advice.encoder}, {advice.alignment}, {advice.token_budget} tokens "
        f"({advice.source}){'; ' + advice.note if advice.note else ''}"
    )
    for one in advice.measured:
        print(f"  measured: {one.name} {one.alignment}: {one.retrieval.value:g}, {one.generation.value:g}")


__all__ = ["tradeoff"]
