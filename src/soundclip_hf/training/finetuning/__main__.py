"""`accelerate launch -m soundclip_hf.training.finetuning --config finetune/…`: a fine-tuning on several devices."""

from collections.abc import Sequence

from ..run_arguments import run_command
from .arguments import read_arguments
from .run import finetune


def main(options: Sequence[str] | None = None) -> None:
    """The command line of `python -m soundclip_hf.training.finetuning`."""
    run_command(read_arguments, finetune, options)


if __name__ == "__main__":
    main()
