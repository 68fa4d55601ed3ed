"""Pushes a folder of AVE-2 shards to a data set on a Hub in one commit.

Files are uploaded first and shown together, so that who loads the data set meanwhile gets the old or the new one, never
a mixture. What is on the Hub with the same hash is not sent again, also after a run that was stopped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..data.ave2.hub_access import HubAccessError, explained
from ..data.ave2.shards import MANIFEST, read_manifest
from ..extras import require
from ..files import sha256
from .ave2_card import ave2_card

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, GitRefs, HfApi

CARD = "README.md"
GATED = ("auto", "manual")
Progress = Callable[[list[Path], str], Iterable[Path]]


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
    from huggingface_hub import CommitOperationDelete, HfApi

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
    api = HfApi(token=token)
    with explained(repo, revision, writing=True):
        made = api.create_repo(repo, repo_type="dataset", private=private, exist_ok=True)
        if private is not None or gated is not None:
            # Before the first file is uploaded, so that nobody sees files that are not public.
            api.update_repo_settings(repo, repo_type="dataset", private=private, gated=gated)
        refs = api.list_repo_refs(repo, repo_type="dataset")
        tagged = any(known.name == tag for known in refs.tags)
        # A push makes its tag last, so a tag with exactly this content was left by a push that was complete. Its branch
        # may have moved on since, and stays where it is.
        parent = api.dataset_info(repo, revision=tag if tagged else _head(api, repo, revision, refs)).sha
        there = _there(api, repo, parent)
        adding = _additions(root, expected, card, there)
        removing = sorted(p for p in there if p.startswith(("data/", "media/")) and p not in expected)
        if tagged and (adding or removing):
            raise ValueError(f"{repo}: has a tag {tag!r} already, on other content; give another name")
        sent_bytes = _upload(api, repo, revision, adding, root, show)
        commit = parent
        if adding or removing:
            done = api.create_commit(
                repo,
                repo_type="dataset",
                revision=revision,
                parent_commit=parent,
                operations=[*adding, *(CommitOperationDelete(path) for path in removing)],
                commit_message=message or f"{manifest['rows']} rows, written by {manifest['code_version']}",
            )
            commit = done.oid
        if tag is not None and not tagged:
            api.create_tag(repo, repo_type="dataset", tag=tag, revision=commit)
    return {
        "repo": repo,
        "url": str(made),
        "commit": commit,
        "tag": tag,
        "rows": manifest["rows"],
        "sent": len(adding),
        "kept": len(expected) + 2 - len(adding),
        "removed": len(removing),
        "sent_bytes": sent_bytes,
    }


def _head(api: HfApi, repo: str, revision: str, refs: GitRefs) -> str:
    """The name of the branch, which is created if it does not exist."""
    if revision not in {branch.name for branch in refs.branches}:
        api.create_branch(repo, repo_type="dataset", branch=revision)
    return revision


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


def _there(api: HfApi, repo: str, revision: str | None) -> dict[str, str]:
    """Files on the Hub: path -> SHA-256, or Git's hash of those that are kept in the history."""
    from huggingface_hub.hf_api import RepoFile

    tree = api.list_repo_tree(repo, repo_type="dataset", revision=revision, recursive=True)
    return {
        entry.path: entry.blob_id if entry.lfs is None else entry.lfs.sha256
        for entry in tree
        if isinstance(entry, RepoFile)
    }


def _additions(root: Path, expected: dict[str, str], card: bytes, there: dict[str, str]) -> list[CommitOperationAdd]:
    """The files that are not on the Hub yet."""
    from huggingface_hub import CommitOperationAdd

    texts = {CARD: card, MANIFEST: (root / MANIFEST).read_bytes()}
    made = [
        CommitOperationAdd(name, str(root / name)) for name, digest in expected.items() if there.get(name) != digest
    ]
    for name, content in texts.items():
        hashes = (hashlib.sha256(content).hexdigest(), hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest())
        if there.get(name) not in hashes:
            made.append(CommitOperationAdd(name, content))
    return made


def _upload(api: HfApi, repo: str, revision: str, adding: list[CommitOperationAdd], root: Path, show: Progress) -> int:
    """Send the content of large files, one after the other; the rest goes with the commit."""
    from huggingface_hub.errors import HfHubHTTPError

    by_path = {root / one.path_in_repo: one for one in adding}
    sizes = [one.upload_info.size for one in adding]
    for path in show([path for path in by_path if path.suffix == ".parquet"], "uploading"):
        try:
            with _without_bars():
                api.preupload_lfs_files(repo, [by_path[path]], repo_type="dataset", revision=revision)
        except HfHubHTTPError:
            raise
        except (RuntimeError, OSError) as error:
            # Errors while a large file is sent: the first if it is sent whole, the second if it is sent in chunks.
            why = " ".join(str(error.__cause__ or error).split())
            raise HubAccessError(f"{repo}: {path.name} could not be sent ({why}); push again") from error
    return sum(sizes)


@contextmanager
def _without_bars() -> Iterator[None]:
    """Hide the progress bars of huggingface_hub, which would overwrite that of the caller and appear in log files."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


__all__ = ["push_folder"]
