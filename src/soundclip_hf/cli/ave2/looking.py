"""`soundclip ave2 stats`, `verify` and `view`: what is in a table, and whether it is valid."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from ...extras import require
from ..options import DebugOption, JsonOption, MediaOption, TableArgument, check_media
from ..output import FAILED, note, reporting, result, with_progress
from .rating import finite, short


def stats(
    table: TableArgument,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Draw histograms of the scores into this .png, .svg or .pdf file; a .json beside it gets the numbers."
        ),
    ] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """
    Compute the statistics that the paper reports, and show the paper's numbers beside them.

    Exit code: 0, 1 if something failed, 2 if the command line is wrong.
    """
    with reporting(debug):
        require("pyarrow", *(["matplotlib"] if plot is not None else []), what="soundclip ave2 stats")

        from ...data.ave2.tables import read_batches
        from ...data.stats.statistics import COLUMNS, PAPER, statistics
        from ...files import write_text

        counted = statistics(read_batches(table, COLUMNS))
        report = finite(counted.report())
        if plot is not None:
            from ...data.stats.histograms import draw_histograms

            numbers = plot.with_suffix(".json")
            write_text(numbers, json.dumps(report, ensure_ascii=False, indent=1) + "\n")
            # From the file, so that the picture can be drawn again from what was published.
            draw_histograms(json.loads(numbers.read_text(encoding="utf-8")), plot, table.name)
            note(f"histograms in {plot}, their numbers in {numbers}")
        if as_json:
            result(report)
            return
        print(f"{'':<48}{'here':>12}{'paper':>12}")
        for name, value in counted.numbers().items():
            print(f"{name:<48}{short(value):>12}{short(PAPER[name]) if name in PAPER else '':>12}")


def verify(
    table: TableArgument,
    media: MediaOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """
    Check rows, counts and hashes, and that no video is in two splits.

    Exit code: 0, 1 if something failed or is wrong with the table, 2 if the command line is wrong.
    """
    with reporting(debug):
        from ...data.ave2.shard_checks import verify_shards
        from ...data.ave2.tables import check_readable, read_rows
        from ...data.ave2.verification import verify as check

        check_media(media)
        check_readable(table)
        # Hashes first: a damaged shard may not be readable at all.
        shards = verify_shards(table) if (table / "manifest.json").is_file() else {}
        for fault, paths in shards.items():
            for path in paths:
                note(f"{path}: {fault.removeprefix('shards_')}, by the manifest of {table}")
        found = check(read_rows(table), media) | shards
        found["ok"] = found["ok"] and not any(shards.values())
        if as_json:
            result(found)
        else:
            for bad in found["bad"]:
                print(f"row {bad['index']} ({bad['sample_id']}): {'; '.join(bad['reasons'])}")
            for name in (
                "rows",
                "videos",
                "splits",
                "media_status",
                "bad_rows",
                "leaks",
                "media_missing",
                "media_changed",
                "shards_missing",
                "shards_changed",
            ):
                if name not in found or (media is None and name in ("media_missing", "media_changed")):
                    continue
                print(f"{name:<16}{found[name] if found[name] not in ([], {}) else 'none'}")
            if len(found["prompts"]) > 1:
                print(f"judged with {len(found['prompts'])} different prompts: {found['prompts']}")
        if not found["ok"]:
            raise typer.Exit(FAILED)


def view(
    table: TableArgument,
    out: Annotated[Path, typer.Option("-o", "--out", help="New folder for the page; open index.html in it.")],
    media: Annotated[
        Path | None,
        typer.Option(help="Folder of the clips, or Parquet files that hold them.  [default: the clips in TABLE]"),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Show at most this many rows.")] = 10_000,
    title: Annotated[str | None, typer.Option(help="Title of the page.  [default: name of TABLE]")] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """
    Write a web page of clips, scores, captions and sources, with filters.

    The page needs no server and no network.

    Exit code: 0, 1 if something failed, 2 if the command line is wrong.
    """
    with reporting(debug):
        from ...data.viewer.view import write_page

        def progress(clips: Iterable[Any], count: int) -> Iterable[Any]:
            return with_progress(clips, count, "writing clips")

        made = write_page(table, out, media=media, limit=limit, title=title, progress=progress)
        if made["limited"]:
            note(f"the page has the first {made['rows']:,} rows only; --limit shows more")
        if as_json:
            result(made | {"page": str(out / "index.html")})
        else:
            print(f"{made['rows']} rows, {made['clips']} with a clip, in {out / 'index.html'}")


__all__ = ["stats", "verify", "view"]
