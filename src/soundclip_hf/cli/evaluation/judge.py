"""`soundclip eval judge`: scores of answers, from a language model on an OpenAI-compatible server."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...extras import require
from ..ave2.causes import Causes
from ..options import DebugOption, JsonOption, SplitOption, check_media, check_out, check_place
from ..output import FAILED, CliError, UsageError, note, reporting, result, warn, with_progress
from ..server_options import RequestOptions, with_options

if TYPE_CHECKING:
    from ...evaluation.judge import GivenAnswer, JudgedAnswer
    from ...evaluation.results import EvalResult


@with_options
def judge(
    answers: Annotated[
        list[Path],
        typer.Argument(
            metavar="ANSWERS…",
            help='JSON lines of answers, {"id", "question", "answer", …}, of describe --manifest or eval generation.',
        ),
    ],
    server: Annotated[str, typer.Option(help="Address of the judge's server, OpenAI-compatible, with /v1.")],
    judge_model: Annotated[str, typer.Option(help="Name of the judge on its server.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder for judged.jsonl, and a result file for each kind of answers.")
    ],
    data: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="Where the references are, by id: synthetic, a table, a folder or a data set on the Hub.  [default: "
            "the lines of ANSWERS]",
        ),
    ] = None,
    split: SplitOption = None,
    media: Annotated[Path | None, typer.Option(help="Folder of the clips of --data, if it is a table.")] = None,
    with_frame: Annotated[
        bool, typer.Option("--with-frame", help="Send the judge the frame that the answer is about; needs --data.")
    ] = False,
    sheet: Annotated[
        Path | None,
        typer.Option(help="Write the answers into this .csv file, too, for people to rate without the judge's scores."),
    ] = None,
    *,
    options: RequestOptions,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """
    Let a language model score answers from 1 to 5: audio quality, visual accuracy, coherence, reasoning, fluency and
    overall.

    Answers with the same model and settings make one result file, whose metrics soundclip tradeoff and eval plot read
    (--generation-metric judge_overall). An empty answer is not judged and counts in no_answer_rate. A reply of the
    judge that cannot be used, twice, gives no scores and counts in parse_failure_rate. The same command again goes on:
    what was scored is not asked about again. The prompt is our own wording, since the paper's was never published.

    \b
      soundclip describe --manifest clips.jsonl --out answers.jsonl
      soundclip eval judge answers.jsonl --data clips.jsonl --server http://host/v1 --judge-model NAME --out judged

    Exit code: 0, 1 if something failed, 2 if the command line is wrong.
    """
    with reporting(debug):
        check_out(out)
        check_place(out, folder=True)
        check_place(sheet, "--sheet")
        check_media(media)
        if data is None:
            for name, value in (("--split", split), ("--media", media), ("--with-frame", with_frame or None)):
                if value is not None:
                    raise UsageError(f"{name} needs --data, the data set that the answers are about")
        if sheet is not None and sheet.suffix.lower() != ".csv":
            raise UsageError(f"--sheet {sheet}: a sheet is a .csv file")
        require("httpx", what="soundclip eval judge")

        from ...evaluation.judge import AnswerJudge, Known, read_answers, references, summarize
        from ...files import write_text
        from ...text_tables import json_text

        asked = options.server(server, judge_model)
        given = read_answers(answers)
        known = None if data is None else Known.open(data, split=split, media=media, frames=with_frame)
        pairs = list(zip(given, references(given, known)))
        out.mkdir(parents=True, exist_ok=True)
        if sheet is not None:
            _write_sheet(given, sheet)
        judging = AnswerJudge(asked, cache=options.cache or out / ".answers.sqlite")
        judged = list(_judged(with_progress(judging.judge(pairs), len(pairs), "judging")))
        write_text(out / "judged.jsonl", "".join(json_text(one.row) + "\n" for one in judged))
        who: dict[str, Any] = {"model": judge_model, "prompt_id": judging.rubric.prompt_id}
        who |= {"prompt_sha256": judging.rubric.sha256, "with_frame": with_frame, **asked.parameters()}
        results = summarize(
            judged,
            dataset=", ".join(map(str, answers)) if known is None else known.dataset,
            dataset_revision=None if known is None else known.revision,
            judge=who,
            seed=options.seed,
        )
        for path, found in zip(_names(results, out), results):
            found.save(path)
            if as_json:
                result({"out": str(path), **_row(found)})
            else:
                _print(path, found)
        cost = f" for {judging.spent:.4g}" if judging.spent else ""
        note(f"{len(judged)} answers, {judging.requests} requests{cost}; scores and reasons in {out / 'judged.jsonl'}")
        _report_failures(judged)


def _judged(judging: "Iterator[JudgedAnswer]") -> "Iterator[JudgedAnswer]":
    from ...data.inference.server import ServerError

    try:
        yield from judging
    except ServerError as error:
        raise CliError(str(error)) from error


def _report_failures(judged: "Sequence[JudgedAnswer]") -> None:
    from ...evaluation.judge.judging import NO_ANSWER

    empty = sum(one.failure == NO_ANSWER for one in judged)
    if empty:
        warn(f"{empty} of {len(judged)} answers are empty; they have no scores and are not in the means")
    causes, count = Causes(), 0
    for one in judged:
        if one.failure not in (None, NO_ANSWER):
            causes.add({"detail": one.row["detail"], "error": one.failure, "sample_id": one.given.id})
            count += 1
    if count:
        for line in causes.others():
            note(line)
        note(f"failed: {count} of {len(judged)}, most often because: {causes.most_frequent()}")
        raise typer.Exit(FAILED)


def _write_sheet(given: "Sequence[GivenAnswer]", sheet: Path) -> None:
    from ...data.stats.rating_sheet import write_sheet
    from ...evaluation.judge import JUDGE_SCALE

    shown = ("answer_id", "id", "question", "answer")
    # By the hash, so that the order does not tell which model an answer is from.
    rows = sorted(
        ({name: getattr(one, name) for name in shown} for one in given if one.answer), key=lambda row: row["answer_id"]
    )
    write_sheet(rows, sheet, shown, JUDGE_SCALE.columns)
    note(f"{len(rows)} answers to rate in {sheet}")


def _names(results: "Sequence[EvalResult]", out: Path) -> "Iterator[Path]":
    """A file for each result, such as `judge-projected-k150-zero.json`; the model is named where there are several."""
    several = len({found.model for found in results}) > 1
    used: set[str] = set()
    for found in results:
        config = found.config
        parts = [re.sub(r"[^\w.-]+", "-", Path(found.model).name)] if several else []
        parts += [str(config["alignment"])] if config.get("alignment") else []
        # Where raw and projected are mixed, and only there, alpha says something new.
        parts += [f"alpha{config['alpha']:g}"] if _number(config.get("alpha")) and 0 < config["alpha"] < 1 else []
        parts += [f"k{config['k']:g}"] if _number(config.get("k")) else []
        parts += [str(config["mode"])] if config.get("mode") else []
        stem = "-".join(["judge", *parts])
        numbered = (f"{stem}-{number}" for number in range(2, len(results) + 2))
        name = stem if stem not in used else next(one for one in numbered if one not in used)
        used.add(name)
        yield out / f"{name}.json"


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _row(found: "EvalResult") -> dict[str, Any]:
    row: dict[str, Any] = {"model": found.model, "n": found.n, "metrics": found.metrics}
    return row | {"error_bars": found.error_bars, "config": found.config}


def _print(path: Path, found: "EvalResult") -> None:
    settings = [
        f"{name} {found.config[name]}" for name in ("alignment", "alpha", "k") if found.config.get(name) is not None
    ]
    print(f"{', '.join([found.model, *settings])}: n = {found.n} of {found.config['answers']} ({path})")
    for name, value in found.metrics.items():
        interval = found.interval(name)
        ends = f"  [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else ""
        spread = found.error_bars.get("sd", {}).get(name)
        print(f"  {name:<24} {value:6.3f}{ends}{'' if spread is None else f'  sd {spread:.3f}'}")


__all__ = ["judge"]
