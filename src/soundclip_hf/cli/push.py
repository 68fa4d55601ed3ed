"""`soundclip push`: publish a model on the Hub."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import DebugOption, JsonOption
from .output import note, reporting, result, with_progress

if TYPE_CHECKING:
    from ..publishing.model_push import Pushed


def push(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="Folder of an adapter, a SoundLlava, a SoundClip or an audio encoder, such as that of "
            "`soundclip align`, `finetune` or `convert`.",
        ),
    ],
    repo: Annotated[str, typer.Argument(metavar="ORG/NAME", help="The model on the Hub; it is made if there is none.")],
    private: Annotated[
        bool | None,
        typer.Option("--private/--public", help="Who can see the model.  [default: unchanged; a new one is public]"),
    ] = None,
    revision: Annotated[str, typer.Option(help="Branch to push to; it is made if there is none.")] = "main",
    tag: Annotated[str | None, typer.Option(help="Tag for this version, such as v1.0.")] = None,
    license_name: Annotated[
        str | None,
        typer.Option(
            "--license",
            help="Licence of what is published, as the Hub spells it, such as apache-2.0. Needed for work on weights "
            "that may not be used commercially.",
        ),
    ] = None,
    base_model: Annotated[
        str | None,
        typer.Option(
            help="Id of an adapter's base model on the Hub, where config.json names a folder of this machine."
        ),
    ] = None,
    audio_encoder: Annotated[
        str | None, typer.Option(help="Id of an adapter's audio encoder on the Hub, likewise.")
    ] = None,
    message: Annotated[str | None, typer.Option(help="Message of the commit.")] = None,
    token: Annotated[
        str | None, typer.Option(help="Token of the Hub.  [default: that of `hf auth login`, or HF_TOKEN]")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing; say what a push would do.")] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """
    Publish a model: weights, configuration, processor, card and measured results, in one commit.

    \b
      soundclip push out/align me/soundclip-whisper --dry-run
      soundclip push out/align me/soundclip-whisper --tag v1.0 --license apache-2.0

    An adapter stays a few megabytes: it names its base model and audio encoder, at the commits that they have now.
    Results (the JSON files of `soundclip align` and `soundclip eval` in FOLDER) go into the card. A README.md in
    FOLDER, or a card that was edited on the Hub, is kept as it is. Weights of another form, such as a whole model that
    the adapter replaces, are removed in the same commit. Files that are on the Hub already are not sent again. To
    continue a push that was stopped, give the same command again. With --json and --dry-run, the card is in `readme`.

    Exit code: 0, 1 if something failed, 2 if the command line is wrong.
    """
    with reporting(debug):
        from ..publishing.model_push import push_model

        done = push_model(
            folder,
            repo,
            private=private,
            revision=revision,
            tag=tag,
            token=token,
            license=license_name,
            base_model=base_model,
            audio_encoder=audio_encoder,
            message=message,
            dry_run=dry_run,
            progress=_showing,
        )
        if as_json:
            result(_row(done, dry_run))
        else:
            _print(done, dry_run)
        if done.card == "kept":
            note("the card was written by hand and stays as it is; remove it for a new one")


def _row(done: "Pushed", dry_run: bool) -> dict[str, Any]:
    values = {name: getattr(done, name) for name in ("repo", "url", "commit", "tag", "sent", "removed", "kept", "card")}
    return {**values, "dry_run": dry_run, **({"readme": done.readme} if dry_run else {})}


def _print(done: "Pushed", dry_run: bool) -> None:
    if dry_run:
        for path, size in done.sent.items():
            print(f"send    {path} ({size / 1e6:.3f} MB)")
        for path in done.removed:
            print(f"remove  {path}")
    sent = f"{len(done.sent)} files {'to send' if dry_run else 'sent'} ({sum(done.sent.values()) / 1e6:.1f} MB)"
    removed = f"{len(done.removed)} {'to remove' if dry_run else 'removed'}"
    print(f"{done.url}: {sent}, {done.kept} were there, {removed}; commit {done.commit}")


def _showing(paths: list[Path], doing: str) -> Iterable[Path]:
    return with_progress(paths, len(paths), doing)


__all__ = ["push"]
