"""`soundclip ave2 annotate` and `judge`: captions of clips, and scores, from models on OpenAI-compatible servers."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ...extras import require
from ..options import DebugOption, JsonOption, MediaOption, TableArgument, check_media
from ..output import UsageError, reporting
from ..server_options import ClipRequestOptions, with_options
from .asking_run import TableRun

BASE_URL_HELP = "Address of an OpenAI-compatible server, with /v1."
MODEL_HELP = "Name of the model on the server."
OutOption = Annotated[Path, typer.Option("-o", "--out", help="Parquet file of all rows. It appears when all are done.")]


@with_options
def annotate(
    table: TableArgument,
    out: OutOption,
    media: MediaOption = None,
    base_url: Annotated[str | None, typer.Option(help=BASE_URL_HELP)] = None,
    model: Annotated[str | None, typer.Option(help=MODEL_HELP)] = None,
    video_model: Annotated[str | None, typer.Option(help="Model that gets the frames.  [default: --model]")] = None,
    audio_model: Annotated[str | None, typer.Option(help="Model that gets the sound.  [default: --model]")] = None,
    audio_base_url: Annotated[
        str | None, typer.Option(help="Server of the model that gets the sound.  [default: --base-url]")
    ] = None,
    captions: Annotated[
        Path | None, typer.Option(help="Your own captions: .parquet, .jsonl or .csv with a column sample_id.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="OURS=YOURS", help="A column of --captions, such as video_caption=text; may be repeated."),
    ] = None,
    *,
    options: ClipRequestOptions,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """
    Add captions to a table of clips, from models or from a table of your own. Frames and sound are captioned apart.

    Captions that a row already has are not asked for. After a stop, the same command goes on: answers that came are
    not asked for again. A caption that fails is null, and its row is written to OUT with .dead.parquet. Give that file
    as TABLE to ask for these rows again.

    Exit code: 0, 1 if something failed, 2 if the command line is wrong.
    """
    with reporting(debug):
        video_model, audio_model = video_model or model, audio_model or model
        if captions is None and not (video_model or audio_model):
            raise UsageError("give --model, or --video-model and/or --audio-model, or your own --captions")
        if column and captions is None:
            raise UsageError("--column names columns of --captions, which is missing")
        models = {"video_caption": (base_url, video_model), "audio_caption": (audio_base_url or base_url, audio_model)}
        models = {step: (url, name) for step, (url, name) in models.items() if name}
        if models and media is None:
            raise UsageError("--media FOLDER is missing: the folder of the clips that the model describes")
        check_media(media)
        if any(url is None for url, _ in models.values()):
            raise UsageError("--base-url is missing: the address of the server of the model")
        require("datasets", "pyarrow", *(["httpx"] if models else []), what="soundclip ave2 annotate")

        from ...data.annotation.annotate import Annotation, Annotator
        from ...data.annotation.caption_tables import read_captions, with_captions
        from ...data.annotation.captioning import AudioCaptioning, VideoCaptioning
        from ...data.inference.media_parts import MediaOptions

        own = read_captions(captions, _names(column)) if captions is not None else {}
        prompts: dict[str, Any] = {
            "video_caption": VideoCaptioning(media, MediaOptions(frames=options.frames, sampling_rate=0)),
            "audio_caption": AudioCaptioning(media),
        }
        captioners = {
            step: (options.server(str(url), str(name)), prompts[step]) for step, (url, name) in models.items()
        }
        run = TableRun(table, out, options.cache, asks=bool(models))
        annotator = Annotator(captioners, run.cache, run.letters, run.earlier)

        def finished_row(annotation: Annotation) -> dict[str, Any]:
            run.failures.update(f"{step}: {failure}" for step, failure in annotation.failures.items())
            run.count(annotation.cached, bool(annotation.failures))
            return annotation.row

        run.write(annotator.annotate(with_captions(run.rows(), own)), finished_row, "annotating")
        summary = run.summary(annotator.requests, annotator.spent)
        if captions is not None:
            summary["own_captions"] = len(own)
        summary["prompts"] = {step: prompt.sha256 for step, (_, prompt) in captioners.items()}
        run.finish(summary, "annotated", as_json)


@with_options
def judge(
    table: TableArgument,
    out: OutOption,
    base_url: Annotated[str, typer.Option(help=BASE_URL_HELP)],
    model: Annotated[str, typer.Option(help=MODEL_HELP)],
    mode: Annotated[
        str, typer.Option(metavar="captions|media", help="What the model gets: captions (as in the paper), or clips.")
    ] = "captions",
    media: MediaOption = None,
    *,
    options: ClipRequestOptions,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """
    Score how well the sound of a clip fits its picture, in five dimensions. A score that fails is null.

    After a stop, the same command goes on: answers that came are not asked for again. Rows that failed are written to
    OUT with .dead.parquet. Give that file as TABLE to judge these rows again and replace them in OUT. The prompt is our
    own wording, since the authors' was never published.

    Exit code: 0, 1 if something failed, 2 if the command line is wrong.
    """
    with reporting(debug):
        if mode not in ("captions", "media"):
            raise UsageError(f"--mode {mode}: give captions or media")
        if mode == "media" and media is None:
            raise UsageError("--mode media needs --media FOLDER, the folder of the clips")
        check_media(media)
        require("datasets", "httpx", "pyarrow", what="soundclip ave2 judge")

        from ...data.annotation.judge import Judge, Judgement
        from ...data.annotation.rubric import MediaRubric, Rubric
        from ...data.inference.media_parts import MediaOptions

        server, rubric = options.server(base_url, model), Rubric()
        if mode == "media":
            rubric = MediaRubric(media=media, media_options=MediaOptions(frames=options.frames))
        run = TableRun(table, out, options.cache)
        judging = Judge(server, rubric, run.cache, run.letters, run.earlier)

        def finished_row(judgement: Judgement) -> dict[str, Any]:
            run.failures.update([judgement.failure] if judgement.failure else [])
            run.count(judgement.cached, bool(judgement.failure))
            return judgement.row

        run.write(judging.judge(run.rows()), finished_row, "judging")
        summary = run.summary(judging.requests, judging.spent)
        summary |= {"judged": summary["done"], "prompt_sha256": rubric.sha256}
        run.finish(summary, "judged", as_json)


def _names(columns: list[str] | None) -> dict[str, str]:
    names = {}
    for text in columns or []:
        ours, equals, theirs = text.partition("=")
        if not (ours and equals and theirs):
            raise UsageError(f"--column {text}: write our name, =, and yours, such as video_caption=text")
        names[theirs] = ours
    return names


__all__ = ["annotate", "judge"]
