"""Options and arguments that several commands share, so that each has one name, one help text and one default rule."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .. import text_tables
from .output import CliError, UsageError


class Modality(StrEnum):
    auto = "auto"
    audio = "audio"
    image = "image"
    both = "both"


class Alignment(StrEnum):
    projected = "projected"
    raw = "raw"


class Patches(StrEnum):
    zero = "zero"
    drop = "drop"


ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Hub id or folder of a SoundClip, a SoundLlava or an adapter.  [default: the bundled tiny model]",
    ),
]
AnsweringModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Hub id or folder of a SoundLlava, an adapter or a LLaVA.  [default: the bundled tiny model]",
    ),
]
SourcesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="CLIP_OR_IMAGE [SOUND]", help="Files or URLs; a sound follows its picture or clip."),
]
TopKOption = Annotated[
    int | None,
    typer.Option(
        "--top-k",
        min=0,
        help="How many patches of a picture to keep beside its sound.  [default: the model's setting]",
    ),
]
PatchesOption = Annotated[
    Patches | None,
    typer.Option(
        "--patches",
        help="Set the other patches to zero, as the paper does, or drop them.  [default: the model's setting]",
    ),
]
RevisionOption = Annotated[str | None, typer.Option("--revision", help="Branch, tag or commit of --model.")]
EncoderOption = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        help="Hub id or folder of an audio encoder, such as a Whisper, to use in place of the model's own.",
    ),
]
AlignmentOption = Annotated[
    Alignment | None,
    typer.Option(
        "--alignment",
        help="Send the sound's embedding through the trained projector, or use it raw.  [default: the model's setting; "
        "raw with --encoder]",
    ),
]
ModalityOption = Annotated[
    Modality,
    typer.Option("--modality", help="What to embed. auto takes whatever a file has; both needs a sound and a picture."),
]
FrameOption = Annotated[
    str, typer.Option("--frame", metavar="first|middle|SECONDS", help="Which frame of a clip is its picture.")
]
FramesOption = Annotated[
    int,
    typer.Option(
        "--frames", min=1, help="With more than 1, embed the mean of this many evenly spaced frames, not --frame."
    ),
]
BatchOption = Annotated[int, typer.Option("--batch-size", min=1, help="How many inputs to process at a time.")]
DeviceOption = Annotated[
    str, typer.Option("--device", help="Where to run: cpu, cuda or cuda:1; auto takes a GPU if there is one.")
]
HostOption = Annotated[str, typer.Option("--host", help="Address to listen at; 0.0.0.0 is every one.")]
PortOption = Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen at; 0 is a free one.")]
DtypeOption = Annotated[
    str,
    typer.Option(
        "--dtype",
        help="Type of the weights: float32, bfloat16 or float16; auto is float32 on a CPU and the checkpoint's own "
        "type on a GPU.",
    ),
]
TableArgument = Annotated[
    Path,
    typer.Argument(
        metavar="TABLE", help="A .parquet or .jsonl file, the authors' .json file, or a folder of such files."
    ),
]
MediaOption = Annotated[
    Path | None, typer.Option("--media", help="Folder of the clips, which are named <sample_id>.mp4.")
]
_DATA = typer.Option(
    "--data",
    help="What to measure on: synthetic, a folder of clips, a table (.jsonl, .parquet), a folder of shards, or a data "
    "set on the Hub.",
    show_default=False,
)
DataOption = Annotated[str, _DATA]
OptionalDataOption = Annotated[str | None, _DATA]
SplitOption = Annotated[
    str | None,
    typer.Option("--split", help="Split of --data.  [default: eval, test or validation where there is one, else all]"),
]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="Take at most this many samples.")]
UniqueVideoOption = Annotated[
    bool,
    typer.Option(
        "--unique-video/--all-segments",
        help="Take one segment of each video, drawn by --seed. Others of it would count as wrong answers.",
    ),
]
EmbeddingCacheOption = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        help="File (.safetensors) to keep the embeddings in. What is there is not embedded again, also where a run was "
        "killed.",
    ),
]
InclusiveOption = Annotated[
    bool, typer.Option("--inclusive", help="Subsets keep scores that equal a threshold, too: >= in place of >.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, one object per line.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def parse_frame(text: str) -> str | float:
    """
    The value of `--frame`: "first", "middle", or a time in seconds.

    Raises:
        UsageError: If it is none of these.
    """
    if text in ("first", "middle"):
        return text
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise UsageError(f"--frame {text}: give first, middle, or seconds >= 0")
    return seconds


def check_out(out: Path | None) -> None:
    """
    Check that an output is not written to a folder whose name is `~` or `~user`, where the shell left that as it is.

    Raises:
        UsageError: If it would be.
    """
    if out is not None and out.parts and out.parts[0].startswith("~") and not Path(out.parts[0]).exists():
        raise UsageError(f"--out {out}: {out.parts[0]} is no home folder that the shell knows; write the whole path")


def check_place(path: Path | None, option: str = "--out", *, folder: bool = False) -> None:
    """
    Check that an output can be written, before the work that it is for: the folders above it may be made later.

    Args:
        folder: Whether the output is a folder; otherwise it is a file.

    Raises:
        UsageError: If there is a folder in place of the file, or a file in place of the folder.
        CliError: If a folder above it is a file, or cannot be written.
    """
    if path is None:
        return
    if path.exists() and path.is_dir() != folder:
        raise UsageError(f"{option} {path}: is a {'file; name a folder' if folder else 'folder; name a file'}")
    above = next(one for one in (path, *path.parents) if one.is_dir() or one.is_file())
    if above != path and not above.is_dir():
        raise CliError(f"{option} {path}: {above} is a file and can hold no files; name another place")
    if not os.access(above, os.W_OK):
        raise CliError(f"{option} {path}: {above} cannot be written; name another place")


def check_media(folder: Path | None) -> None:
    """
    Check the folder of `--media` once, so that a wrong one is not an error of every clip.

    Raises:
        UsageError: If there is no such folder.
    """
    if folder is not None and not folder.is_dir():
        raise UsageError(f"--media {folder}: {'is not a folder' if folder.exists() else 'no such folder'}")


def check_question(question: str | None) -> None:
    """
    Raises:
        UsageError: If `--question` is empty, or cannot be written into a result.
    """
    try:
        if question is not None:
            text_tables.check_question(question)
    except ValueError as error:
        raise UsageError(f"--question: {error}") from error


__all__ = [
    "Alignment",
    "AlignmentOption",
    "AnsweringModelOption",
    "BatchOption",
    "DataOption",
    "DebugOption",
    "DeviceOption",
    "DtypeOption",
    "EmbeddingCacheOption",
    "EncoderOption",
    "FrameOption",
    "FramesOption",
    "HostOption",
    "InclusiveOption",
    "JsonOption",
    "LimitOption",
    "MediaOption",
    "Modality",
    "ModalityOption",
    "ModelOption",
    "OptionalDataOption",
    "Patches",
    "PatchesOption",
    "PortOption",
    "RevisionOption",
    "SourcesArgument",
    "SplitOption",
    "TableArgument",
    "TopKOption",
    "UniqueVideoOption",
    "check_media",
    "check_out",
    "check_place",
    "check_question",
    "parse_frame",
]
