"""`soundclip embed`: clips, sounds and pictures in; a safetensors file of their vectors out."""

import shutil
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .describe import Alignment, parse_frame
from .output import FAILED, CliError, note, reporting, result, with_progress

if TYPE_CHECKING:
    from ..retrieval.embedding_store import Block, EmbeddingStore


class Modality(StrEnum):
    auto = "auto"
    audio = "audio"
    image = "image"
    both = "both"


ModelOption = Annotated[
    str | None,
    typer.Option("--model", help="Hub id or folder: SoundClip, SoundLlava or adapter.  [default: bundled tiny]"),
]
RevisionOption = Annotated[str | None, typer.Option("--revision", help="Of --model: a branch, tag or commit.")]
EncoderOption = Annotated[
    str | None,
    typer.Option("--encoder", help="Hub id or folder of an audio encoder, such as a Whisper, in place of the model's."),
]
AlignmentOption = Annotated[
    Alignment | None,
    typer.Option(
        "--alignment", help="How sound enters the pictures' space.  [default: the model's; raw with --encoder]"
    ),
]
ModalityOption = Annotated[Modality, typer.Option("--modality", help="What to embed; auto: whatever a file holds.")]
FrameOption = Annotated[str, typer.Option("--frame", metavar="first|middle|SECONDS", help="The picture of a clip.")]
FramesOption = Annotated[
    int, typer.Option("--frames", min=1, help="More than 1: the mean over so many frames of a clip, evenly spaced.")
]
BatchOption = Annotated[int, typer.Option("--batch-size", min=1, help="Files at a time.")]
DeviceOption = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, or auto.")]
DtypeOption = Annotated[
    str,
    typer.Option("--dtype", help="float32, bfloat16, float16; auto is float32 on a CPU, the checkpoint's elsewhere."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object per line on stdout.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


def embed(
    files: Annotated[list[str], typer.Argument(metavar="FILES...", help="Clips, sounds, pictures; files or URLs.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The safetensors file to write.")],
    modality: ModalityOption = Modality.auto,
    normalize: Annotated[bool, typer.Option("--normalize", help="L2-normalise the vectors.")] = False,
    frame: FrameOption = "middle",
    frames: FramesOption = 1,
    model: ModelOption = None,
    revision: RevisionOption = None,
    encoder: EncoderOption = None,
    alignment: AlignmentOption = None,
    batch_size: BatchOption = 8,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """
    Embed clips, sounds and pictures as vectors of one space.

    The file holds `audio` and `image`, (n, dim) float32, and `entries`, JSON as bytes: the files in order, each with
    whether it has a sound and a picture. `soundclip_hf.retrieval.embedding_store.read_block` reads all of it.

    A run that was stopped goes on where it was when the command is given again; files that have not changed are not
    embedded again.

    \b
      soundclip embed bell.mp4 siren.wav street.jpg -o vectors.safetensors
      soundclip embed *.mp4 --modality audio --encoder openai/whisper-base -o heard.safetensors

    Exit code: 0, 1 if something failed, 2 if the command line is wrong.
    """
    with reporting(debug):
        moment = parse_frame(frame)
        names = list(dict.fromkeys(files))

        from ..retrieval.embedding import embed_files, store_all
        from ..retrieval.embedding_store import join, other_settings, write_block
        from ..retrieval.reading import Reading, Source, unchanged
        from .dual_encoder import load_dual

        made = _made_before(out)
        dual = load_dual(
            model,
            revision=revision,
            encoder=encoder,
            alignment=alignment and alignment.value,
            device=device,
            dtype=dtype,
        )
        how = Reading(modality.value, moment, frames)
        settings = {**dual.settings, **how.settings, "normalized": normalize}
        parts = out.with_name(f".{out.name}.parts")
        store = open_store(parts, settings, "--out")
        try:
            if made is not None:
                different = other_settings(made.settings, settings)
                if different:
                    raise CliError(f"--out {out}: was made with {different}; give the same options, or another --out")
                here = store.entries
                store.add(made.select(e.source for e in made.entries if e.source not in here))
            sources = [Source(name, name) for name in names]
            left = [source for source in sources if not unchanged(source, store.entries.get(source.name))]
            errors: dict[str, str] = {}
            rows = store_all(embed_files(left, dual, how, batch_size, normalize), store, settings)
            with closing(rows):
                for row in with_progress(rows, len(left), "embedding"):
                    if row.error is not None:
                        errors[row.source.name] = row.error
                        note(f"error: {row.error}")
            there = store.entries
            done = [name for name in names if name in there and name not in errors]
            if done:
                block = join(store.blocks()).select(done)
                write_block(out, block)
                if as_json:
                    _print(block)
            for name, error in errors.items() if as_json else ():
                result({"source": name, "error": error})
        finally:
            store.close()
        shutil.rmtree(parts)
        if done:
            note(
                f"{out}: {len(block.audio)} sounds, {len(block.image)} pictures of {len(done)} files "
                f"({len(names) - len(left)} unchanged), {len(errors)} failed"
            )
        if errors:
            raise typer.Exit(FAILED)


def open_store(folder: Path, settings: dict[str, Any], option: str) -> "EmbeddingStore":
    """
    Open a store for writing.

    Raises:
        CliError: If it cannot be written, another run does, or it was made with other settings.
    """
    from ..retrieval.embedding_store import EmbeddingStore, other_settings

    try:
        store = EmbeddingStore(folder, writing=True)
    except OSError as error:
        raise CliError(f"{option} {folder}: {error.strerror}; choose a place that can be written") from error
    different = other_settings(store.settings or settings, settings)
    if different:
        store.close()
        raise CliError(f"{option} {folder}: was made with {different}; give the same options, or another {option}")
    return store


def _made_before(out: Path) -> "Block | None":
    from ..retrieval.embedding_store import read_block

    if out.is_dir():
        raise CliError(f"--out {out}: is a folder; choose a file")
    if not out.exists():
        return None
    try:
        return read_block(out)
    except ValueError as error:
        raise CliError(f"--out {out}: exists, and is no file of this command; choose another") from error


def _print(block: "Block") -> None:
    for entry, audio, image in zip(block.entries, block.rows("audio"), block.rows("image")):
        result(
            {
                "source": entry.source,
                "audio": audio,
                "image": image,
                "sound_seconds": entry.seconds,
                "frame_time": entry.frame_time,
            }
        )


__all__ = ["embed", "open_store"]
