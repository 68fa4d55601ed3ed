"""
Entry point of the command `soundclip`.

It stands beside the package because `import soundclip_hf` registers its classes with transformers, which imports torch
and takes seconds. Where this module was imported first, the package leaves the registration to the commands that load a
model, so that `soundclip --help` and the commands that need no model start at once.
"""

import sys


def main() -> None:
    """Run the command line. Exits with the status of the command."""
    try:
        from soundclip_hf.cli import main as run
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        sys.exit(130)
    run()


__all__ = ["main"]
