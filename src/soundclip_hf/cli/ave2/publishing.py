"""`soundclip ave2 push`: shards onto a Hub."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, cast, get_args

import typer

from ..output import UsageError, reporting, result, with_progress
from .making import Debug, Json

Gated = Literal["auto", "manual"]


def push(
    repo: Annotated[str, typer.Argument(metavar="ORG/NAME", help="The data set on the Hub; it is made if needed.")],
    folder: Annotated[Path, typer.Option("--from", metavar="FOLDER", help="What `ave2 shard` has written.")],
    private: Annotated[
        bool | None, typer.Option("--private/--public", help="Who may see it.  [default: as it is; new ones public]")
    ] = None,
    gated: Annotated[
        str | None, typer.Option(metavar="auto|manual", help="Access on request, granted by itself or by you.")
    ] = None,
    tag: Annotated[str | None, typer.Option(help="Name of this version, such as v1.0.")] = None,
    revision: Annotated[str, typer.Option(help="Branch.")] = "main",
    token: Annotated[str | None, typer.Option(help="[default: of `hf auth login`, or HF_TOKEN]")] = None,
    title: Annotated[str | None, typer.Option(help="Of the card.  [default: NAME]")] = None,
    licence: Annotated[str, typer.Option(help="Of the annotations, as the Hub spells it.")] = "cc-by-4.0",
    inclusive: Annotated[bool, typer.Option("--inclusive", help="Subsets take >= for >.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """
    Publish shards as a data set, in one commit, with a card that names its subsets.

    Every file is checked against the manifest. What is on the Hub already is not sent again, so a push that was stopped
    is simply repeated. Then: load_dataset("ORG/NAME"), or load_dataset("ORG/NAME", "filtered", streaming=True).
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
    """A bar over the files of a push."""
    return with_progress(paths, len(paths), doing)


__all__ = ["push", "showing"]
