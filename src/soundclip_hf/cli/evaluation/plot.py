"""`soundclip eval plot`: pictures of result files."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ...extras import require
from ..options import DebugOption, JsonOption, check_out, check_place
from ..output import UsageError, note, reporting, result


class Picture(StrEnum):
    ranks = "ranks"
    radar = "radar"
    budget = "budget"
    alpha = "alpha"


def plot(
    picture: Annotated[
        Picture, typer.Argument(metavar="ranks|radar|budget|alpha", help="What to draw.", show_default=False)
    ],
    results: Annotated[list[Path], typer.Argument(metavar="RESULTS…", help="Result files (JSON).")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The .png, .svg or .pdf file to draw into.")],
    metric: Annotated[
        str | None,
        typer.Option(help="For budget and alpha: the number to draw, such as judge_overall or a2v.t1."),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Heading of the picture.  [default: the data set]")] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """
    Draw results, each with its 95 % intervals where they have them. Only the result files are read.

    ranks: at which rank the true match stands, from eval retrieval. radar: the six dimensions of eval judge. budget: a
    number over the token budget k. alpha: a number over alpha, the weight of the raw embedding. Raw and projected
    embeddings stand side by side where the results have both.

    \b
      soundclip eval plot ranks retrieval.json --out ranks.png
      soundclip eval plot radar judged/judge-*.json --out radar.png
      soundclip eval plot budget judged/judge-*.json --metric judge_overall --out budget.png

    Exit code: 0, 1 if something failed, 2 if the command line is wrong.
    """
    with reporting(debug):
        curve = picture in (Picture.budget, Picture.alpha)
        if curve and metric is None:
            raise UsageError(f"{picture.value} needs --metric, the number to draw, such as judge_overall or a2v.t1")
        if metric is not None and not curve:
            raise UsageError(f"--metric belongs to budget and alpha; {picture.value} has its own numbers")
        check_out(out)
        check_place(out)
        if out.suffix not in (".png", ".svg", ".pdf"):
            raise UsageError(f"--out {out}: a picture is a .png, .svg or .pdf file")
        require("matplotlib", what="soundclip eval plot")

        from ...analysis.pictures.curves import draw_alpha, draw_budget
        from ...analysis.pictures.radar import draw_radar
        from ...analysis.pictures.ranks import draw_ranks
        from ...evaluation.results import EvalResult

        loaded = [EvalResult.load(path) for path in results]
        out.parent.mkdir(parents=True, exist_ok=True)
        if metric is None:
            (draw_ranks if picture is Picture.ranks else draw_radar)(loaded, out, title)
        else:
            (draw_budget if picture is Picture.budget else draw_alpha)(loaded, metric, out, title)
        if as_json:
            result({"out": str(out), "picture": picture.value, "results": len(loaded)})
        else:
            note(f"picture in {out}")


__all__ = ["plot"]
