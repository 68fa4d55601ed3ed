"""`soundclip ave2 push`: publish shards on the Hub."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, cast, get_args

import typer

from ..options import DebugOption, InclusiveOption, JsonOption
from ..output import UsageError, reporting, result, with_progress

Gated = Literal["auto", "manual"]


def push(
    repo: Annotated[
        str, typer.Argument(metavar="ORG/NAME", help="The data set on the Hub; it is made if there is none.")
    ],
    folder: Annotated[Path, typer.Option("--from", metavar="FOLDER", help="Folder that `soundclip ave2 shard` wrote.")],
    private: Annotated[
        bool | None,
        typer.Option("--private/--public", help="Who can see the data set.  [default: unchanged; a new one is public]"),
    ] = None,
    gated: Annotated[
        str | None,
        typer.Option(
            metavar="auto|manual",
            help="Users ask for access; it is granted automatically, or by you.  [default: unchanged]",
        ),
    ] = None,
    tag: Annotated[str | None, typer.Option(help="Tag for this version, such as v1.0.")] = None,
    revision: Annotated[str, typer.Option(help="Branch to push to.")] = "main",
    token: Annotated[
        str | None, typer.Option(help="Token of the Hub.  [default: that of `hf auth login`, or HF_TOKEN]")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Title of the card.  [default: NAME]")] = None,
    licence: Annotated[str, typer.Option(help="Licence of the annotations, as the Hub spells it.")] = "cc-by-4.0",
    inclusive: InclusiveOption = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """
    Publish shards as a data set, in one commit, with a card that names its subsets.

    Every file is checked against the manifest first. Files that are on the Hub already are not sent again. To continue
    a push that was stopped, give the same command again. Load the data set with load_dataset("ORG/NAME") or
    load_dataset("ORG/NAME", "filtered", streaming=True).

    Exit code: 0, 1 if something failed, 2 if the command line is wrong.
    """
    with reporting(debug):
        if gated not in (None, *get_args(Gated)):
            raise UsageError(f"--gated {gated}: give auto or manual")

        from ...publishing.ave2_push import push_folder

        done = push_folder(
            folder,
            repo,
            private=private,
            gated=cast(Gated | None, gated),
            tag=tag,
            revision=revision,
            token=token,
            title=title,
            licence=licence,
            inclusive=inclusive,
            progress=showing,
        )
        if as_json:
            result(done)
        else:
            sent = f"{done['sent']} files sent ({done['sent_bytes'] / 1e6:.1f} MB), {done['kept']} were there"
            print(f"{done['rows']} rows in {done['url']}: {sent}, {done['removed']} removed; commit {done['commit']}")


def showing(paths: list[Path], doing: str) -> Iterable[Path]:
    """Show a progress bar over the files of a push."""
    return with_progress(paths, len(paths), doing)


__all__ = ["push", "showing"]
