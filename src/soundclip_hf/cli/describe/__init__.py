"""`soundclip describe`: clips, pictures and sounds in; what a LLaVA that hears them answers out."""

import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...bundled import CLIP
from ..output import FAILED, UsageError, note, reporting, result, with_progress

if TYPE_CHECKING:
    from .items import Item


class Alignment(StrEnum):
    projected = "projected"
    raw = "raw"


class Patches(StrEnum):
    zero = "zero"
    drop = "drop"


def describe(
    sources: Annotated[
        list[str] | None, typer.Argument(metavar="CLIP_OR_IMAGE [SOUND]", help="Files or URLs; see below.")
    ] = None,
    question: Annotated[str, typer.Option("-q", "--question", help="What to ask.")] = "What makes the sound?",
    model: Annotated[
        str | None,
        typer.Option(help="Hub id or folder of a SoundLlava, an adapter or a LLaVA.  [default: bundled tiny]"),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Of --model: a branch, tag or commit.")] = None,
    encoder: Annotated[
        str | None,
        typer.Option(help="Hub id or folder of an audio encoder, such as a Whisper, in place of the model's."),
    ] = None,
    top_k: Annotated[int | None, typer.Option(min=0, help="Patches that stay.  [default: the model's]")] = None,
    alignment: Annotated[
        Alignment | None,
        typer.Option(help="How sound becomes a visual token.  [default: the model's; raw with --encoder]"),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="alpha * raw + (1 - alpha) * projected.  [default: the model's]"),
    ] = None,
    patches: Annotated[
        Patches | None, typer.Option(help="Zero the other patches (the paper), or drop them.  [default: the model's]")
    ] = None,
    frame: Annotated[str, typer.Option(metavar="first|middle|SECONDS", help="The picture of a clip.")] = "middle",
    manifest: Annotated[
        Path | None, typer.Option(help='JSON lines: {"id", "video" | "image" and/or "audio", "question"}.')
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="With --manifest: write answers here; a run that was stopped goes on.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Items at a time; changes no answer.")] = 8,
    max_new_tokens: Annotated[int, typer.Option(min=1)] = 64,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 is greedy; more samples, by --seed.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, or auto.")] = "auto",
    dtype: Annotated[
        str, typer.Option(help="float32, bfloat16, float16; auto is float32 on a CPU, the checkpoint's elsewhere.")
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per item on stdout.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """
    Ask about clips, pictures and sounds. Without a file: about the bundled clip.

    A sound file belongs to the picture or clip right before it, in the place of a clip's own sound; otherwise it is
    heard without picture. A picture alone is described in silence:

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
        moment = parse_frame(frame)
        items = _items(sources or [], manifest, out)

        from ..loading import load
        from .answering import Asking, answer, planned_row

        loaded = load(
            model,
            revision=revision,
            encoder=encoder,
            alignment=alignment and alignment.value,
            device=device,
            dtype=dtype,
            seed=seed,
        )
        asking = Asking(
            question=question,
            top_k=top_k,
            alignment=alignment and alignment.value,
            alpha=alpha,
            patches=patches and patches.value,
            frame=moment,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            seed=seed,
        ).settled(loaded)
        if out is None:
            rows = answer(items, asking, loaded, batch_size)
            failed = _print_all(rows, len(items), as_json or manifest is not None)
        else:
            from .answer_file import AnswerFile

            answers = AnswerFile(out)
            answers.check(planned_row(item, asking, loaded) for item in items)
            left = [item for item in items if item.id not in answers.answered]
            failed = 0
            for row in with_progress(answer(left, asking, loaded, batch_size), len(left), "describing"):
                answers.append(row)
                failed += _failed(row)
            answers.close()
            counts = {"answered": len(left) - failed, "skipped": len(items) - len(left), "failed": failed}
            note(f"{out}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
            if as_json:
                result({"out": str(out), **counts})
        if failed:
            raise typer.Exit(FAILED)


def _items(sources: Sequence[str], manifest: Path | None, out: Path | None) -> "list[Item]":
    from .items import Item, items_of_arguments, read_manifest

    if manifest is None:
        if not sources:
            note("no clip given: the bundled one, a car, a clock and a piano, one of which sounds")
            return [Item(CLIP.name, video=CLIP.name, folder=CLIP.parent)]
        return items_of_arguments(sources)
    if sources:
        raise UsageError(f"--manifest and {sources[0]}: give files or a manifest, not both")
    if out is not None and out.resolve() == manifest.resolve():
        raise UsageError(f"--out {out}: is the manifest itself; choose another file")
    return read_manifest(manifest)


def parse_frame(text: str) -> str | float:
    """`--frame`; raises `UsageError` for what is neither a name nor a time."""
    if text in ("first", "middle"):
        return text
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise UsageError(f"--frame {text}: give first, middle, or seconds >= 0")
    return seconds


def _print_all(rows: Iterable[dict[str, Any]], count: int, as_json: bool) -> int:
    """Print rows as they come; returns how many failed."""
    failed = 0
    for row in rows if sys.stdout.isatty() else with_progress(rows, count, "describing"):
        failed += _failed(row)
        if as_json:
            result(row)
        elif "answer" in row:
            note(_context(row))
            print(row["answer"] if count == 1 else f"{row['id']}: {row['answer']}", flush=True)
    return failed


def _failed(row: dict[str, Any]) -> bool:
    if row.get("error") is not None:
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


__all__ = ["Alignment", "describe", "parse_frame"]
