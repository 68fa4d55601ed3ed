"""The command `soundclip`. Its modules import torch and transformers inside the commands, so that help is fast."""

from typing import Any

from .. import interrupts


def main() -> None:
    """Entry point of the console script."""
    interrupts.watch()
    # Ctrl-C may come while the commands are being imported, before any of them can report it.
    try:
        from .commands import app

        app(prog_name="soundclip")
    except KeyboardInterrupt:
        interrupts.end()
    except (SystemExit, Exception):  # typer itself exits without a word
        if interrupts.came():
            interrupts.end()
        raise


def __getattr__(name: str) -> Any:
    if name == "app":
        from .commands import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["app", "main"]
