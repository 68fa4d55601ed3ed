"""`accelerate launch -m soundclip_hf.training.finetuning --config finetune/…`: a fine-tuning on several devices."""

import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout

from ..settings_parser import ArgumentsError
from .arguments import read_arguments
from .run import finetune


def main(options: Sequence[str] | None = None) -> None:
    """Read the settings from a command line, and run; errors are one line."""
    try:
        settings, training = read_arguments(sys.argv[1:] if options is None else options)
        with redirect_stdout(sys.stderr):  # the trainer prints its logs to stdout
            result = finetune(settings, training)
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        if "--debug" in sys.argv:
            raise
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ArgumentsError) else 1)
    if training.process_index == 0:
        print(json.dumps(result.metrics))


if __name__ == "__main__":
    main()
