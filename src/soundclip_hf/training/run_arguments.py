"""The trainer's settings that alignment and fine-tuning share, and the ends of their command lines."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, redirect_stdout
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate.utils import DistributedType
from transformers import TrainingArguments

from ..files import expand_user
from .settings_parser import ArgumentsError
from .trainer_packages import check_integrations, check_trackers

# What is done, number of steps or None, number of steps that were done before -> a context whose value is called with
# the number of new steps.
Progress = Callable[[str, int | None, int], AbstractContextManager[Callable[[int], None]]]


@dataclass
class RunTrainingArguments(TrainingArguments):
    """
    `TrainingArguments` that are checked before models and data are loaded.

    `hub_license` is the licence of what is published, as the Hub spells it; weights that may not be used commercially
    need it.
    """

    optim: str = "adamw_torch"  # with weight_decay 0 this is Adam
    weight_decay: float = 0.0
    save_total_limit: int | None = 2
    logging_steps: float = 10
    remove_unused_columns: bool = False
    logging_nan_inf_filter: bool = False
    hub_license: str | None = None
    report_to: str = "none"
    # Every process reads its own rows of a stream. Batches differ in length or in their number of rows, and accelerate
    # could not split one among the processes.
    accelerator_config: dict[str, Any] | str | None = field(default_factory=lambda: {"dispatch_batches": False})

    def __post_init__(self) -> None:
        # The trainer itself checks these packages only after models and data have been loaded.
        check_integrations(self.optim, bool(self.deepspeed), self.use_liger_kernel)
        super().__post_init__()
        try:
            expand_user(str(self.output_dir))
        except ValueError as error:
            raise ArgumentsError(f"output_dir {error}") from error
        try:
            check_trackers(self.report_to)
        except ValueError as error:
            raise ArgumentsError(str(error)) from None
        if not torch.cuda.is_available():
            self.dataloader_pin_memory = False


def check_launch(training: TrainingArguments) -> None:
    """
    Compare what accelerate or torchrun was asked for with what this process got.

    accelerate says nothing where it starts one process in place of several, or does not shard.

    Raises:
        ArgumentsError: If this process trains alone although several were asked for, or the model would not be sharded
            although FSDP or DeepSpeed was asked for.
    """
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started > training.world_size:
        raise ArgumentsError(
            f"WORLD_SIZE={started}: each process would train alone, as accelerate does where it finds no GPU; to train "
            "on CPUs, give --use_cpu true"
        )
    # accelerate sets the first variable in all that it starts, and the second where it was asked for several processes.
    if (
        training.world_size == 1
        and "ACCELERATE_MIXED_PRECISION" in os.environ
        and "MASTER_ADDR" in os.environ
        and "LOCAL_RANK" not in os.environ
    ):
        raise ArgumentsError(
            "accelerate launch: was asked for several processes and started one, as it does with --cpu and on a "
            "machine without GPUs. To start several on CPUs, give accelerate --multi_gpu in place of --cpu, and this "
            "command --use_cpu true; to train in one process, start it without accelerate launch"
        )
    kind = training.distributed_state.distributed_type if training.distributed_state is not None else None
    on_cpus = kind in (DistributedType.NO, DistributedType.MULTI_CPU)
    for name, asked in (
        ("FSDP", bool(training.fsdp) or os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"),
        ("DeepSpeed", bool(training.deepspeed) or os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() == "true"),
    ):
        if asked and on_cpus:
            raise ArgumentsError(
                f"{name}: accelerate shards a model over GPUs alone, and this run uses CPUs (use_cpu, or no GPU was "
                "found), where every process would hold the whole model; use GPUs, or configs/accelerate/ddp.yaml"
            )


def run_command(
    read: Callable[[Sequence[str]], tuple[Any, RunTrainingArguments]],
    run: Callable[[Any, Any], Any],
    options: Sequence[str] | None,
) -> None:
    """
    Read settings from a command line, run, and print the metrics as JSON; errors are one line.

    Args:
        read, run: Of alignment or of fine-tuning.
        options: None takes those of this process.
    """
    try:
        settings, training = read(sys.argv[1:] if options is None else options)
        with redirect_stdout(sys.stderr):  # the trainer prints its logs to stdout
            result = run(settings, training)
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        if "--debug" in sys.argv:
            raise
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ArgumentsError) else 1)
    if training.process_index == 0:
        print(json.dumps(result.metrics))


__all__ = ["Progress", "RunTrainingArguments", "check_launch", "run_command"]
