"""The CPU implementation: the reference's answer from few operations whose intermediates stay in cache."""

from collections.abc import Callable

import torch
from torch import Tensor

from .reference import stable_top_k

# The fp32 products of one block of images should fit the L2 caches of the cores that share them.
BLOCK_BYTES = 4 << 20
# Similarities are within 1e-6 of the truth whatever the order of summation.
CLEAR_GAP = 2e-6


def substitute(
    tokens: Tensor, audio: Tensor, k: int, budgets: Tensor | None, drop: bool, valid: Tensor | None, out: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """`substitute_tokens` for checked CPU tensors; `k` sets drop mode's width, `budgets` the images' own counts."""
    batch, rows, dim = tokens.shape
    sound = audio.to(tokens.dtype)
    similarity, kept = rank(tokens[:, 1:], sound, k if budgets is None else budgets, valid)
    if out is None:
        out = tokens.new_empty(batch, 1 + k if drop else rows, dim)
    for image, target, mask in zip(tokens[:, 1:], out[:, 1:], kept):
        index = mask.nonzero().squeeze(-1)
        count = len(index)
        if drop:
            torch.index_select(image, 0, index, out=target[:count])
            target[count:].zero_()
        elif 2 * count > rows:
            target.copy_(image).index_fill_(0, (~mask).nonzero().squeeze(-1), 0.0)
        else:
            target.zero_().index_copy_(0, index, image.index_select(0, index))
    out[:, 0] = sound
    return out, kept, similarity


def rank(patches: Tensor, sound: Tensor, k: int | Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
    """`(B, N)` similarities and kept patches.

    BLAS is twice as fast as summing the products, but may sum equal rows in different orders, and equal rows must tie
    exactly. So it decides where the last patch kept is clearly ahead of the first one dropped, and only there.
    """
    similarity = cosine_similarity(patches, sound, blas_dot)
    if isinstance(k, int) and valid is None:
        ranked = similarity.sort(dim=-1, descending=True, stable=True)
        kept = torch.zeros_like(similarity, dtype=torch.bool).scatter_(1, ranked.indices[:, :k], True)
        if not 0 < k < similarity.shape[1]:
            return similarity, kept
        gap = ranked.values[:, k - 1] - ranked.values[:, k]
    else:
        kept = stable_top_k(similarity, k, valid)
        dropped = ~kept if valid is None else valid & ~kept
        gap = similarity.masked_fill(~kept, torch.inf).amin(-1) - similarity.masked_fill(~dropped, -torch.inf).amax(-1)
    # NaN is not clear of anything.
    for b in (~(gap > CLEAR_GAP)).nonzero().flatten().tolist():
        one = slice(b, b + 1)
        similarity[one] = cosine_similarity(patches[one], sound[one], exact_dot)
        budget = k if isinstance(k, int) else k[one]
        kept[one] = stable_top_k(similarity[one], budget, None if valid is None else valid[one])
    return similarity, kept


def blas_dot(p: Tensor, f: Tensor) -> Tensor:
    dot = p.new_empty(p.shape[:2])
    for rows, sound, result in zip(p, f, dot):
        torch.mv(rows, sound, out=result)
    return dot


def exact_dot(p: Tensor, f: Tensor) -> Tensor:
    """Sums every row in the same order."""
    return (p * f[:, None]).sum(-1)


def cosine_similarity(patches: Tensor, sound: Tensor, dot: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """`reference.cosine_similarity`, as many images at a time as fit a block."""
    _, count, dim = patches.shape
    step = max(1, BLOCK_BYTES // max(1, 4 * count * dim))
    blocks = []
    for rows, f in zip(patches.split(step), sound.float().split(step)):
        p = rows.float()
        norms = torch.linalg.vector_norm(p, dim=-1).mul_(torch.linalg.vector_norm(f, dim=-1, keepdim=True))
        # The bound stands in for a zero norm, whose dot product is 0, and lets NaN through.
        blocks.append(dot(p, f).div_(norms.clamp_(min=torch.finfo(torch.float32).tiny)))
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks)
