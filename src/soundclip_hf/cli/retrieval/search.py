"""`soundclip search`: find the pictures that go with a sound, or the sounds that go with a picture."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..options import DebugOption, DeviceOption, DtypeOption, JsonOption
from ..output import CliError, UsageError, in_options, note, reporting, result

if TYPE_CHECKING:
    from ...retrieval.embedding import Dual
    from ...retrieval.embedding_store import Block, Kind


class By(StrEnum):
    audio = "audio"
    image = "image"


def search(
    index: Annotated[Path, typer.Argument(metavar="INDEX", help="Folder that `soundclip index` made.")],
    query: Annotated[str, typer.Argument(metavar="QUERY", help="A sound, a picture or a clip, as a file or URL.")],
    top_k: Annotated[int, typer.Option("-k", "--top-k", min=1, help="How many matches to show.")] = 5,
    by: Annotated[
        By | None, typer.Option(help="Whether to search by the sound of a clip or by its picture.  [default: audio]")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Hub id or folder of the index's model, if it has moved.  [default: as in the index]"),
    ] = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """
    Search an index: a sound finds frames, and a picture finds sounds.

    Every vector of the index is compared with the query by cosine.

    \b
      soundclip search idx siren.wav -k 10
      soundclip search idx clip.mp4 --by image --json

    Exit code: 0, 1 if something failed, 2 if the command line is wrong.
    """
    with reporting(debug):
        from ...media_kinds import kind_of
        from ..sources import check_source

        kind = kind_of(query)
        if by is not None and kind not in ("video", by.value):
            raise UsageError(f"--by {by.value}: {query} is a {'sound' if kind == 'audio' else 'picture'}")
        check_source(query)
        asked: Kind = "image" if (by.value if by else kind) == "image" else "audio"
        wanted: Kind = "audio" if asked == "image" else "image"
        what = "frames" if wanted == "image" else "sounds"
        blocks, settings = open_index(index)
        if not any(len(getattr(block, wanted)) for block in blocks):
            raise CliError(f"{index}: holds no {what} (--modality {settings['modality']}); index them first")

        from ...media import without_password
        from ...retrieval.embedding import embed_files
        from ...retrieval.matching import matches
        from ...retrieval.reading import Reading, Source

        dual = load_dual_of(index, settings, model, device, dtype)
        how = Reading(asked if kind == "video" else "auto", settings["frame"], settings["frames"])
        (embedded,) = embed_files([Source(without_password(query), query)], dual, how, 1, True)
        vector = getattr(embedded, asked)
        if vector is None:
            error = embedded.error or f"{query}: has no {'sound' if asked == 'audio' else 'picture'}"
            raise CliError(in_options(error, "dtype"))
        rows = [
            {
                "rank": rank,
                "score": round(match.score, 6),
                "source": match.entry.source,
                "path": str(Path(settings["folder"]) / match.entry.source),
                "frame_time" if wanted == "image" else "sound_seconds": (
                    match.entry.frame_time if wanted == "image" else match.entry.seconds
                ),
            }
            for rank, match in enumerate(matches(vector, blocks, wanted, top_k), start=1)
        ]
        held = sum(len(getattr(block, wanted)) for block in blocks)
        note(f"{query}: by its {'sound' if asked == 'audio' else 'picture'}, among {held} {what}")
        if as_json:
            for row in rows:
                result({"query": query, "by": asked, **row})
        else:
            _print_table(rows, "frame at" if wanted == "image" else "sound of")


def open_index(index: Path) -> "tuple[list[Block], dict[str, Any]]":
    """
    The vectors of an index, and how they were made.

    Raises:
        CliError: If there is no index in the folder.
    """
    from ...retrieval.embedding_store import EmbeddingStore

    if not index.is_dir():
        raise CliError(
            f"{index}: {'is a file' if index.exists() else 'no such folder'}; make one with `soundclip index`"
        )
    store = EmbeddingStore(index)
    settings = store.settings
    if settings is None or "folder" not in settings:
        raise CliError(f"{index}: is empty, or no index; make one with `soundclip index DIR -o {index}`")
    return list(store.blocks()), settings


def load_dual_of(index: Path, settings: dict[str, Any], model: str | None, device: str, dtype: str) -> "Dual":
    """
    Load the dual encoder that an index was made with.

    Args:
        settings: Of [`open_index`].
        model: Where it is now, if it has moved.

    Raises:
        CliError: If it cannot be loaded, or has other weights now.
    """
    from ..dual_encoder import load_dual
    from ..loading import BUNDLED, ModelChoice

    name = model or (None if settings["model"] == BUNDLED else settings["model"])
    choice = ModelChoice(
        name,
        revision=None if model else settings["revision"],
        encoder=settings["encoder"],
        alignment=settings["alignment"],
        device=device,
        dtype=dtype,
    )
    dual = load_dual(choice)
    if dual.settings["weights"] != settings["weights"]:
        raise CliError(
            f"{index}: was made with other weights than {dual.settings['model']} has now; index again into a new "
            "folder, or name the model with --model"
        )
    return dual


def _print_table(rows: list[dict[str, Any]], what: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "cosine", "file", what)
    for row in rows:
        seconds = row.get("frame_time", row.get("sound_seconds"))
        moment = "" if seconds is None else f"{seconds:.2f} s"
        table.add_row(str(row["rank"]), f"{row['score']:.4f}", row["source"], moment)
    # Names must not be cut where the output is a pipe, whose width is unknown.
    console = Console(width=None if sys.stdout.isatty() else 1000, markup=False, highlight=False)
    console.print(table)


__all__ = ["load_dual_of", "open_index", "search"]
