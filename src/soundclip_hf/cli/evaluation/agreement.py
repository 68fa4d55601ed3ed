"""`soundclip eval agreement`: how far judges, and people, agree about answers."""

from pathlib import Path
from typing import Annotated

import typer

from ..ave2.rating import KEY_HELP, BootstrapSeedOption, RepeatsOption, print_agreement
from ..options import DebugOption, JsonOption
from ..output import UsageError, reporting


def agreement(
    raters: Annotated[
        list[Path],
        typer.Argument(
            metavar="RATERS…", help="Two or more: judged.jsonl files of eval judge, or filled sheets (.csv)."
        ),
    ],
    key: Annotated[str, typer.Option(help=KEY_HELP)] = "answer_id",
    repeats: RepeatsOption = 1000,
    seed: BootstrapSeedOption = 0,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """
    Compare the scores that two or more raters gave to the same answers, in the six dimensions of eval judge.

    Shown are exact agreement, agreement within one, and Krippendorff's alpha; for two raters also Cohen's kappa in
    three weightings. For more, --json has the agreement of each two. A sheet for people is written by eval judge
    --sheet.

    Exit code: 0, 1 if something failed or no row has two ratings, 2 if the command line is wrong.
    """
    with reporting(debug):
        if len(raters) < 2:
            raise UsageError(f"agreement needs two or more raters; {raters[0]} is only one")

        from ...data.stats.agreement import agreement as compare
        from ...data.stats.rating_sheet import read_ratings
        from ...evaluation.judge import JUDGE_SCALE, read_judged

        sides = [read_ratings(rater, key, JUDGE_SCALE, read_judged) for rater in raters]
        compared = compare(*sides, key=key, scale=JUDGE_SCALE, repeats=repeats, seed=seed)
        print_agreement(compared, len(sides), as_json)


__all__ = ["agreement"]
