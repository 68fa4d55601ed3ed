"""A lower bound on the mutual information of two sets of embeddings, by InfoNCE."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .estimates import ORDERS, Estimate, bootstrap, check_rows, pair, quantiles

TEMPERATURES = tuple(0.01 * 10 ** (step / 6) for step in range(13))


def info_nce_bound(
    x: Tensor, y: Tensor, *, batch_size: int = 128, temperature: float | None = None, seed: int = 0
) -> Estimate:
    """
    A lower bound on the mutual information of `x` and `y`, `log N - L`, of van den Oord et al. (2018).

    `L` is the InfoNCE loss of batches of N pairs, of cosines, in both directions (`losses.info_nce`), averaged over all
    items in several orders. The bound holds for every temperature; and it cannot say more than `log N`.

    Args:
        x, y: `(n, d)` each, any float dtype; row i belongs to row i.
        batch_size: N, at least 2; at most half of the items are taken where the temperature is chosen.
        temperature: Of the loss. None: for each half of the items, that of 13 from 0.01 to 1 which is best for the
            other half.

    Returns:
        The bound in nats; it may be below 0, and then says nothing. The interval is a bootstrap's over the items, whose
        batches stay as they are. `settings` has `temperatures`, `batch_size` and `most`, which is `log N`.

    Raises:
        ValueError: If shapes differ, or there are fewer than 4 items.
    """
    check_rows(x, y, 4)
    if x.shape != y.shape:
        raise ValueError(f"info_nce_bound: x {tuple(x.shape)} and y {tuple(y.shape)} have other widths")
    if batch_size < 2:
        raise ValueError(f"batch_size={batch_size}: must be at least 2")
    x, y = (F.normalize(part.detach().cpu().double(), dim=-1) for part in (x, y))
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(x), generator=generator)
    halves = [order] if temperature is not None else [order[::2], order[1::2]]
    size = min(batch_size, *map(len, halves))
    items, bounds, chosen = _of_halves(x, y, halves, size, temperature, generator)
    # Pictures of other items: those beside them in the random order.
    _, shuffled, _ = _of_halves(x, y[order.roll(1)[order.argsort()]], halves, size, temperature, generator)
    # An item counts as often as it was in a batch.
    sums = torch.zeros(len(x), 2).double().index_add_(0, items, torch.stack([bounds, torch.ones_like(bounds)], dim=1))
    drawn = bootstrap(sums[sums[:, 1] > 0], generator)
    interval = pair(quantiles(drawn[:, 0] / drawn[:, 1]))
    settings = {"temperatures": chosen, "batch_size": size, "most": math.log(size)}
    return Estimate(float(bounds.mean()), interval, float(shuffled.mean()), settings)


def _of_halves(
    x: Tensor,
    y: Tensor,
    halves: Sequence[Tensor],
    size: int,
    temperature: float | None,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, list[float]]:
    """The items of all batches, the bound of each, and the temperature for each half."""
    items, bounds, chosen = [], [], []
    for place, half in enumerate(halves):
        best = temperature
        if best is None:
            batches = _batches(halves[1 - place], size, generator)
            best = max(TEMPERATURES, key=lambda one: float(_bounds(x, y, batches, one).mean()))
        batches = torch.cat([_batches(half, size, generator) for _ in range(ORDERS)])
        items.append(batches.flatten())
        bounds.append(_bounds(x, y, batches, best).flatten())
        chosen.append(best)
    return torch.cat(items), torch.cat(bounds), chosen


def _batches(items: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """`(batches, size)`: whole batches of the items in a random order."""
    mixed = items[torch.randperm(len(items), generator=generator)]
    return mixed[: len(items) // size * size].view(-1, size)


def _bounds(x: Tensor, y: Tensor, batches: Tensor, temperature: float) -> Tensor:
    """`(batches, size)`: `log N` minus the loss of each item, over both directions."""
    found = []
    for batch in batches:
        logits = x[batch] @ y[batch].T / temperature
        losses = (logits.logsumexp(1) + logits.logsumexp(0)) / 2 - logits.diagonal()
        found.append(math.log(len(batch)) - losses)
    return torch.stack(found)


__all__ = ["info_nce_bound"]
