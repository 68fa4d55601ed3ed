"""Algorithm 1 of the paper in plain torch operations: the definition that faster implementations are compared with.

`(tokens, audio, k)` in, `(tokens, kept, similarity)` out. It runs on any device, and autograd differentiates it.
"""

import torch
from torch import Tensor


def reference_substitution(
    tokens: Tensor, audio: Tensor, k: int | Tensor, *, mode: str = "zero", valid: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Replace the `[CLS]` row by the sound and keep the `k` patches most similar to it.

    The arguments and the three results are those of `substitute_tokens`; nothing is validated here.
    """
    sound, patches = audio.to(tokens.dtype), tokens[:, 1:]  # (B, D), (B, N, D)
    similarity = cosine_similarity(patches.detach(), sound.detach())
    kept = stable_top_k(similarity, k, valid)
    if mode == "zero":
        rows, filled = patches, kept
    else:
        rows, filled = compact(patches, kept, width=k if isinstance(k, int) else max(k.tolist(), default=0))
    # Selected, not multiplied: NaN * 0 is NaN and -x * 0 is -0.
    rows = torch.where(filled[..., None], rows, torch.zeros((), dtype=rows.dtype, device=rows.device))
    return torch.cat([sound[:, None], rows], dim=1), kept, similarity


def cosine_similarity(patches: Tensor, sound: Tensor) -> Tensor:
    """Cosine of every patch `(B, N, D)` with the sound `(B, D)` as `(B, N)` fp32; 0 where either is a zero vector."""
    p, f = patches.float(), sound.float()[:, None]
    dot = (p * f).sum(-1)
    norms = p.square().sum(-1).sqrt() * f.square().sum(-1).sqrt()
    return torch.where(norms == 0, torch.zeros_like(norms), dot / norms)


def stable_top_k(similarity: Tensor, k: int | Tensor, valid: Tensor | None = None) -> Tensor:
    """Mark the first `k` entries per row of a stable descending sort, as `(B, N)` bool.

    Ties go to the lower index and NaN ranks first, as in `torch.sort`. (`torch.topk` leaves the order of ties open.)
    """
    # Cosines are never -inf, so the excluded entries come after every valid one.
    scores = similarity if valid is None else similarity.masked_fill(~valid, -torch.inf)
    order = scores.sort(dim=-1, descending=True, stable=True).indices
    places = torch.arange(scores.shape[-1], device=scores.device).expand_as(order)
    budget = k if isinstance(k, int) else k.to(scores.device)[:, None]
    kept = torch.empty_like(order).scatter_(-1, order, places) < budget
    return kept if valid is None else kept & valid


def compact(patches: Tensor, kept: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Move kept rows to the front in ascending order: `(B, width, D)` rows and `(B, width)` bool for those in use."""
    first = kept.byte().sort(dim=-1, descending=True, stable=True).indices[:, :width]
    return patches.gather(1, first[..., None].expand(-1, -1, patches.shape[-1])), kept.gather(1, first)
