"""
Entry point of the command `soundclip`.

It stands beside the package because `import soundclip_hf` registers its classes with transformers, which imports torch
and takes seconds. Where this module was imported first, the package leaves the registration to the commands that load a
model, so that `soundclip --help` and the commands that need no model start at once.
"""


def main() -> None:
    """Run the command line. Exits with the status of the command."""
    from soundclip_hf.cli import main as run

    run()


__all__ = ["main"]
