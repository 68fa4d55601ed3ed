"""What commands that measure share: running another command in the same process, and naming what is left out."""

import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

import typer

from ..output import USAGE, warn

if TYPE_CHECKING:
    from ...evaluation.samples import Samples


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


def warn_left_out(samples: "Samples") -> None:
    """Say how many rows or files of a data set are no samples, and name the first."""
    if left := samples.left_out:
        several = f"{len(left)} are" if len(left) > 1 else "1 is"
        warn(
            f"{samples.name}: {several} left out, without a sound or a picture or with a name that is not UTF-8; "
            f"the first is {left[0]}"
        )


__all__ = ["runner", "warn_left_out"]
