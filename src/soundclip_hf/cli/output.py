"""What a command says: results on stdout, everything else on stderr, and an exit code for each kind of failure."""

import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import typer

from ..extras import NotInstalledError

FAILED, USAGE = 1, 2

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
    """One JSON object, on a line of its own."""
    print(json_line(values), flush=True)


def json_line(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False)


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
    if debug:
        _PACKAGE_LOG.addHandler(handler)
        _PACKAGE_LOG.setLevel(logging.DEBUG)
    else:
        # Python's own format names a line of library code, which says nothing to who runs a command.
        warnings.showwarning = lambda message, *_, **__: warn(" ".join(str(message).split()))
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except KeyboardInterrupt:
        note("error: interrupted")
        raise typer.Exit(130) from None
    except BrokenPipeError:
        # The reader has gone; what is still buffered must not raise again when Python closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(FAILED) from None
    except Exception as error:
        log.debug("traceback of the error below", exc_info=True)
        note(f"error: {in_options(one_line(error), *names)}")
        raise typer.Exit(error.code if isinstance(error, CliError) else FAILED) from None
    finally:
        warnings.showwarning = shown
        _PACKAGE_LOG.removeHandler(handler)
        _PACKAGE_LOG.setLevel(logging.NOTSET)


def with_progress(rows: Iterable[Row], count: int, doing: str) -> Iterator[Row]:
    """A progress bar on stderr where that is a terminal and there is more than one row."""
    if count < 2 or not sys.stderr.isatty():
        yield from rows
        return
    from rich.console import Console
    from rich.progress import Progress

    # rich would send what is printed meanwhile to its own stream, and results belong on stdout.
    with Progress(console=Console(stderr=True), redirect_stdout=False) as progress:
        yield from progress.track(rows, total=count, description=doing)


__all__ = [
    "FAILED",
    "USAGE",
    "CliError",
    "UsageError",
    "in_options",
    "json_line",
    "log",
    "note",
    "one_line",
    "reporting",
    "result",
    "warn",
    "with_progress",
]
