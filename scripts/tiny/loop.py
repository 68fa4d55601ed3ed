"""A training loop of a fixed number of steps, which goes on where it was stopped and ends with the same weights."""

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

_SAVE_EVERY = 60.0  # seconds


def train(
    name: str,
    folder: Path,
    model: nn.Module,
    loss_of: Callable[[torch.Generator], Tensor],
    *,
    steps: int,
    learning_rate: float,
    seed: int,
    weight_decay: float = 0.01,
    clip: float = 1.0,
) -> list[float]:
    """
    AdamW with a linear warm-up over 5 % of the steps and a cosine down to 2 %.

    Args:
        folder: Holds the state of a run that was stopped.
        loss_of: One batch, drawn with the generator; each step has its own, so that a resumed run draws the same.

    Returns:
        The losses of this process's steps.

    Raises:
        RuntimeError: If the loss is not finite.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=weight_decay, betas=(0.9, 0.98))

    def rate(step: int) -> float:
        if step < (warm := max(1, steps // 20)):
            return (step + 1) / warm
        return 0.02 + 0.49 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))

    state_path, first = folder / f"{name}.pt", 0
    if state_path.is_file():
        state = torch.load(state_path, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    losses, saved = [], time.monotonic()
    model.train()
    bar = tqdm(range(first, steps), desc=name, initial=first, total=steps, mininterval=5)
    for step in bar:
        torch.manual_seed(seed * 1_000_003 + step)  # of dropout
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * rate(step)
        loss = loss_of(torch.Generator().manual_seed(seed * 1_000_003 + step))
        if not torch.isfinite(loss):
            raise RuntimeError(f"{name}: the loss is {loss.item()} at step {step}")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, clip)
        optimizer.step()
        losses.append(loss.item())
        if step % 20 == 0:
            bar.set_postfix(loss=f"{sum(losses[-20:]) / len(losses[-20:]):.3f}")
        if time.monotonic() - saved > _SAVE_EVERY and step + 1 < steps:
            save(state_path, {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1})
            saved = time.monotonic()
    model.eval()
    return losses


def save(path: Path, value: Any) -> None:
    """`torch.save` that appears whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    torch.save(value, temporary)
    os.replace(temporary, path)


def draw(generator: torch.Generator, count: int, size: int) -> Tensor:
    """`(size,)` int64 of `range(count)`, without repeats."""
    return torch.randperm(count, generator=generator)[:size]


__all__ = ["draw", "save", "train"]
