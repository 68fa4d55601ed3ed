"""Turns the errors of a Hub into one sentence that says what is wrong and how to fix it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

Kind = Literal["dataset", "model"]
# What messages call a repository, and where its page is.
_NAMES = {"dataset": "data set", "model": "model"}
_PAGES = {"dataset": "datasets/", "model": ""}


class HubAccessError(ValueError):
    """A repository on a Hub that cannot be read or written; the message says why, and the fix."""


class HubConflictError(HubAccessError):
    """A branch that somebody else has changed since the push began: nothing of the push is shown."""


@contextmanager
def explained(
    repo: str, revision: str | None = None, *, writing: bool = False, kind: Kind = "dataset"
) -> Iterator[None]:
    """Turn the errors of huggingface_hub and datasets inside the block into one.

    Args:
        repo: `org/name`.
        writing: Whether the block writes, which needs another kind of token.
        kind: Of the repository.

    Raises:
        HubConflictError: Another push to the same branch came first.
        HubAccessError: Gated, private or absent, a revision or file that is not there, no permission, no connection.
    """
    from huggingface_hub import errors

    try:
        yield
    except _known_errors() as error:
        if _status(error) == 412:
            raise HubConflictError(
                f"{repo}: another push has changed {revision or 'main'!r} since this one began, and nothing of this "
                "one is shown; look at what is there now, then push again"
            ) from error
        raise HubAccessError(_sentence(error, repo, revision, writing, kind, errors)) from error


def _known_errors() -> tuple[type[Exception], ...]:
    from huggingface_hub import errors

    # huggingface_hub has changed the library whose connection errors pass through it.
    transport = [base for base in errors.HfHubHTTPError.__mro__ if base.__name__ == "HTTPError"]
    found = (
        *transport,
        errors.LocalEntryNotFoundError,
        errors.OfflineModeIsEnabled,
        errors.HFValidationError,
        errors.LocalTokenNotFoundError,
    )
    try:
        from datasets.exceptions import DatasetNotFoundError
    except ImportError:
        return found
    return (*found, DatasetNotFoundError)


def _status(error: Exception) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _sentence(error: Exception, repo: str, revision: str | None, writing: bool, kind: Kind, errors: Any) -> str:
    from huggingface_hub import constants

    page, what = f"{constants.ENDPOINT}/{_PAGES[kind]}{repo}", _NAMES[kind]
    token = "log in with `hf auth login`, or give a token"
    status = _status(error)
    chain, cause = [error], error.__cause__ or error.__context__
    while cause is not None:
        chain.append(cause)  # type: ignore[arg-type]
        cause = cause.__cause__ or cause.__context__
    if any(isinstance(one, errors.GatedRepoError) for one in chain) or "is a gated dataset" in str(error):
        return f"{repo}: is gated; ask for access on {page}, then {token}"
    if any(isinstance(one, errors.RevisionNotFoundError) for one in chain):
        return f"{repo}: has no revision {revision!r}; its branches and tags are on {page}"
    if isinstance(error, errors.LocalTokenNotFoundError) or (status == 401 and writing):
        return f"{repo}: cannot be written without a token that is valid; {token} that may write"
    if any(isinstance(one, errors.RepositoryNotFoundError) for one in chain) or "doesn't exist on the Hub" in str(
        error
    ):
        return f"{repo}: no such {what}, or it is private and the token may not see it; check the name, {token}"
    if isinstance(error, errors.EntryNotFoundError) and not isinstance(error, errors.LocalEntryNotFoundError):
        return f"{repo}: has no such file ({_short(error)}); check the revision"
    if isinstance(error, errors.HFValidationError):
        return f"{repo}: is no name of a {what} ({_short(error)}); give org/name"
    if status in (401, 403):
        return f"{repo}: the token may not {'write' if writing else 'read'} there ({_short(error)}); {token} that may"
    if status is not None:
        return f"{repo}: the Hub answered {status} ({_short(error)}); try again: what was sent is not sent again"
    return f"{repo}: {constants.ENDPOINT} cannot be reached ({_short(error)}); check the network and HF_HUB_OFFLINE"


def _short(error: Exception) -> str:
    text = " ".join(str(getattr(error, "server_message", None) or error).split())
    return text if len(text) <= 200 else f"{text[:200]}…"


__all__ = ["HubAccessError", "HubConflictError", "Kind", "explained"]
