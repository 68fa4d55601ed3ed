"""How far what a model predicts along one answer is from what it predicts there with another sound."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Divergence:
    """
    Attributes:
        kl_first: Kullback-Leibler divergence of the first token's distribution, true to other, in nats.
        kl_mean: Its mean over the tokens of the answer.
        moved: The largest total variation distance over these tokens, from 0 to 1: the share of the probability that
            goes to other tokens.
        change: The largest difference of a log-probability over these tokens and the vocabulary, in nats. Where it is
            0 up to rounding, the two sounds made no difference to the model.
    """

    kl_first: float
    kl_mean: float
    moved: float
    change: float


def divergence(true: Tensor, other: Tensor) -> Divergence:
    """
    Args:
        true, other: Logits `(tokens, vocabulary)` along the same answer; -inf is a token that cannot come.

    Raises:
        ValueError: If the shapes differ or there is no token.
    """
    if true.ndim != 2 or true.shape != other.shape or not len(true):
        raise ValueError(
            f"logits {tuple(true.shape)} and {tuple(other.shape)}: expected two of one shape (tokens, vocabulary), "
            "with at least one token"
        )
    log_p, log_q = true.double().log_softmax(-1), other.double().log_softmax(-1)
    p, q = log_p.exp(), log_q.exp()
    difference = log_p - log_q
    # Tokens that can come in neither case give inf - inf.
    difference = torch.where(torch.isneginf(log_p) & torch.isneginf(log_q), 0.0, difference)
    # 0 * log 0 is 0. Rounding must not make a divergence negative.
    kl = torch.where(p > 0, p * difference, 0.0).sum(-1).clamp(min=0)
    moved = 0.5 * (p - q).abs().sum(-1)
    return Divergence(float(kl[0]), float(kl.mean()), float(moved.max()), float(difference.abs().max()))


def overlap(kept: Tensor, other: Tensor) -> float:
    """
    Jaccard index of two sets of patches: 1 for the same set, 0 for none in common, 1 for two empty sets.

    Args:
        kept, other: Bool, of the same shape.
    """
    union = int((kept | other).sum())
    return int((kept & other).sum()) / union if union else 1.0


__all__ = ["Divergence", "divergence", "overlap"]
