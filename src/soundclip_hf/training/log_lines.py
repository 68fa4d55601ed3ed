"""What a training prints while it runs: short lines in place of the dictionaries of numbers that are logged."""

import sys
from typing import Any

from transformers import IntervalStrategy, PrinterCallback, ProgressCallback, Trainer, TrainerCallback

# Logged by every evaluation, and of no use while the training runs.
_UNSAID = ("runtime", "samples_per_second", "steps_per_second", "epoch")


def print_lines(trainer: Trainer) -> None:
    """Let a trainer print one line for each evaluation. What is logged, and what trackers get, stays complete."""
    trainer.remove_callback(PrinterCallback)
    if trainer.pop_callback(ProgressCallback) is not None:
        trainer.add_callback(_Bar)
    trainer.add_callback(LogLines())


class LogLines(TrainerCallback):
    """
    Prints the loss of the training, the numbers of the last evaluation and the learning rate, on stderr.

    Where nothing is evaluated, every log of the training loss is a line.
    """

    def __init__(self) -> None:
        self.loss: float | None = None
        self.rate: float | None = None

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # An epoch may be shorter than `logging_steps`, and its line would have no loss.
        if (
            self.loss is None
            and args.eval_strategy == IntervalStrategy.EPOCH
            and args.logging_strategy == IntervalStrategy.STEPS
        ):
            control.should_log = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if not state.is_world_process_zero:
            return
        found = dict(logs or {})
        self.loss, self.rate = found.get("loss", self.loss), found.get("learning_rate", self.rate)
        measured = {name.removeprefix("eval_"): value for name, value in found.items() if name.startswith("eval_")}
        measured = {name: value for name, value in measured.items() if name not in _UNSAID}
        if measured or (args.eval_strategy == IntervalStrategy.NO and "loss" in found):
            print(
                f"{_place(args, state)}: {', '.join([*self._trained(), *_words(measured)])}",
                file=sys.stderr,
                flush=True,
            )

    def _trained(self) -> list[str]:
        if self.loss is None:
            return []
        said = [f"loss {self.loss:.4g}"] + ([] if self.rate is None else [f"learning rate {self.rate:.2g}"])
        self.loss = None
        return said


def _place(args: Any, state: Any) -> str:
    if args.eval_strategy == IntervalStrategy.EPOCH and state.epoch is not None:
        return (
            f"epoch {state.epoch:g} of {args.num_train_epochs:g}" if args.max_steps <= 0 else f"epoch {state.epoch:g}"
        )
    return f"step {state.global_step} of {state.max_steps}"


def _words(measured: dict[str, Any]) -> list[str]:
    """Of retrieval, only what the projector changes: the values of raw embeddings and of chance stay the same."""
    words = [f"held-out loss {measured['loss']:.4g}"] if "loss" in measured else []
    if "a2v_mean_rank" in measured:
        ranks, first = ([measured[f"{way}_{name}"] for way in ("a2v", "v2a")] for name in ("mean_rank", "t1"))
        words.append("mean rank {:.4g} sound to picture, {:.4g} picture to sound".format(*ranks))
        words.append("T1 {:.3g} %, {:.3g} %".format(*first))
        return words
    return [*words, *(f"{name} {value:.4g}" for name, value in measured.items() if name != "loss")]


class _Bar(ProgressCallback):
    def on_log(self, *args: Any, **kwargs: Any) -> None:
        """Leave the numbers to [`LogLines`]."""


__all__ = ["LogLines", "print_lines"]
