"""Ctrl-C, which libraries may turn into an error of their own while they are imported."""

import signal
import sys
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
_came = _said = False


def watch() -> None:
    """Remember from now on that Ctrl-C was pressed. It raises `KeyboardInterrupt` as before."""
    # Where SIGINT is ignored, as for a job in the background, it stays ignored.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def came() -> bool:
    """Whether Ctrl-C was pressed since [`watch`]."""
    return _came


def say() -> None:
    """Print in one line that the command was interrupted."""
    global _said
    _said = True
    print("error: interrupted", file=sys.stderr, flush=True)


def end() -> NoReturn:
    """Say that the command was interrupted, unless that was said, and exit."""
    if not _said:
        say()
    sys.exit(INTERRUPTED)


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _came
    _came = True
    signal.default_int_handler(number, frame)


__all__ = ["INTERRUPTED", "came", "end", "say", "watch"]
