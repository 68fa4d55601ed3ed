"""`soundclip index`: keep an index of the vectors of a folder's media files up to date."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from .. import options
from ..output import FAILED, CliError, in_options, note, reporting, result, with_progress
from .embed import check_same, open_store


def index(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder with the media files, which may be in folders below it.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the index; it is made if there is none.")],
    modality: options.ModalityOption = options.Modality.auto,
    frame: options.FrameOption = "middle",
    frames: options.FramesOption = 1,
    model: options.ModelOption = None,
    revision: options.RevisionOption = None,
    encoder: options.EncoderOption = None,
    alignment: options.AlignmentOption = None,
    batch_size: options.BatchOption = 8,
    device: options.DeviceOption = "auto",
    dtype: options.DtypeOption = "auto",
    as_json: options.JsonOption = False,
    debug: options.DebugOption = False,
) -> None:
    """
    Index the clips, sounds and pictures of a folder for `soundclip search`.

    Give the same command again to bring the index up to date or to continue a run that was stopped. Files that are new
    or have changed are embedded, and files that are gone are removed.

    \b
      soundclip index videos -o idx
      soundclip search idx siren.wav

    Exit code: 0, 1 if something failed, 2 if the command line is wrong.
    """
    with reporting(debug):
        options.check_out(out)
        moment = options.parse_frame(frame)
        if not folder.is_dir():
            raise CliError(f"{folder}: {'is not a folder' if folder.exists() else 'no such folder'}; pass a folder")
        options.check_place(out, folder=True)
        _check_free(out)

        from ...media_kinds import CLIPS, PICTURES, SOUNDS, media_files
        from ...retrieval.embedding import embed_files, store_all
        from ...retrieval.embedding_store import settings_in
        from ...retrieval.reading import Reading, Source, unchanged
        from ..dual_encoder import load_dual
        from ..loading import ModelChoice

        how = Reading(modality.value, moment, frames)
        place = {"normalized": True, "folder": str(folder.resolve())}
        check_same(settings_in(out), {**how.settings, **place}, out)
        found = media_files(folder, SOUNDS | PICTURES | CLIPS, leave_out=out)
        named = [Source(path.relative_to(folder).as_posix(), str(path)) for path in found.paths]
        sources = [source for source in named if how.wants(source.kind)]
        if said := found.passed_over():
            note(f"{folder}: {said}")
        for path in found.unnamed:
            error = f"{str(path)!r}: its name is not UTF-8, and no index can hold it; rename the file"
            note(f"error: {error}")
            if as_json:
                result({"source": path.relative_to(folder).as_posix(), "error": error})
        if not sources and not out.is_dir():
            raise CliError(f"{folder}: holds no media files for --modality {modality.value}; pass another folder")
        way = alignment and alignment.value
        dual = load_dual(ModelChoice(model, revision, encoder, way, device, dtype))
        settings = {**dual.settings, **how.settings, **place}
        store = open_store(out, settings, out)
        try:
            before = store.entries
            left = [source for source in sources if not unchanged(source, before.get(source.name))]
            failed: set[str] = set()
            rows = store_all(embed_files(left, dual, how, batch_size, True), store, settings)
            with closing(rows):
                for row in with_progress(rows, len(left), "indexing"):
                    if row.error is not None:
                        failed.add(row.source.name)
                        error = in_options(row.error, "modality", "dtype")
                        note(f"error: {error}")
                        if as_json:
                            result({"source": row.source.name, "error": error})
            # What could not be read again must not be found as what it was.
            store.pack(keep={source.name for source in sources} - failed)
            entries = store.entries
            counts = {
                "files": len(entries),
                "sounds": sum(entry.audio for entry in entries.values()),
                "pictures": sum(entry.image for entry in entries.values()),
                "added": sum(source.name not in before and source.name not in failed for source in left),
                "updated": sum(source.name in before and source.name not in failed for source in left),
                "unchanged": len(sources) - len(left),
                "removed": len(before.keys() - {source.name for source in sources}),
                "failed": len(failed) + len(found.unnamed),
            }
        finally:
            store.close()
        note(f"{out}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
        if as_json:
            result({"index": str(out), **counts})
        if failed or found.unnamed:
            raise typer.Exit(FAILED)


def _check_free(out: Path) -> None:
    """
    Check that a folder has an index in it, or nothing.

    Raises:
        CliError: If it holds something else.
    """
    names = sorted(path.name for path in out.iterdir() if not path.name.startswith(".")) if out.is_dir() else []
    if names and not any(name.endswith(".safetensors") and Path(name).stem.isdigit() for name in names):
        raise CliError(f"--out {out}: holds {names[0]} and no index; choose a new or an empty folder")


__all__ = ["index"]
