"""Linear centred kernel alignment (CKA) of two sets of embeddings."""

import torch
from torch import Tensor

from .estimates import ORDERS, Estimate, check_rows, pair, quantiles

HALVES = 200


def linear_cka(x: Tensor, y: Tensor, *, debiased: bool = False) -> float:
    """
    Linear centred kernel alignment of Kornblith et al. (2019), which rotations and a common scale do not change.

    Args:
        x: `(n, d)`, any float dtype.
        y: `(n, e)`; row i belongs to row i of `x`.
        debiased: Estimate the three terms without their bias, after Song et al. (2012) and Nguyen et al. (2021). The
            plain value of independent features is far from 0 where n is not much larger than the widths; this one's is
            0 on average, and may be negative.

    Returns:
        1 for the same features up to rotation, shift and scale; the plain value is in 0..1.

    Raises:
        ValueError: If the numbers of rows differ, there are fewer than 2 rows (4 for `debiased`), or the rows of one
            side are all the same.
    """
    least = 4 if debiased else 2
    check_rows(x, y, least)
    return float(_cka(_narrow(x), _narrow(y))[int(debiased)])


def cka(x: Tensor, y: Tensor, *, seed: int = 0) -> dict[str, Estimate]:
    """
    [`linear_cka`] with its interval.

    A bootstrap would draw an item twice, and the two would agree with each other in both embeddings. So the interval
    is that of random halves of the items, without replacement, which spread about all items as these do about the
    population; it is centred on the value.

    Args:
        x, y: As of [`linear_cka`]; n at least 8.

    Returns:
        "cka" and "cka_debiased".
    """
    check_rows(x, y, 8)
    x, y = _narrow(x), _narrow(y)
    generator = torch.Generator().manual_seed(seed)
    n = len(x)
    values = _cka(x, y)
    halves = []
    for _ in range(HALVES):
        rows = torch.randperm(n, generator=generator)[: n // 2]
        halves.append(_cka(x[rows], y[rows]))
    shuffled = torch.stack([_cka(x, y[torch.randperm(n, generator=generator)]) for _ in range(ORDERS)]).mean(0)
    spread = torch.stack(halves)
    edges = values + quantiles(spread - spread.mean(0))
    return {
        name: Estimate(float(values[place]), pair(edges[:, place]), float(shuffled[place]), {"halves": HALVES})
        for place, name in enumerate(("cka", "cka_debiased"))
    }


def _cka(x: Tensor, y: Tensor) -> Tensor:
    """`(2,)`: plain and debiased, of float64 features."""
    x, y = _centred(x), _centred(y)
    xy, xx, yy = (_dependences(a, b) for a, b in ((x, y), (x, x), (y, y)))
    scale = (xx * yy).clamp_min(0).sqrt()
    # Where the estimate of a side's own variance is not positive, there is nothing to divide by.
    return torch.where(scale > 0, xy / scale, torch.zeros_like(xy))


def _dependences(x: Tensor, y: Tensor) -> Tensor:
    """`(2,)`: plain and debiased HSIC of centred features, up to one common factor each, in `O(n d e)`."""
    n = len(x)
    whole = (x.T @ y).square().sum()
    if n < 4:
        return torch.stack([whole, whole.new_zeros(())])
    # Gram matrices K and L without their diagonals: trace(K L), and sums of rows and of all.
    of_x, of_y = x.square().sum(1), y.square().sum(1)
    trace = whole - (of_x * of_y).sum()
    rows_x, rows_y = x @ x.sum(0) - of_x, y @ y.sum(0) - of_y
    both = rows_x.sum() * rows_y.sum() / ((n - 1) * (n - 2))
    return torch.stack([whole, (trace + both - 2 * (rows_x @ rows_y) / (n - 2)) / (n * (n - 3))])


def _centred(x: Tensor) -> Tensor:
    centred = x - x.mean(0)
    # Equal rows may differ from their mean by rounding.
    if centred.norm() <= 1e-12 * x.norm():
        raise ValueError("CKA: all rows of one side are the same, so there is no similarity to compare")
    return centred


def _narrow(x: Tensor) -> Tensor:
    """Features of the same Gram matrix in float64, at most as wide as there are rows."""
    x = x.detach().cpu().double()
    return torch.linalg.qr(x.T, mode="r").R.T if x.shape[1] > x.shape[0] else x


__all__ = ["cka", "linear_cka"]
