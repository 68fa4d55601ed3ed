"""`soundclip ave2 segment` and `judge`: videos to clips, clips with captions to scores."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from .output import FAILED, CliError, UsageError, note, reporting, result, with_progress

Table = Annotated[Path, typer.Argument(help="A .parquet, .jsonl or the authors' .json file, or a folder of them.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, one object per line.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


def segment(
    videos: Annotated[list[Path], typer.Argument(help="Video files, or folders of them.")],
    out: Annotated[Path, typer.Option(help="Folder of the clips and of segments.jsonl, their table.")],
    max_side: Annotated[int | None, typer.Option(min=16, help="Longest side, in pixels.  [default: as it is]")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes.  [default: one per core]")] = None,
    backend: Annotated[str, typer.Option(metavar="auto|ffmpeg|pyav")] = "auto",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Cut long videos into clips of 3 seconds. What is finished is not cut again; clips that are not kept say why."""
    with reporting(debug):
        if backend not in ("auto", "ffmpeg", "pyav"):
            raise UsageError(f"--backend {backend}: give auto, ffmpeg or pyav")

        from ..data.cuts import Cutting, Job
        from ..data.manifest import media_files
        from ..data.segment import Encoding, cut_all

        jobs = []
        for path in videos:
            found = sorted(media_files(path)) if path.is_dir() else [path]
            if not found:
                raise CliError(f"{path}: has no video files")
            jobs += [Job(str(file), file.stem) for file in found]
        cutting = Cutting(Encoding(max_side=max_side), backend=backend)
        clips, rejects = 0, Counter[str]()
        tables: dict[str, list[str]] = {}
        for made in with_progress(cut_all(jobs, out, cutting, workers), len(jobs), "cutting"):
            tables[made.job.video_id] = [json.dumps(row, ensure_ascii=False) for row in made.rows()]
            clips += len(made.segments)
            rejects.update(reject.reason for reject in made.rejects)
            for reject in made.rejects:
                name = reject.video_id if reject.segment is None else f"{reject.video_id}, clip {reject.segment}"
                note(f"rejected: {name}: {reject.reason}: {reject.detail}")
            if as_json:
                result(
                    {
                        "video_id": made.job.video_id,
                        "clips": [clip.path for clip in made.segments],
                        "rejects": [{"segment": r.segment, "reason": r.reason} for r in made.rejects],
                    }
                )
        _write_lines(out / "segments.jsonl", (line for job in jobs for line in tables[job.video_id]))
        if not as_json:
            print(f"{clips} clips of {len(jobs)} videos in {out}; rejected: {dict(rejects) or 'none'}")
        if not clips:
            raise typer.Exit(FAILED)


def judge(
    table: Table,
    out: Annotated[Path, typer.Option(help="Parquet file of the judged rows; it appears when all are done.")],
    base_url: Annotated[str, typer.Option(help="Of an OpenAI-compatible server, with /v1.")],
    model: Annotated[str, typer.Option(help="As the server calls it.")],
    api_key_env: Annotated[str, typer.Option(help="Variable that holds the key, if there is one.")] = "OPENAI_API_KEY",
    cache: Annotated[Path | None, typer.Option(help="File of answers.  [default: OUT with .answers.sqlite]")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests at a time.")] = 8,
    requests_per_minute: Annotated[float | None, typer.Option(min=0.01)] = None,
    tokens_per_minute: Annotated[float | None, typer.Option(min=1)] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds for an answer.")] = 120.0,
    attempts: Annotated[int, typer.Option(min=1, help="Tries per answer.")] = 6,
    max_cost: Annotated[float | None, typer.Option(min=0.0, help="Needs the prices.")] = None,
    input_price: Annotated[float, typer.Option(min=0.0, help="Per million tokens.")] = 0.0,
    output_price: Annotated[float, typer.Option(min=0.0, help="Per million tokens.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """
    Score captions in five dimensions. A judgement that fails is null; OUT with .dead.jsonl says why.

    A run that was stopped asks only for what it had no answer to. The prompt is our own wording: the authors' was
    never published.
    """
    with reporting(debug):
        if max_cost is not None and not (input_price or output_price):
            raise UsageError("--max-cost needs --input-price and --output-price, per million tokens")

        from ..data.chat_client import Server, ServerError
        from ..data.judge import Judge, Judgement
        from ..data.tables import read_rows, write_parquet

        server = Server(
            base_url,
            model,
            os.environ.get(api_key_env),
            concurrency=concurrency,
            timeout=timeout,
            attempts=attempts,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
            seed=seed,
            budget=max_cost,
            input_price=input_price,
            output_price=output_price,
        )
        count = sum(1 for _ in read_rows(table))
        letters = out.with_name(f"{out.name}.dead.jsonl")
        letters.unlink(missing_ok=True)
        judging = Judge(server, cache=cache or out.with_name(f"{out.name}.answers.sqlite"), dead_letters=letters)
        failures, cached = Counter[str](), 0

        def rows(judged: Iterator[Judgement]) -> Iterator[dict[str, Any]]:
            nonlocal cached
            for done in with_progress(judged, count, "judging"):
                failures.update([done.failure] if done.failure else [])
                cached += done.cached
                yield done.row

        try:
            written = write_parquet(rows(judging.judge(read_rows(table))), out)
        except ServerError as error:
            raise CliError(str(error)) from error
        failed = sum(failures.values())
        found = {"rows": written, "judged": written - failed, "cached": cached, "failed": dict(failures)}
        found |= {"requests": judging.requests, "cost": judging.spent, "prompt_sha256": judging.rubric.sha256}
        if as_json:
            result(found)
        else:
            print(f"{found['judged']} of {written} rows judged with {judging.requests} requests, in {out}")
        if failed:
            note(f"failed: {dict(failures)}; see {letters}")
            raise typer.Exit(FAILED)


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    os.replace(partial, path)


__all__ = ["Debug", "Json", "Table", "judge", "segment"]
