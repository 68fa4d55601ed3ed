"""Runs a command of `soundclip` from within another one, in the same process."""

from collections.abc import Callable, Sequence

import click
import typer


def runner(context: typer.Context) -> Callable[[Sequence[str]], int]:
    """
    A function that runs a command, whose words are given without "soundclip", and returns its exit code.

    What it prints goes where that of this command goes. The imports that this process has done are not done again.
    """
    root = context.find_root()

    def run(words: Sequence[str]) -> int:
        try:
            code = root.command.main(list(words), prog_name=root.info_name, standalone_mode=False)
        except SystemExit as stop:
            code = stop.code
        except click.exceptions.Exit as stop:
            code = stop.exit_code
        except click.ClickException as error:
            error.show()
            code = error.exit_code
        return code if isinstance(code, int) else 0

    return run


__all__ = ["runner"]
