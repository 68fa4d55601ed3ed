"""Puts files into a repository on a Hub in one commit, on top of the commit that it looked at.

Large files are uploaded first, and everything is shown together: whoever loads the repository meanwhile gets the old or
the new content, never a mixture. What is on the Hub with the same hash is not sent again, also after a push that was
stopped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..files import sha256
from ..hub_access import HubAccessError, Kind, explained

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo, CommitOperationAdd, HfApi

# Given the files, and what is done with them.
Progress = Callable[[list[Path], str], Iterable[Path]]
Content = Path | bytes
# Files that are uploaded one after the other, before the commit.
LARGE = (".parquet", ".safetensors")


@dataclass(frozen=True)
class Destination:
    """
    A branch of a repository, as it is when a push begins.

    Attributes:
        repo: `org/name`.
        url: Its page.
        head: The commit that the push goes on top of; None if there is no repository yet.
        files: Path -> SHA-256, or Git's hash of a file that is kept in the history.
        tag: Name of the version that is pushed.
        tagged: Whether `tag` exists; then `head` and `files` are those of the tag.
    """

    api: HfApi
    repo: str
    kind: Kind
    revision: str
    url: str
    head: str | None
    files: Mapping[str, str]
    tag: str | None = None
    tagged: bool = False

    def read(self, path: str) -> str | None:
        """A text file of `head`; None if it has no such file."""
        if path not in self.files:
            return None
        found = self.api.hf_hub_download(self.repo, path, repo_type=self.kind, revision=self.head)
        return Path(found).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Change:
    """What a push changes: files to add by their paths, paths to remove, and the number of files that stay."""

    adding: Mapping[str, Content]
    removing: list[str]
    kept: int

    def __bool__(self) -> bool:
        return bool(self.adding or self.removing)


def open_destination(
    repo: str,
    kind: Kind,
    *,
    revision: str = "main",
    tag: str | None = None,
    token: str | bool | None = None,
    private: bool | None = None,
    gated: Literal["auto", "manual"] | None = None,
) -> Destination:
    """
    Make the repository and the branch unless they exist, and look at them.

    Args:
        private: True or False changes who sees it; None leaves it as it is, and makes a new one public.
        gated: None leaves it as it is.

    Raises:
        huggingface_hub's errors; see `hub_access.explained`.
    """
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    made = api.create_repo(repo, repo_type=kind, private=private, exist_ok=True)
    name = made.repo_id
    if private is not None or gated is not None:
        # Before the first file is uploaded, so that nobody sees files that are not public.
        api.update_repo_settings(name, repo_type=kind, private=private, gated=gated)
    refs = api.list_repo_refs(name, repo_type=kind)
    # A push makes its tag last, so a tag with exactly this content was left by a push that was complete. Its branch
    # may have moved on since, and stays where it is.
    tagged = any(known.name == tag for known in refs.tags)
    if not tagged and revision not in {branch.name for branch in refs.branches} and not revision.startswith("refs/"):
        api.create_branch(name, repo_type=kind, branch=revision, exist_ok=True)
    head = api.repo_info(name, repo_type=kind, revision=tag if tagged else revision).sha
    return Destination(api, name, kind, revision, str(made), head, _files(api, name, kind, head), tag, tagged)


def look_at(
    repo: str, kind: Kind, *, revision: str = "main", tag: str | None = None, token: str | bool | None = None
) -> Destination:
    """As `open_destination`, but nothing is made or changed."""
    from huggingface_hub import HfApi, RepoUrl
    from huggingface_hub.errors import RepositoryNotFoundError

    api = HfApi(token=token)
    name = repo if "/" in repo else f"{api.whoami()['name']}/{repo}"
    url = str(RepoUrl(f"{api.endpoint}/{'datasets/' if kind == 'dataset' else ''}{name}", endpoint=api.endpoint))
    try:
        refs = api.list_repo_refs(name, repo_type=kind)
    except RepositoryNotFoundError:
        return Destination(api, name, kind, revision, url, None, {}, tag)
    tagged = any(known.name == tag for known in refs.tags)
    branches = {branch.name for branch in refs.branches}
    # A new branch begins with what is on the main one.
    head = api.repo_info(name, repo_type=kind, revision=tag if tagged else revision if revision in branches else None)
    files = _files(api, name, kind, head.sha)
    return Destination(api, name, kind, revision, url, head.sha, files, tag, tagged)


def compare(
    destination: Destination,
    files: Mapping[str, Content],
    removes: Callable[[str], bool],
    digests: Mapping[str, str] | None = None,
) -> Change:
    """
    What has to change so that the repository holds `files`.

    Args:
        files: Path in the repository -> content.
        removes: Whether a file of the repository that is not among `files` goes.
        digests: SHA-256 of some of the files, where they are known.

    Raises:
        ValueError: The tag exists, and its content is another.
    """
    adding = {
        path: content
        for path, content in files.items()
        if not _is_same(content, destination.files.get(path), (digests or {}).get(path))
    }
    removing = sorted(path for path in destination.files if path not in files and removes(path))
    change = Change(adding, removing, len(files) - len(adding))
    if destination.tagged and change:
        raise ValueError(
            f"{destination.repo}: has a tag {destination.tag!r} already, on other content; give another name"
        )
    return change


def commit(
    destination: Destination,
    change: Change,
    message: str,
    *,
    description: str | None = None,
    create_pr: bool = False,
    progress: Progress | None = None,
) -> CommitInfo | None:
    """
    Upload what is to be added, and make the commit and the tag.

    Returns:
        The commit; None if there is nothing to change.

    Raises:
        HubConflictError: Another push to the branch came first.
        HubAccessError: A file could not be sent, or the Hub refuses. What was there before is shown still.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    api, made = destination.api, None
    with explained(destination.repo, destination.revision, writing=True, kind=destination.kind):
        if change:
            adding = {
                path: CommitOperationAdd(path, content if isinstance(content, bytes) else str(content))
                for path, content in change.adding.items()
            }
            _upload(destination, change, adding, create_pr, progress or (lambda paths, _: paths))
            with _sending(destination.repo, "a file"), _without_bars():
                made = api.create_commit(
                    destination.repo,
                    repo_type=destination.kind,
                    revision=destination.revision,
                    parent_commit=destination.head,
                    operations=[*adding.values(), *(CommitOperationDelete(path) for path in change.removing)],
                    commit_message=message,
                    commit_description=description,
                    create_pr=create_pr,
                )
        if destination.tag is not None and not destination.tagged:
            sha = made.oid if made else destination.head
            api.create_tag(destination.repo, repo_type=destination.kind, tag=destination.tag, revision=sha)
    return made


