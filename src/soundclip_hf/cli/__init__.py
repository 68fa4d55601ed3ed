"""The command `soundclip`. Its modules import torch and transformers inside the commands, so that help is fast."""

import sys
from typing import Any


def main() -> None:
    """Entry point of the console script."""
    # Ctrl-C may come while the commands are being imported, before any of them can report it.
    try:
        from .commands import app

        app(prog_name="soundclip")
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        sys.exit(130)


def __getattr__(name: str) -> Any:
    if name == "app":
        from .commands import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["app", "main"]
