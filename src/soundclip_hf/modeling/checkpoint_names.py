"""Names of checkpoints: "tiny" is the bundled model, "org/name@revision" holds the revision; revisions as commits."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig
from transformers.utils import resolve_revision

from ..bundled import TINY
from .checkpoint_json import checked_settings

BUNDLED_NAMES = {"tiny": TINY}


def checkpoint_name(
    name: str | os.PathLike, revision: str | None = None, argument: str = "revision"
) -> tuple[str | os.PathLike, str | None]:
    """
    What a name means, for callers that pass it on to transformers.

    Args:
        name: A folder, a Hub id, a Hub id with `@` and a branch, tag or commit, or "tiny". A folder of that name that
            holds a checkpoint is preferred.
        revision: None and "main" leave it to the name.
        argument: Name of the argument `revision`, for messages.

    Returns:
        A folder or a Hub id, and the revision.

    Raises:
        ValueError: If the name and `revision` hold two different revisions, or nothing stands after the `@`.
    """
    if not isinstance(name, str) or os.path.exists(os.path.join(name, "config.json")):
        return name, revision
    if name in BUNDLED_NAMES:
        return str(BUNDLED_NAMES[name]), revision
    repo, at, own = name.partition("@")
    if not at or name.startswith((".", "/", "~")) or Path(name).exists():
        return name, revision
    if not repo or not own:
        raise ValueError(f"{name!r}: write the revision after the @, as in org/name@main, or leave the @ out")
    if revision not in (None, "main", own):
        raise ValueError(f"{name!r}: names the revision {own!r}, but {argument} is {revision!r}; give one of them")
    return repo, own


def one_commit(
    name: str | os.PathLike, revision: str | None = None, hub: Mapping[str, Any] | None = None
) -> str | None:
    """
    A revision that knows its commit, so that all files of one load come from that commit even if somebody pushes while
    it goes on.

    Args:
        name: A folder or a Hub id.
        revision: Branch, tag or commit; None is the default branch.
        hub: `token`, `cache_dir`, `local_files_only` of the load; the others are not used.

    Returns:
        A string equal to `revision` ("main" for None). `revision` itself for a folder, and where the Hub does not tell
        the commit: reading the files then says why.
    """
    hub = hub or {}
    return resolve_revision(
        name,
        revision,
        token=hub.get("token"),
        local_files_only=bool(hub.get("local_files_only")),
        cache_dir=hub.get("cache_dir"),
    )


def commit_of(revision: str | None) -> str | None:
    """The commit of a revision from [`one_commit`]; any other revision as it is."""
    return getattr(revision, "resolved", revision)


def bundled_name(name: str | os.PathLike) -> str:
    """The name of a checkpoint that means the same on every machine: "tiny" for the folder of the bundled model."""
    folders = {os.path.realpath(folder): known for known, folder in BUNDLED_NAMES.items()}
    return folders.get(os.path.realpath(name), str(name))


class CheckpointNameMixin:
    """`from_pretrained` that takes the names of [`checkpoint_name`]."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """
        As the class of transformers; the name may also be "tiny", or hold a revision: "org/name@v1".

        Raises:
            ValueError: If a file of settings is not one JSON object, or holds a value that cannot be used.
        """
        name, revision = checkpoint_name(pretrained_model_name_or_path, kwargs.get("revision"))
        if revision is not None:
            kwargs["revision"] = revision
        parent: Any = super()
        with checked_settings(name, kwargs, processor=not issubclass(cls, PreTrainedConfig)):
            return parent.from_pretrained(name, *args, **kwargs)


__all__ = ["BUNDLED_NAMES", "CheckpointNameMixin", "bundled_name", "checkpoint_name", "commit_of", "one_commit"]