def size_of(content: Content) -> int:
    """In bytes."""
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _files(api: HfApi, repo: str, kind: Kind, revision: str | None) -> dict[str, str]:
    from huggingface_hub.hf_api import RepoFile

    tree = api.list_repo_tree(repo, repo_type=kind, revision=revision, recursive=True)
    return {
        entry.path: entry.blob_id if entry.lfs is None else entry.lfs.sha256
        for entry in tree
        if isinstance(entry, RepoFile)
    }


def _is_same(content: Content, there: str | None, digest: str | None) -> bool:
    if there is None:
        return False
    if len(there) == 64:
        return there == (digest or _sha256(content))
    data = content if isinstance(content, bytes) else content.read_bytes()
    return there == hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _sha256(content: Content) -> str:
    return hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else sha256(content)


def _upload(
    destination: Destination,
    change: Change,
    adding: Mapping[str, CommitOperationAdd],
    create_pr: bool,
    show: Progress,
) -> None:
    """Send the content of large files, one after the other; the rest goes with the commit."""
    large = {
        content: path
        for path, content in change.adding.items()
        if isinstance(content, Path) and content.suffix in LARGE
    }
    for content in show(list(large), "uploading"):
        with _sending(destination.repo, content.name), _without_bars():
            destination.api.preupload_lfs_files(
                destination.repo,
                [adding[large[content]]],
                repo_type=destination.kind,
                revision=destination.revision,
                create_pr=create_pr,
            )


@contextmanager
def _sending(repo: str, name: str) -> Iterator[None]:
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except HfHubHTTPError:
        raise
    except (RuntimeError, OSError) as error:
        # Errors while a large file is sent: the first if it is sent whole, the second if it is sent in chunks.
        why = " ".join(str(error.__cause__ or error).split())
        raise HubAccessError(f"{repo}: {name} could not be sent ({why}); push again") from error


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


__all__ = [
    "Change",
    "Content",
    "Destination",
    "Progress",
    "commit",
    "compare",
    "look_at",
    "open_destination",
    "size_of",
]
