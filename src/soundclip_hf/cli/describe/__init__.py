"""`soundclip describe`: ask a SoundLlava about clips, pictures and sounds."""

import sys
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import options
from ..output import FAILED, UsageError, note, reporting, result, with_progress

if TYPE_CHECKING:
    from .items import Item


def describe(
    sources: options.SourcesArgument = None,
    question: Annotated[str, typer.Option("-q", "--question", help="What to ask.")] = "What makes the sound?",
    model: options.AnsweringModelOption = None,
    revision: options.RevisionOption = None,
    encoder: options.EncoderOption = None,
    top_k: options.TopKOption = None,
    alignment: options.AlignmentOption = None,
    alpha: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Weight of the raw embedding: alpha * raw + (1 - alpha) * projected.  [default: the model's setting]",
        ),
    ] = None,
    patches: options.PatchesOption = None,
    frame: options.FrameOption = "middle",
    manifest: Annotated[
        Path | None,
        typer.Option(
            help='JSON lines to read in place of files: {"id", "video" | "image" and/or "audio", "question"}.'
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="With --manifest: the JSON lines file of the answers. A stopped run continues with it."
        ),
    ] = None,
    batch_size: options.BatchOption = 8,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="How many tokens an answer may have.")] = 64,
    temperature: Annotated[
        float, typer.Option(min=0.0, help="0 takes the most probable token; above 0, tokens are sampled.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of sampling and of weights that no checkpoint has.")] = 0,
    device: options.DeviceOption = "auto",
    dtype: options.DtypeOption = "auto",
    as_json: options.JsonOption = False,
    debug: options.DebugOption = False,
) -> None:
    """
    Ask a question about clips, pictures and sounds.

    A sound file belongs to the picture or clip right before it; it takes the place of the clip's own sound. A sound
    that follows neither is heard without a picture, and a picture without a sound is described in silence. Without
    files, the bundled clip is described.

    \b
      soundclip describe bell.mp4
      soundclip describe street.jpg siren.wav -q "What is happening?"
      soundclip describe a.mp4 b.mp4 street.jpg siren.wav --json
      soundclip describe --manifest clips.jsonl --out answers.jsonl

    Exit code: 0, 1 if something failed, 2 if the command line is wrong.
    """
    with reporting(debug):
        if out is not None and manifest is None:
            raise UsageError("--out needs --manifest; without it answers go to stdout")
        options.check_out(out)
        options.check_question(question)
        moment = options.parse_frame(frame)
        options.check_place(out)
        items = _items(sources or [], manifest, out)
        as_rows = as_json or manifest is not None
        if out is None:
            items = _checked(items)
            # Before torch is imported, and a model loaded, which takes minutes for a large one.
            if all(item.error is not None for item in items):
                for item in items if as_rows else ():
                    result({"id": item.id, **item.media, "question": item.question or question, "error": item.error})
                raise typer.Exit(FAILED)

        from ..loading import ModelChoice, load
        from .answer_file import AnswerFile
        from .answering import Asking, answer, given_row, planned_row

        how = alignment and alignment.value
        choice = ModelChoice(model, revision, encoder, how, device, dtype, seed)
        asking = Asking(
            question=question,
            top_k=top_k,
            alignment=how,
            alpha=alpha,
            patches=patches and patches.value,
            frame=moment,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            seed=seed,
        )
        answers = AnswerFile(out) if out is not None and out.exists() else None
        if answers is not None:
            answers.check(given_row(item, asking, choice.shown_name, encoder) for item in items)
        left = [item for item in items if answers is None or item.id not in answers.answered]
        left = left if out is None else _checked(left)
        rows: Iterable[dict[str, Any]]
        if left and all(item.error is not None for item in left):
            rows = ({**given_row(one, asking, choice.shown_name, encoder), "error": one.error} for one in left)
        else:
            loaded = load(choice)
            asking = asking.settled(loaded)
            if answers is not None:
                answers.check(planned_row(item, asking, loaded) for item in items)
            rows = answer(left, asking, loaded, batch_size)
        told = {item.id for item in left if item.error is not None}
        if out is None:
            failed = _print_all(rows, len(items), as_rows, told)
        else:
            answers = answers or AnswerFile(out)
            failed = 0
            for row in with_progress(rows, len(left), "describing"):
                answers.append(row)
                failed += _failed(row, told)
            answers.close()
            counts = {"answered": len(left) - failed, "skipped": len(items) - len(left), "failed": failed}
            note(f"{out}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
            if as_json:
                result({"out": str(out), **counts})
        if failed:
            raise typer.Exit(FAILED)


def _items(sources: Sequence[str], manifest: Path | None, out: Path | None) -> "list[Item]":
    from .items import bundled_item, items_of_arguments, read_manifest

    if manifest is None:
        return items_of_arguments(sources) if sources else [bundled_item()]
    if sources:
        raise UsageError(f"--manifest and {sources[0]}: give files or a manifest, not both")
    if out is not None and out.resolve() == manifest.resolve():
        raise UsageError(f"--out {out}: is the manifest itself; choose another file")
    return read_manifest(manifest)


def _checked(items: "Iterable[Item]") -> "list[Item]":
    """The items, those with files that cannot be media with an error, which is printed."""
    from .items import checked

    found = [checked(item) for item in items]
    for item in found:
        if item.error is not None:
            note(f"error: {item.error}")
    return found


def _print_all(rows: Iterable[dict[str, Any]], count: int, as_json: bool, told: Container[str]) -> int:
    """Print rows as they come; returns how many failed. The errors of items in `told` were printed before."""
    failed = 0
    for row in rows if sys.stdout.isatty() else with_progress(rows, count, "describing"):
        failed += _failed(row, told)
        if as_json:
            result(row)
        elif "answer" in row:
            note(_context(row))
            print(row["answer"] if count == 1 else f"{row['id']}: {row['answer']}", flush=True)
    return failed


def _failed(row: dict[str, Any], told: Container[str]) -> bool:
    if row.get("error") is not None and row["id"] not in told:
        note(f"error: {row['error']}")
    return row.get("error") is not None


def _context(row: dict[str, Any]) -> str:
    parts = [row["id"]]
    if row["frame_time"] is not None:
        parts.append(f"frame at {row['frame_time']:.2f} s")
    if row["sound_seconds"] is None:
        return " · ".join([*parts, "no sound", row["question"]])
    parts.append(f"{row['sound_seconds']:.1f} s of sound, {row['alignment']}")
    if row["kept"] is not None:
        parts.append(f"{row['kept']} of {row['patches']} patches kept ({row['mode']})")
    return " · ".join([*parts, row["question"]])


__all__ = ["describe"]
