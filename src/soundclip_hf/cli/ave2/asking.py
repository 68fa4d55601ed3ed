"""`soundclip ave2 annotate` and `judge`: clips to captions, and either to scores, by any OpenAI-compatible server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from ...extras import require
from ..options import DebugOption as Debug
from ..options import JsonOption as Json
from ..options import TableArgument as Table
from ..options import check_media
from ..output import UsageError, reporting
from .asking_run import Run, limits_of, server_of

BaseUrl = Annotated[str | None, typer.Option(help="Of an OpenAI-compatible server, with /v1.")]
Model = Annotated[str | None, typer.Option(help="As the server calls it.")]
KeyVariable = Annotated[str, typer.Option(help="Variable that holds the key, if there is one.")]
Out = Annotated[Path, typer.Option(help="Parquet file of all rows; it appears when all are done.")]
Cache = Annotated[Path | None, typer.Option(help="File of answers.  [default: OUT with .answers.sqlite]")]
Media = Annotated[Path | None, typer.Option(help="Folder of the clips, <sample_id>.mp4.")]
Concurrency = Annotated[int, typer.Option(min=1, help="Requests at a time.")]
PerMinute = Annotated[float | None, typer.Option(min=0.01)]
Timeout = Annotated[float, typer.Option(min=0.1, help="Seconds for an answer.")]
Attempts = Annotated[int, typer.Option(min=1, help="Tries per answer.")]
Cost = Annotated[float | None, typer.Option(min=0.0, help="Of all runs with this cache; needs the prices.")]
Price = Annotated[float, typer.Option(min=0.0, help="Per million tokens.")]
Seed = Annotated[int, typer.Option(min=0)]
Frames = Annotated[int, typer.Option(min=1, help="Frames of a clip that are sent.")]


def annotate(
    table: Table,
    out: Out,
    media: Media = None,
    base_url: BaseUrl = None,
    model: Model = None,
    video_model: Annotated[str | None, typer.Option(help="Sees.  [default: --model]")] = None,
    audio_model: Annotated[str | None, typer.Option(help="Hears.  [default: --model]")] = None,
    audio_base_url: Annotated[str | None, typer.Option(help="[default: --base-url]")] = None,
    captions: Annotated[
        Path | None, typer.Option(help="Your own: .parquet, .jsonl or .csv with sample_id and captions.")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(metavar="OURS=YOURS", help="Such as video_caption=text; may be repeated.")
    ] = None,
    frames: Frames = 4,
    api_key_env: KeyVariable = "OPENAI_API_KEY",
    cache: Cache = None,
    concurrency: Concurrency = 8,
    requests_per_minute: PerMinute = None,
    tokens_per_minute: PerMinute = None,
    timeout: Timeout = 120.0,
    attempts: Attempts = 6,
    max_cost: Cost = None,
    input_price: Price = 0.0,
    output_price: Price = 0.0,
    seed: Seed = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """
    Describe pictures and sounds of clips, apart from each other, or take captions that you have.

    Columns that are filled are not asked for. A run that was stopped asks only for what it had no answer to; what
    failed is null, and in OUT with .dead.parquet, which can be given as TABLE to ask again.
    """
    with reporting(debug):
        video_model, audio_model = video_model or model, audio_model or model
        if captions is None and not (video_model or audio_model):
            raise UsageError("give --model, or --video-model and/or --audio-model, or your own --captions")
        if column and captions is None:
            raise UsageError("--column says what is what in --captions, which is missing")
        asked = {"video_caption": (base_url, video_model), "audio_caption": (audio_base_url or base_url, audio_model)}
        asked = {step: (url, name) for step, (url, name) in asked.items() if name}
        if asked and media is None:
            raise UsageError("--media FOLDER is missing: the model describes the clips in it")
        check_media(media)
        if any(url is None for url, _ in asked.values()):
            raise UsageError("--base-url is missing: where is the server of the model?")
        require("datasets", "pyarrow", *(["httpx"] if asked else []), what="soundclip ave2 annotate")

        from ...data.annotation.annotate import Annotation, Annotator
        from ...data.annotation.caption_tables import read_captions, with_captions
        from ...data.annotation.captioning import AudioCaptioning, VideoCaptioning
        from ...data.inference.media_parts import Reading

        own = read_captions(captions, _names(column)) if captions is not None else {}
        limits = limits_of(
            api_key_env, concurrency, requests_per_minute, tokens_per_minute, timeout, attempts, seed,
            max_cost, input_price, output_price,
        )  # fmt: skip
        prompts: dict[str, Any] = {
            "video_caption": VideoCaptioning(media, Reading(frames=frames, sampling_rate=0)),
            "audio_caption": AudioCaptioning(media),
        }
        servers = {step: (server_of(url, name, limits), prompts[step]) for step, (url, name) in asked.items()}
        run = Run(table, out, cache)
        annotator = Annotator(servers, run.cache, run.letters, run.earlier)

        def described() -> Iterator[Annotation]:
            yield from annotator.annotate(with_captions(run.rows(), own))

        def keep(done: Annotation) -> dict[str, Any]:
            run.failures.update(f"{step}: {failure}" for step, failure in done.failures.items())
            run.count(done.cached, bool(done.failures))
            return done.row

        run.write(described(), keep, "annotating")
        found = run.report(annotator.requests, annotator.spent)
        if captions is not None:
            found["own_captions"] = len(own)
        found["prompts"] = {step: prompt.sha256 for step, (_, prompt) in servers.items()}
        run.finish(found, "annotated", as_json)


def judge(
    table: Table,
    out: Out,
    base_url: Annotated[str, typer.Option(help="Of an OpenAI-compatible server, with /v1.")],
    model: Annotated[str, typer.Option(help="As the server calls it.")],
    mode: Annotated[
        str, typer.Option(metavar="captions|media", help="What is judged: captions (the paper's way), or the clips.")
    ] = "captions",
    media: Media = None,
    frames: Frames = 4,
    api_key_env: KeyVariable = "OPENAI_API_KEY",
    cache: Cache = None,
    concurrency: Concurrency = 8,
    requests_per_minute: PerMinute = None,
    tokens_per_minute: PerMinute = None,
    timeout: Timeout = 120.0,
    attempts: Attempts = 6,
    max_cost: Cost = None,
    input_price: Price = 0.0,
    output_price: Price = 0.0,
    seed: Seed = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """
    Score sound and picture in five dimensions. What fails is null, and its row is in OUT with .dead.parquet.

    A run that was stopped asks only for what it had no answer to. The dead letters can be given as TABLE: these rows
    are judged again, and replaced in OUT. The prompt is our own wording: the authors' was never published.
    """
    with reporting(debug):
        if mode not in ("captions", "media"):
            raise UsageError(f"--mode {mode}: give captions or media")
        if mode == "media" and media is None:
            raise UsageError("--mode media needs --media FOLDER, the clips")
        check_media(media)
        require("datasets", "httpx", "pyarrow", what="soundclip ave2 judge")

        from ...data.annotation.judge import Judge, Judgement
        from ...data.annotation.rubric import MediaRubric, Rubric
        from ...data.inference.media_parts import Reading

        limits = limits_of(
            api_key_env, concurrency, requests_per_minute, tokens_per_minute, timeout, attempts, seed,
            max_cost, input_price, output_price,
        )  # fmt: skip
        rubric = MediaRubric(media=media, reading=Reading(frames=frames)) if mode == "media" else Rubric()
        run = Run(table, out, cache)
        judging = Judge(server_of(base_url, model, limits), rubric, run.cache, run.letters, run.earlier)

        def keep(done: Judgement) -> dict[str, Any]:
            run.failures.update([done.failure] if done.failure else [])
            run.count(done.cached, bool(done.failure))
            return done.row

        run.write(judging.judge(run.rows()), keep, "judging")
        found = run.report(judging.requests, judging.spent)
        found["judged"] = found["done"]
        run.finish(found | {"prompt_sha256": rubric.sha256}, "judged", as_json)


def _names(columns: list[str] | None) -> dict[str, str]:
    names = {}
    for text in columns or []:
        ours, equals, theirs = text.partition("=")
        if not (ours and equals and theirs):
            raise UsageError(f"--column {text}: write our name, =, and yours, such as video_caption=text")
        names[theirs] = ours
    return names


__all__ = ["annotate", "judge"]
