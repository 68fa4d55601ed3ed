"""The error of media that cannot be used, and the name of the source in front of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import av


class MediaError(ValueError):
    """Unusable media; the message names the source, what is wrong with it, and the fix."""


@contextmanager
def about(name: str) -> Iterator[None]:
    """Put the source's name in front of what goes wrong with it."""
    try:
        yield
    except MediaError as error:
        raise MediaError(f"{name}: {error}") from error.__cause__
    except av.FFmpegError as error:
        raise MediaError(f"{name}: cannot be read ({error.strerror}); it is corrupt, truncated or not media") from error
