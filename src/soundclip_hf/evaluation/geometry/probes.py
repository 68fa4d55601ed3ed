"""What a linear map of embeddings predicts: other embeddings, or labels; cross-validated."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .estimates import Estimate, bootstrap, check_rows, pair, quantiles

# Of the ridge, in parts of the mean variance of a feature's direction.
PENALTIES = tuple(10.0**power for power in range(-6, 5))


def linear_predictability(
    x: Tensor, y: Tensor, *, groups: Sequence[str] | None = None, folds: int = 5, seed: int = 0
) -> Estimate:
    """
    How much of the variance of `y` a linear map of `x` predicts, on items that it was not fitted on.

    A ridge regression, cross-validated; its penalty is chosen within the other folds, by leaving one out.

    Args:
        x: `(n, d)`, any float dtype.
        y: `(n, e)`.
        groups: Of each item; a group is never on both sides. None: each is its own.
        folds: How many parts.

    Returns:
        R² over all of `y`'s dimensions: at most 1; below 0 where the mean predicts better. The interval is from a
        bootstrap over the items, whose predictions stay as they are.

    Raises:
        ValueError: If the numbers of rows differ, there are fewer groups than folds, or `y` is constant.
    """
    check_rows(x, y, 2 * folds)
    x, y = x.detach().cpu().double(), y.detach().cpu().double()
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(y), generator=generator)
    parts = _folds(len(x), groups, folds, generator)
    errors, totals = torch.zeros(2, len(x)).double(), torch.zeros(2, len(x)).double()
    penalties = []
    for test in parts:
        train = _others(parts, test)
        ridge = _Ridge(x[train])
        for row, target in enumerate((y, y[order])):
            penalty, predicted = ridge.predict(target[train], x[test])
            errors[row, test] = (target[test] - predicted).square().sum(1)
            totals[row, test] = (target[test] - target[train].mean(0)).square().sum(1)
            if row == 0:
                penalties.append(penalty)
    if totals[0].sum() <= 1e-20 * y.square().sum():
        raise ValueError("linear_predictability: all rows of y are the same, so there is nothing to predict")
    value, shuffled = (1 - errors.sum(1) / totals.sum(1)).tolist()
    drawn = bootstrap(torch.stack([errors[0], totals[0]], dim=1), generator)
    interval = pair(quantiles(1 - drawn[:, 0] / drawn[:, 1]))
    return Estimate(value, interval, shuffled, {"folds": folds, "penalties": penalties})


def label_probe(
    x: Tensor, labels: Sequence[str], *, groups: Sequence[str] | None = None, folds: int = 5, seed: int = 0
) -> Estimate:
    """
    How often a linear classifier of `x` finds the label of an item that it was not fitted on.

    Ridge regression to one value per class, of which the largest wins; cross-validated as in
    [`linear_predictability`].

    Args:
        x: `(n, d)`, any float dtype.
        labels: Of each item.

    Returns:
        The share of right answers, in 0..1. `settings` has `majority`, the share of the most frequent label.

    Raises:
        ValueError: If there are fewer than 2 labels, or as in [`linear_predictability`].
    """
    names = sorted(set(labels))
    if len(labels) != len(x) or len(names) < 2:
        raise ValueError(f"label_probe: {len(labels)} labels of {len(names)} kinds for {len(x)} items")
    place = {name: number for number, name in enumerate(names)}
    target = torch.tensor([place[label] for label in labels])
    x = x.detach().cpu().double()
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(x), generator=generator)
    parts = _folds(len(x), groups, folds, generator)
    right = torch.zeros(2, len(x)).double()
    for test in parts:
        train = _others(parts, test)
        ridge = _Ridge(x[train])
        for row, truth in enumerate((target, target[order])):
            _, scores = ridge.predict(F.one_hot(truth[train], len(names)).double(), x[test])
            right[row, test] = (scores.argmax(1) == truth[test]).double()
    value, shuffled = right.mean(1).tolist()
    majority = float(target.bincount().max()) / len(target)
    interval = pair(quantiles(bootstrap(right[0][:, None], generator)[:, 0]))
    return Estimate(value, interval, shuffled, {"folds": folds, "classes": len(names), "majority": majority})


class _Ridge:
    """Ridge regression on `(n, d)` float64 features, whose decomposition serves all targets and penalties."""

    def __init__(self, x: Tensor) -> None:
        self.mean = x.mean(0)
        x = x - self.mean
        # The smaller one of X'X and XX' has all that is needed.
        if x.shape[0] >= x.shape[1]:
            values, self.right = torch.linalg.eigh(x.T @ x)
            self.left = x @ self.right
        else:
            values, self.left = torch.linalg.eigh(x @ x.T)
            self.right = x.T @ self.left
        kept = values > values.max().clamp_min(1e-300) * 1e-12
        self.values = values[kept]
        lengths = self.values.sqrt()
        self.left, self.right = self.left[:, kept], self.right[:, kept]
        if x.shape[0] >= x.shape[1]:
            self.left = self.left / lengths
        else:
            self.right = self.right / lengths

    def predict(self, y: Tensor, x: Tensor) -> tuple[float, Tensor]:
        """The penalty that is best when one item is left out, and what it predicts for the rows of `x`."""
        mean = y.mean(0)
        along = self.left.T @ (y - mean)
        best: tuple[float, float, Tensor] | None = None
        for part in PENALTIES:
            penalty = part * float(self.values.mean())
            shrunk = self.values / (self.values + penalty)
            fitted = self.left @ (shrunk[:, None] * along)
            leverage = self.left.square() @ shrunk + 1 / len(y)
            left_out = (y - mean - fitted) / (1 - leverage).clamp_min(1e-9)[:, None]
            error = float(left_out.square().sum())
            if best is None or error < best[0]:
                best = error, part, shrunk
        assert best is not None
        weights = self.right @ ((best[2] / self.values.sqrt())[:, None] * along)
        return best[1], (x - self.mean) @ weights + mean


def _folds(n: int, groups: Sequence[str] | None, folds: int, generator: torch.Generator) -> list[Tensor]:
    names = list(range(n)) if groups is None else list(groups)
    kinds = list(dict.fromkeys(names))
    if not 2 <= folds <= len(kinds):
        raise ValueError(f"folds={folds}: must be 2 to {len(kinds)}, the number of groups")
    drawn = torch.randperm(len(kinds), generator=generator).tolist()
    fold = {kind: place % folds for kind, place in zip(kinds, drawn)}
    where = torch.tensor([fold[name] for name in names])
    return [(where == number).nonzero()[:, 0] for number in range(folds)]


def _others(parts: Sequence[Tensor], test: Tensor) -> Tensor:
    return torch.cat([part for part in parts if part is not test])


__all__ = ["label_probe", "linear_predictability"]
