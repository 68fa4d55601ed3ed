"""Pushes a folder of AVE-2 shards to a data set on a Hub in one commit."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from ..data.ave2.shards import MANIFEST, read_manifest
from ..extras import require
from ..files import sha256
from ..hub_access import explained
from .ave2_card import ave2_card
from .commits import Content, Progress, commit, compare, open_destination, size_of

CARD = "README.md"
GATED = ("auto", "manual")


def push_folder(
    folder: str | Path,
    repo: str,
    *,
    private: bool | None = None,
    gated: Literal["auto", "manual"] | None = None,
    tag: str | None = None,
    revision: str = "main",
    token: str | bool | None = None,
    title: str | None = None,
    licence: str = "cc-by-4.0",
    inclusive: bool = False,
    message: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Publish a folder as the data set `repo`, which is made if it is not there.

    A README.md in the folder becomes the card; without one, `ave2_card` writes it. Shards on the Hub that the folder
    does not have are removed in the same commit.

    Args:
        folder: As `data.shards.write_shards` leaves it; every file is checked against the manifest first.
        repo: `org/name`.
        private: True or False changes who sees it; None leaves an old data set as it is, and makes a public one.
        gated: "auto" or "manual", for access on request; None leaves that as it is.
        tag: Name of this version, such as "v1.0": a new one, or one that stands on this very content; then all is
            done, and no branch is changed.
        revision: Branch.
        token: One that may write; None takes that of `hf auth login`.
        title: See `ave2_card`, also for `licence` and `inclusive`.
        message: Of the commit.
        progress: Wraps the files while they are hashed and uploaded, and gets what is done with them.

    Returns:
        `repo`, `url`, `commit`, `tag`, `rows`, and as counts `sent`, `kept` and `removed`, with `sent_bytes`.

    Raises:
        ValueError: No manifest, no rows, a shard that is not what the manifest says, a tag on other content, a wrong
            `gated`.
        NotInstalledError: The card has to be written, and pyarrow is missing.
        HubAccessError: A token that is missing or may not write; the Hub refuses or cannot be reached.
    """
    if gated not in (None, *GATED):
        raise ValueError(f"gated={gated!r} is none of {', '.join(GATED)}")
    if not (Path(folder) / CARD).is_file():
        require("pyarrow", what="the card of a data set")
    root, manifest, show = Path(folder), read_manifest(folder), progress or (lambda paths, _: paths)
    if not manifest["rows"]:
        raise ValueError(f"{root}: has no rows; nothing is published")
    expected = {shard["path"]: shard["sha256"] for shard in manifest["shards"]}
    _check_files(root, expected, show)
    card = _card(root, repo, title=title, licence=licence, inclusive=inclusive)
    files: dict[str, Content] = {CARD: card, MANIFEST: (root / MANIFEST).read_bytes()}
    files |= {name: root / name for name in expected}
    with explained(repo, revision, writing=True):
        there = open_destination(repo, "dataset", revision=revision, tag=tag, token=token, private=private, gated=gated)
    change = compare(there, files, lambda path: path.startswith(("data/", "media/")), expected)
    made = commit(
        there,
        change,
        message or f"{manifest['rows']} rows, written by {manifest['code_version']}",
        progress=progress,
    )
    return {
        "repo": repo,
        "url": there.url,
        "commit": made.oid if made else there.head,
        "tag": tag,
        "rows": manifest["rows"],
        "sent": len(change.adding),
        "kept": change.kept,
        "removed": len(change.removing),
        "sent_bytes": sum(map(size_of, change.adding.values())),
    }


def _check_files(root: Path, expected: dict[str, str], show: Progress) -> None:
    for path in show([root / name for name in expected], "checking"):
        name = path.relative_to(root).as_posix()
        if not path.is_file():
            raise ValueError(f"{path}: is gone, but the manifest names it; write the shards again")
        if sha256(path) != expected[name]:
            raise ValueError(f"{path}: is not what the manifest says; write the shards again")


def _card(root: Path, repo: str, **options: Any) -> bytes:
    own = root / CARD
    return own.read_bytes() if own.is_file() else ave2_card(root, repo, **options).encode()


__all__ = ["push_folder"]
