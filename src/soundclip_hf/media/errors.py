"""The error of media that cannot be used, and the name of the source in front of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import av


class MediaError(ValueError):
    """Unusable media; the message names the source, what is wrong with it, and the fix."""


def shown(name: str) -> str:
    """A file's name as one line that can be printed: control characters and bytes that are not UTF-8 are escaped."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode() for letter in name
    )


@contextmanager
def about(name: str) -> Iterator[None]:
    """Turn whatever goes wrong with a source into a `MediaError` with the source's name in front.

    FFmpeg, its binding and the resampler raise many kinds of errors on files that nobody foresaw.
    """
    try:
        yield
    except MediaError as error:
        raise MediaError(f"{name}: {error}") from error.__cause__
    except av.FFmpegError as error:
        raise MediaError(f"{name}: cannot be read ({error.strerror}); it is corrupt, truncated or not media") from error
    except MemoryError as error:
        raise MediaError(f"{name}: needs more memory than there is; cut it into shorter or smaller parts") from error
    except OSError as error:
        raise MediaError(f"{name}: cannot be read ({error.strerror or error}); check the file") from error
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise MediaError(f"{name}: cannot be read ({reason}); encode it again") from error
