"""What publishes a folder on a Hub: functions of `soundclip_hf.publishing`, which registers them.

What a card says of a model needs more than this folder may import. `soundclip_hf.publishing`, which is above it,
registers its functions here when it is imported; `import soundclip_hf` does.
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo

# "model" and "processor" -> a function of a folder, a repository and options; "check" -> one of a configuration.
_PUBLISHERS: dict[str, Callable[..., Any]] = {}


def register_publisher(**functions: Callable[..., Any]) -> None:
    """Set the functions that publish a "model" and a "processor", and that "check" a configuration."""
    _PUBLISHERS.update(functions)


def check_publishable(config: Any, repo_id: str, **options: Any) -> None:
    """
    Check, before a model is trained, that it may be published and loaded elsewhere; `license` and `token` are those of
    the push. With `whole`, the weights of all parts are published, which may be folders of this machine then.

    Raises:
        ValueError: As `push_to_hub` would.
        HubAccessError: If base model or audio encoder cannot be read on the Hub.
    """
    _PUBLISHERS["check"](config, repo_id, **options)


def publish(kind: str, folder: str | os.PathLike, repo_id: str, **options: Any) -> "CommitInfo":
    """
    Publish a folder.

    Args:
        kind: "model" or "processor".
        repo_id: `org/name`, or a name in the user's own namespace.
        **options: Of `publishing.model_push`, where None stands for a default.

    Returns:
        The commit that the repository is at.
    """
    from huggingface_hub import CommitInfo

    options = {name: value for name, value in options.items() if value is not None}
    pushed = _PUBLISHERS[kind](folder, repo_id, **options)
    if pushed.info is not None:
        return pushed.info
    return CommitInfo(
        commit_url=f"{pushed.url}/commit/{pushed.commit}",
        commit_message="",
        commit_description="",
        oid=pushed.commit,
    )


__all__ = ["check_publishable", "publish", "register_publisher"]
