"""An estimate with its interval, and the bootstrap that the intervals come from."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

CONFIDENCE = 0.95
RESAMPLES = 1000
# Orders of the items over which batches, and shuffled pairs, are averaged.
ORDERS = 5


@dataclass(frozen=True)
class Estimate:
    """
    Attributes:
        value: The estimate.
        interval: 95 % interval over items, `(low, high)`.
        shuffled: The same estimate where the pairs are shuffled: what knowing nothing gives.
        settings: What was chosen on the way, as plain values.
    """

    value: float
    interval: tuple[float, float]
    shuffled: float
    settings: dict[str, Any]


def bootstrap(sums: Tensor, generator: torch.Generator) -> Tensor:
    """`(RESAMPLES, k)`: means of the rows `(n, k)` drawn with replacement."""
    drawn = torch.empty(RESAMPLES, sums.shape[1], dtype=torch.float64)
    for row in drawn:
        row[:] = sums[torch.randint(len(sums), (len(sums),), generator=generator)].mean(0)
    return drawn


def quantiles(values: Tensor) -> Tensor:
    ends = torch.tensor([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], dtype=torch.float64)
    return torch.quantile(values, ends, dim=0)


def pair(edges: Tensor) -> tuple[float, float]:
    low, high = edges.tolist()
    return low, high


def check_rows(x: Tensor, y: Tensor, least: int) -> None:
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise ValueError(
            f"x {tuple(x.shape)} and y {tuple(y.shape)}: expected (n, d) and (n, e), row i belonging to row i"
        )
    if len(x) < least:
        raise ValueError(f"{len(x)} samples: at least {least} are needed; give more")
    for name, part in (("x", x), ("y", y)):
        if not torch.isfinite(part).all():
            raise ValueError(f"{name}: holds NaN or Inf")


__all__ = ["ORDERS", "Estimate", "bootstrap", "check_rows", "pair", "quantiles"]
