"""Runs a command of `soundclip` from within another one, in the same process."""

import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout

import typer

from ..output import USAGE


def runner(context: typer.Context, to_stderr: bool) -> Callable[[Sequence[str]], int]:
    """
    A function that runs a command, whose words are given without "soundclip", and returns its exit code.

    The imports that this process has done are not done again.

    Args:
        to_stderr: Whether its results are printed to stderr, where those of this command alone belong on stdout.
    """
    root = context.find_root()

    def run(words: Sequence[str]) -> int:
        try:
            with redirect_stdout(sys.stderr if to_stderr else sys.stdout):
                code = root.command.main(list(words), prog_name=root.info_name, standalone_mode=False)
        except SystemExit as stop:
            code = stop.code
        except typer.Exit as stop:
            code = stop.exit_code
        except Exception as error:
            # An error in the words. Its class belongs to click, which typer brings under different names.
            show = getattr(error, "show", None)
            if show is None:
                raise
            show()
            code = getattr(error, "exit_code", USAGE)
        return code if isinstance(code, int) else 0

    return run


__all__ = ["runner"]
