"""Tells whether an error comes from the video, from this machine, or from the program ffmpeg."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import av

CHUNK = 1 << 20
# The disk or this process has no room; the video has no part in it.
OF_THE_MACHINE = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOBUFS)
)


class ProgramError(OSError):
    """The ffmpeg on PATH does not start, or cannot encode at all."""


class KilledError(RuntimeError):
    """Somebody or something ended ffmpeg while it was at work."""


def raise_if_not_of_the_video(error: BaseException | None) -> None:
    """
    Raise what has caused an error, if it says nothing about the video that was being read.

    Raises:
        OSError: The disk is full, or too many files are open.
        MemoryError: There is not enough memory.
    """
    while error is not None:
        number = getattr(error, "errno", None)
        if isinstance(error, MemoryError) or number == errno.ENOMEM:
            raise MemoryError("there is not enough memory for it") from error
        if isinstance(error, (OSError, av.FFmpegError)) and number in OF_THE_MACHINE:
            raise OSError(number, os.strerror(number), getattr(error, "filename", None)) from error
        error = error.__cause__


def raise_if_said(text: str) -> None:
    """As [`raise_if_not_of_the_video`], of what a program has said."""
    for number in (errno.ENOMEM, *OF_THE_MACHINE):
        if os.strerror(number) in text:
            raise_if_not_of_the_video(OSError(number, text))


def read_fault(path: str, whole: bool = False) -> str:
    """
    Why the bytes of a file cannot be read; empty if they can.

    Args:
        whole: Read all of it, as only that tells of a bad sector or a network drive that is gone.

    Raises:
        OSError: Too many files are open.
    """
    try:
        if Path(path).exists() and not Path(path).is_file():
            return ""  # opening a pipe would wait for its other end
        with open(path, "rb") as file:
            while file.read(CHUNK) and whole:
                pass
    except OSError as error:
        raise_if_not_of_the_video(error)
        return error.strerror or str(error)
    except ValueError as error:  # a null byte in the path
        return str(error)
    return ""


__all__ = ["KilledError", "ProgramError", "raise_if_not_of_the_video", "raise_if_said", "read_fault"]
