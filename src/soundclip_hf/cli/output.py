"""What a command says: results on stdout, everything else on stderr, and an exit code for each kind of failure."""

import io
import logging
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import typer

from .. import interrupts
from ..extras import NotInstalledError
from ..text_tables import json_text

FAILED, USAGE = 1, 2
# Seconds between two lines about progress where stderr is no terminal.
PROGRESS_SECONDS = 60.0

Row = TypeVar("Row")

# Tracebacks of errors that are reported in one line; `--debug` shows them.
log = logging.getLogger("soundclip_hf.cli")
_PACKAGE_LOG = logging.getLogger("soundclip_hf")


class CliError(Exception):
    """A failure whose message, one line, names what is wrong and how to mend it."""

    code = FAILED


class UsageError(CliError):
    """The command line itself is wrong."""

    code = USAGE


def about(name: str, error: Exception) -> str:
    """The message of an error of one input, in one line, with the name of the input in front where it is missing."""
    text = one_line(error)
    return text if name in text else f"{name}: {text}"


def one_line(error: BaseException) -> str:
    """The message of an error in one line; the kind is named where the message alone says little."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{_path(error.filename2 or error.filename)}: {error.strerror}"
    text = " ".join(str(error).split())
    if isinstance(error, (CliError, NotInstalledError, ValueError, OSError)) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def in_options(text: str, *names: str) -> str:
    """A message of the library, which writes `modality='audio'`, in the words of the command: `--modality audio`."""
    for name in names:
        option = f"--{name.replace('_', '-')}"
        text = re.sub(rf"\b{name}=True\b", option, text)
        text = re.sub(rf"\b{name}='([^']*)'", rf"{option} \1", text)
    return text


def _path(name: str | bytes | int) -> str:
    return os.fsdecode(name) if isinstance(name, bytes) else str(name)


def result(values: dict[str, Any]) -> None:
    """Print one JSON object, on a line of its own."""
    print(json_text(values), flush=True)


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def warn(text: str) -> None:
    note(f"warning: {text}")


@contextmanager
def reporting(debug: bool, *names: str) -> Iterator[None]:
    """
    Turn what goes wrong inside into one line on stderr and an exit code.

    Args:
        debug: Show the traceback before that line.
        names: Arguments of the library that are options of this command, see `in_options`.
    """
    shown, handler = warnings.showwarning, logging.StreamHandler(sys.stderr)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # An answer or a name that the terminal's encoding cannot show must not end the run.
        sys.stdout.reconfigure(errors="backslashreplace")
    if debug:
        _PACKAGE_LOG.addHandler(handler)
        _PACKAGE_LOG.setLevel(logging.DEBUG)
    else:
        # Python's own format names a line of library code, which does not help the user of a command.
        warnings.showwarning = lambda message, *_, **__: warn(" ".join(str(message).split()))
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except KeyboardInterrupt:
        interrupts.say()
        raise typer.Exit(interrupts.INTERRUPTED) from None
    except BrokenPipeError:
        # The reader has gone; what is still buffered must not raise again when Python closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(FAILED) from None
    except Exception as error:
        log.debug("traceback of the error below", exc_info=True)
        if interrupts.came():
            # Some packages answer Ctrl-C during their import with an ImportError.
            interrupts.say()
            raise typer.Exit(interrupts.INTERRUPTED) from None
        note(f"error: {in_options(one_line(error), *names)}")
        raise typer.Exit(error.code if isinstance(error, CliError) else FAILED) from None
    finally:
        warnings.showwarning = shown
        _PACKAGE_LOG.removeHandler(handler)
        _PACKAGE_LOG.setLevel(logging.NOTSET)


def with_progress(rows: Iterable[Row], count: int, doing: str) -> Iterator[Row]:
    """Pass on `rows`, of which there are `count`, and show how many are done, see [`progress`]."""
    if count < 2:
        yield from rows
        return
    with progress(doing, count) as advance:
        for row in rows:
            yield row
            advance(1)


@contextmanager
def progress(doing: str, count: int | None, done: int = 0) -> Iterator[Callable[[int], None]]:
    """
    Show on stderr how many steps are done, of how many, at which rate, and the time that is left: as a bar where stderr
    is a terminal, otherwise in a line a minute.

    Args:
        doing: What is done, such as "embedding".
        count: Number of all steps; None if it is not known.
        done: Number of steps that were done before, which do not count for the rate.

    Yields:
        A function that is called with the number of steps that have been done since its last call.
    """
    if not sys.stderr.isatty():
        yield _ProgressLines(doing, count, done).advance
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    started = time.monotonic()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    # rich would send what is printed meanwhile to its own stream, and results belong on stdout.
    with Progress(*columns, console=Console(stderr=True), redirect_stdout=False) as bar:
        task = bar.add_task(doing, total=count, completed=done, rate="")
        own = 0

        def advance(steps: int) -> None:
            nonlocal own
            own += steps
            bar.update(task, advance=steps, rate=_rate(own, time.monotonic() - started))

        yield advance


class _ProgressLines:
    def __init__(self, doing: str, count: int | None, done: int) -> None:
        self.doing, self.count, self.before, self.done = doing, count, done, done
        self.started = self.last = time.monotonic()

    def advance(self, steps: int) -> None:
        self.done += steps
        now = time.monotonic()
        if now - self.last < PROGRESS_SECONDS or self.done == self.count:
            return
        self.last = now
        own, seconds = self.done - self.before, now - self.started
        if self.count is None:
            note(f"{self.doing}: {self.done}, {_rate(own, seconds)}")
        elif own:
            left = _duration((self.count - self.done) * seconds / own)
            note(f"{self.doing}: {self.done} of {self.count}, {_rate(own, seconds)}, {left} left")


def _rate(steps: int, seconds: float) -> str:
    """Such as "2.5/s", "12.0/min" or "3.1/h": the shortest unit in which it is at least 1."""
    per_second = steps / max(seconds, 1e-6)
    for unit, length in (("s", 1), ("min", 60)):
        if per_second * length >= 1:
            return f"{per_second * length:.1f}/{unit}"
    return f"{per_second * 3600:.1f}/h"


def _duration(seconds: float) -> str:
    """Such as "0:05:00" or "30:00:00"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


__all__ = [
    "FAILED",
    "USAGE",
    "CliError",
    "UsageError",
    "about",
    "in_options",
    "log",
    "note",
    "one_line",
    "progress",
    "reporting",
    "result",
    "warn",
    "with_progress",
]
