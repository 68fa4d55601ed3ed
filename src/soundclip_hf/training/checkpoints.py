"""The settings of the run that a folder holds, and its last complete checkpoint."""

import json
import logging
import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from safetensors import SafetensorError, safe_open
from transformers import Trainer, TrainerCallback, TrainerState

from ..files import lock_folder, write_text
from .settings_parser import ArgumentsError

logger = logging.getLogger("transformers.soundclip_hf.training")

SETTINGS_NAME = "alignment.json"
# Of this process. A process that loads batches outlives one that was killed, for seconds in which it would keep the
# lock, and the same command would be refused.
_locks: set[BinaryIO] = set()


def _let_go() -> None:
    for lock in _locks:
        with open(os.devnull, "ab") as nothing:
            os.dup2(nothing.fileno(), lock.fileno())


os.register_at_fork(after_in_child=_let_go)


@contextmanager
def only_run(folder: Path) -> Iterator[None]:
    """
    Keep all other runs from writing to a folder, which is made unless it is there, until the block ends.

    Raises:
        InUseError: If another run writes to it.
    """
    lock = lock_folder(folder)
    _locks.add(lock)
    try:
        yield
    finally:
        _locks.discard(lock)
        # It is no part of what is published from this folder.
        Path(lock.name).unlink(missing_ok=True)
        lock.close()


def last_checkpoint(folder: str | Path, processes: int = 1) -> Path | None:
    """The last complete checkpoint, or None: a run that was killed may have left an incomplete one."""
    found = [
        (int(match[1]), path)
        for path in Path(folder).glob("checkpoint-*")
        if (match := re.fullmatch(r"checkpoint-(\d+)", path.name))
    ]
    return next((path for _, path in sorted(found, reverse=True) if _is_whole(path, processes)), None)


def train_from(trainer: Trainer, checkpoint: str | Path | None) -> None:
    """
    Train from a checkpoint on, and say so; or from the start.

    A checkpoint of the last step, such as that of a run that was killed while its results were written, is loaded
    alone: where the last step is not the last of an epoch, `Trainer` would do another one.
    """
    path = None if checkpoint is None else Path(checkpoint) / "trainer_state.json"
    state = TrainerState.load_from_json(str(path)) if path is not None and path.is_file() else None
    if path is not None and trainer.is_world_process_zero():
        step = "" if state is None else f" (step {state.global_step} of {state.max_steps})"
        logger.warning("going on from %s%s in %s", path.parent.name, step, path.parent.parent)
    if state is None or state.max_steps <= 0 or state.global_step < state.max_steps:
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        return
    best = state.best_model_checkpoint if trainer.args.load_best_model_at_end else None
    wanted = best if best is not None and Path(best).is_dir() else str(checkpoint)
    stop = _StopAtOnce()
    trainer.add_callback(stop)
    try:
        trainer.train(resume_from_checkpoint=wanted)
    except _NothingLeftError:
        trainer.state = state
        trainer.is_in_train = False
    finally:
        trainer.remove_callback(stop)


class _NothingLeftError(Exception):
    """Ends a training before its first step, with everything loaded."""


class _StopAtOnce(TrainerCallback):
    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        raise _NothingLeftError


def claim(folder: str | Path, settings: dict[str, Any], overwrite: bool, name: str = SETTINGS_NAME) -> None:
    """
    Write the settings of the run to its folder, or check that the run in this folder has the same settings.

    Args:
        name: Of the file that holds them; a run of another kind has another.

    Raises:
        ArgumentsError: If the folder holds a run with other settings.
    """
    path = Path(folder) / name
    text = json.dumps(settings, indent=2, sort_keys=True, default=str)
    if overwrite:
        for old in Path(folder).glob("checkpoint-*"):
            shutil.rmtree(old)
    elif path.is_file():
        try:
            before, now = json.loads(path.read_text(encoding="utf-8")), json.loads(text)
            if not isinstance(before, dict):
                raise ValueError("holds no settings")
        except (ValueError, RecursionError) as error:
            raise ArgumentsError(f"{path}: {error}; choose another output_dir, or --overwrite") from error
        other = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
        if other:
            raise ArgumentsError(
                f"output_dir {folder}: holds a run with another {other[0]} ({before.get(other[0])!r}, now "
                f"{now.get(other[0])!r}); choose another folder, or --overwrite"
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text + "\n")


def _is_whole(folder: Path, processes: int) -> bool:
    rng = ["rng_state.pth"] if processes == 1 else [f"rng_state_{rank}.pth" for rank in range(processes)]
    try:
        if not (folder / "pytorch_model_fsdp_0" / ".metadata").is_file():
            with safe_open(folder / "model.safetensors", framework="pt") as file:
                file.keys()
        json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, SafetensorError):
        return False
    return _has_optimizer(folder) and all(_is_zip(folder / name) for name in ("scheduler.pt", *rng))


def _has_optimizer(folder: Path) -> bool:
    return (
        _is_zip(folder / "optimizer.pt")
        or (_is_zip(folder / "optimizer.bin") and _is_zip(folder / "pytorch_model_fsdp.bin"))  # FSDP, whole
        or (folder / "optimizer_0" / ".metadata").is_file()  # FSDP, in shards; this file is written last
        or (folder / "latest").is_file()  # DeepSpeed writes this file last
    )


def _is_zip(path: Path) -> bool:
    # The directory of a zip file is at its end, so a truncated one is not recognised.
    return zipfile.is_zipfile(path)


__all__ = ["SETTINGS_NAME", "claim", "last_checkpoint", "only_run", "train_from"]
