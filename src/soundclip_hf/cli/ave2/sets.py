"""`soundclip ave2 coverage`: how much of a data set's table a user has, and which subset that is."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ..options import DebugOption, JsonOption
from ..output import FAILED, CliError, UsageError, note, reporting, result, with_progress

SETS = ("ave", "audiocaps", "audioset", "ego4d", "tvsum", "vggsound", "table", "folder")


def coverage(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help=f"What kind of table it is: {', '.join(SETS)}.")],
    table: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE",
            help="The table of the data set. For `table`: any CSV, TSV, JSON or Parquet file. For `folder`: the folder "
            "of the clips.",
        ),
    ],
    media: Annotated[Path | None, typer.Option(help="Folder of the clips, or of tar archives of them.")] = None,
    known: Annotated[
        Path | None,
        typer.Option(
            help="CSV with the columns youtube_id and media_status: why clips are missing, where it is known."
        ),
    ] = None,
    subset: Annotated[
        Path | None, typer.Option(help="Write the rows whose clips are good to this .jsonl file.")
    ] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """
    Count which clips of a data set are there and good, and why the others are not.

    The hash identifies the subset: two results can be compared if it is the same. Damaged archives and clips are named
    and skipped.

    Exit code: 0, 1 if something failed or no clip is good, 2 if the command line is wrong.
    """
    with reporting(debug):
        if dataset not in SETS:
            raise UsageError(f"{dataset}: is none of {', '.join(SETS)}")
        if media is None and dataset != "folder":
            raise UsageError(f"--media is missing: name the folder that has the clips of {table}")

        from ...data.other_sets import readers as other_sets
        from ...data.other_sets.archives import ENDINGS, resolve_archives, stream_archives
        from ...data.other_sets.manifest_files import read_manifest, write_manifest

        if not table.exists():
            raise CliError(f"{table}: no such file or folder")
        manifest = read_manifest(table) if dataset == "table" else getattr(other_sets, dataset)(table)
        damage: list[Any] = []
        if media is not None:
            found = [media] if media.is_file() else [*media.glob("*")] if media.is_dir() else []
            if any(path.name.lower().endswith(ENDINGS) for path in found):
                if known is not None:
                    raise UsageError("--known goes with a folder of clips, not with archives")
                streamed = with_progress(stream_archives(manifest, media, damage), len(manifest), "reading archives")
                manifest = resolve_archives(manifest, media, damage, streamed)
            else:
                manifest = manifest.resolve(media, known=_reasons(known))
        for one in damage:
            note(f"damaged: {one}")
        report = manifest.coverage() | {"damaged": [str(one) for one in damage]}
        if subset is not None:
            write_manifest(manifest.available(), subset)
        if as_json:
            result(report)
        else:
            for name, value in report.items():
                if value not in (0, []):
                    print(f"{name:<16}{f'{value:.1%}' if name == 'ok_share' else value}")
        if not report["ok"]:
            raise typer.Exit(FAILED)


def _reasons(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    from ...text_tables import csv_rows

    try:
        return {row["youtube_id"]: row["media_status"] for row in csv_rows(path, ("youtube_id", "media_status"))}
    except ValueError as error:
        raise UsageError(f"--known {error}") from error


__all__ = ["coverage"]
