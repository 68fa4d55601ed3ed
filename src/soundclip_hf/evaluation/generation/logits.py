"""Logits processors of generation: numbers that are not finite are an error, and samples do not depend on the batch."""

import torch
from transformers import LogitsProcessor

from ...modeling.finite import NotFiniteError


class SeededSampling(LogitsProcessor):
    """
    Add Gumbel noise to `scores / temperature`: the largest is then a sample of their softmax.

    Each row draws from a generator of its own, so that a sampled answer does not depend on what else is in the batch.
    """

    def __init__(self, temperature: float, seed: int, rows: int) -> None:
        self.temperature = temperature
        self.generators = [torch.Generator().manual_seed(seed) for _ in range(rows)]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        noise = [torch.empty(scores.shape[1]).exponential_(generator=g).log() for g in self.generators]
        return scores.float() / self.temperature - torch.stack(noise).to(scores.device)


class FiniteLogits(LogitsProcessor):
    """
    Refuse logits that are NaN or infinite. The largest of them would be the first token of the vocabulary, and an
    answer of such tokens is empty.
    """

    def __init__(self) -> None:
        self.bad: torch.Tensor | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        # NaN and Inf are the maximum where there is one; -Inf alone forbids a token, and is no fault.
        bad = ~torch.isfinite(scores.amax(-1))
        if self.bad is None:
            self.bad = bad
            self.check()
        else:
            # Looked at in the end, so that a GPU need not be waited for at every token.
            self.bad = self.bad | bad
        return scores

    def check(self) -> None:
        """
        Raises:
            NotFiniteError: If any logits were not finite.
        """
        if self.bad is not None and self.bad.any():
            raise NotFiniteError("the logits are NaN or infinite")


__all__ = ["FiniteLogits", "SeededSampling"]
