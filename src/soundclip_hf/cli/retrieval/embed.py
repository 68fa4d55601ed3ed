"""`soundclip embed`: write the vectors of clips, sounds and pictures to a safetensors file."""

import shutil
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import options
from ..output import FAILED, CliError, UsageError, in_options, log, note, reporting, result, with_progress

if TYPE_CHECKING:
    from ...retrieval.embedding_store import Block, EmbeddingStore


def embed(
    files: Annotated[
        list[str], typer.Argument(metavar="FILES...", help="Clips, sounds and pictures, as files or URLs.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The safetensors file to write.")],
    modality: options.ModalityOption = options.Modality.auto,
    frame: options.FrameOption = "middle",
    frames: options.FramesOption = 1,
    model: options.ModelOption = None,
    revision: options.RevisionOption = None,
    encoder: options.EncoderOption = None,
    alignment: options.AlignmentOption = None,
    normalize: Annotated[bool, typer.Option("--normalize", help="Scale every vector to length 1.")] = False,
    batch_size: options.BatchOption = 8,
    device: options.DeviceOption = "auto",
    dtype: options.DtypeOption = "auto",
    as_json: options.JsonOption = False,
    debug: options.DebugOption = False,
) -> None:
    """
    Embed clips, sounds and pictures as vectors of one space.

    The file that is written holds `audio` and `image`, (n, dim) float32, and `entries`, JSON as bytes: one entry for
    each file, in order, which says whether it has a sound and a picture. `read_block` of
    `soundclip_hf.retrieval.embedding_store` reads it.

    To continue a run that was stopped, give the same command again. Files that have not changed are not embedded again.

    \b
      soundclip embed bell.mp4 siren.wav street.jpg -o vectors.safetensors
      soundclip embed *.mp4 --modality audio --encoder openai/whisper-base -o heard.safetensors

    Exit code: 0, 1 if something failed, 2 if the command line is wrong.
    """
    with reporting(debug):
        options.check_out(out)
        options.check_place(out)
        if out.suffix.lower() != ".safetensors":
            raise UsageError(f"--out {out}: vectors are written to a .safetensors file; give a name with this ending")
        moment = options.parse_frame(frame)
        names = list(dict.fromkeys(files))
        # Before torch is imported and a model loaded.
        errors = _missing(names)
        if len(errors) == len(names):
            for name, text in errors.items() if as_json else ():
                result({"source": name, "error": text})
            raise typer.Exit(FAILED)

        from ...files import name_beside, remove_leftovers
        from ...media import without_password
        from ...retrieval.embedding import embed_files, store_all
        from ...retrieval.embedding_store import join, other_settings, write_block
        from ...retrieval.reading import Reading, Source, unchanged
        from ..dual_encoder import load_dual
        from ..loading import ModelChoice

        how = Reading(modality.value, moment, frames)
        made = _made_before(out)
        check_same(made.settings if made else None, {**how.settings, "normalized": normalize}, out)
        sources = [Source(without_password(name), name) for name in names]
        way = alignment and alignment.value
        dual = load_dual(ModelChoice(model, revision, encoder, way, device, dtype))
        settings = {**dual.settings, **how.settings, "normalized": normalize}
        parts = name_beside(out, ".parts")
        remove_leftovers(out.parent)
        store = open_store(parts, settings, out)
        try:
            if made is not None:
                different = other_settings(made.settings, settings)
                if different:
                    raise CliError(f"--out {out}: was made with {different}; give the same options, or another --out")
                here = store.entries
                store.add(made.select(e.source for e in made.entries if e.source not in here))
            kept = [source for source in sources if source.name not in errors]
            left = [source for source in kept if not unchanged(source, store.entries.get(source.name))]
            rows = store_all(embed_files(left, dual, how, batch_size, normalize), store, settings)
            with closing(rows):
                for row in with_progress(rows, len(left), "embedding"):
                    if row.error is not None:
                        errors[row.source.name] = in_options(row.error, "modality", "dtype")
                        note(f"error: {errors[row.source.name]}")
            there = store.entries
            done = [source.name for source in sources if source.name in there and source.name not in errors]
            if done:
                block = join(store.blocks()).select(done)
                write_block(out, block)
                if as_json:
                    _print(block)
            for source in sources if as_json else ():
                if source.name in errors:
                    result({"source": source.name, "error": errors[source.name]})
            # Before the lock is given back: another run may begin in the same folder then.
            shutil.rmtree(parts)
        finally:
            store.close()
        if done:
            note(
                f"{out}: {len(block.audio)} sounds, {len(block.image)} pictures of {len(done)} files "
                f"({len(kept) - len(left)} unchanged), {len(errors)} failed"
            )
        if errors:
            raise typer.Exit(FAILED)


def open_store(folder: Path, settings: dict[str, Any], out: Path) -> "EmbeddingStore":
    """
    Open a store for writing; `out` is the path that was given as `--out`.

    Raises:
        CliError: If it cannot be written, another run does, or it was made with other settings.
    """
    from ...files import InUseError
    from ...retrieval.embedding_store import EmbeddingStore, other_settings

    try:
        store = EmbeddingStore(folder, writing=True)
    except InUseError:
        raise CliError(f"--out {out}: another run is writing to it; wait until it is done, or choose another") from None
    except OSError as error:
        raise CliError(f"--out {out}: {error.strerror}; choose a place that can be written") from error
    different = other_settings(store.settings or settings, settings)
    if different:
        store.close()
        raise CliError(f"--out {out}: was made with {different}; give the same options, or another --out")
    return store


def check_same(made: dict[str, Any] | None, wanted: dict[str, Any], out: Path) -> None:
    """
    Check settings that need no model, before one is loaded.

    Args:
        made: All settings of what is there; None if there is nothing.

    Raises:
        CliError: If one of `wanted` differs.
    """
    from ...retrieval.embedding_store import other_settings

    different = other_settings({key: made.get(key) for key in wanted}, wanted) if made else None
    if different:
        raise CliError(f"--out {out}: was made with {different}; give the same options, or another --out")


def _missing(names: list[str]) -> dict[str, str]:
    """Print the errors of those that cannot be media files; returns them by name."""
    from ...media import MediaError, without_password
    from ..sources import check_source

    errors: dict[str, str] = {}
    for name in names:
        try:
            check_source(name)
        except MediaError as error:
            log.debug("%s", name, exc_info=True)
            errors[without_password(name)] = str(error)
            note(f"error: {error}")
    return errors


def _made_before(out: Path) -> "Block | None":
    from ...retrieval.embedding_store import read_block

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


__all__ = ["check_same", "embed", "open_store"]
