"""The CPU implementation: the reference's answer from few operations, most of which run over data still in cache."""

import torch
from torch import Tensor

from .reference import cosine_similarity, stable_top_k

# The fp32 copy of one block of rows should fit the L2 cache of a core.
BLOCK_BYTES = 1 << 19
# Similarities are within 1e-6 of the truth whatever the order of summation.
CLEAR_GAP = 2e-6


def substitute(
    tokens: Tensor, audio: Tensor, k: int, budgets: Tensor | None, drop: bool, valid: Tensor | None, out: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """`substitute_tokens` for checked CPU tensors; `k` sets drop mode's width, `budgets` the images' own counts."""
    batch, rows, dim = tokens.shape
    sound, patches = audio.to(tokens.dtype), tokens[:, 1:]
    similarity, kept, indices = rank(patches, sound, k if budgets is None else budgets, valid)
    if out is None:
        out = tokens.new_empty(batch, 1 + k if drop else rows, dim)
    for b, (image, target) in enumerate(zip(patches, out[:, 1:])):
        if drop:
            index = kept[b].nonzero().squeeze(-1)
            torch.index_select(image, 0, index, out=target[: len(index)])
            target[len(index) :].zero_()
            continue
        index = kept[b].nonzero().squeeze(-1) if indices is None else indices[b]
        if 2 * len(index) > rows:
            target.copy_(image).index_fill_(0, (~kept[b]).nonzero().squeeze(-1), 0.0)
        else:
            target.zero_().index_copy_(0, index, image.index_select(0, index))
    out[:, 0] = sound
    return out, kept, similarity


def rank(patches: Tensor, sound: Tensor, k: int | Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """`(B, N)` similarities, `(B, N)` kept patches and, where known, the latter's `(B, k)` indices in any order.

    BLAS is twice as fast as summing the products, but may sum equal rows in different orders, and equal rows must tie
    exactly. So it decides where the last patch kept is clearly ahead of the first one dropped, and only there.
    """
    count = patches.shape[1]
    similarity, indices = blas_similarity(patches, sound), None
    common = k if isinstance(k, int) and valid is None else None
    if count == 0 or common in (0, count):
        return similarity, torch.full_like(similarity, bool(common), dtype=torch.bool), None
    if common is not None:
        # `topk` leaves the order of ties open: at the edge they are not clear, and above it order means nothing.
        top = similarity.topk(common + 1)
        kept = (similarity < top.values[:, common - 1 : common]).logical_not_()  # NaN stays
        indices, edges = top.indices[:, :common], top.values[:, common - 1 :]
    else:
        kept = stable_top_k(similarity, k, valid)
        dropped = ~kept if valid is None else valid & ~kept
        last = similarity.masked_fill(~kept, torch.inf).amin(-1)
        edges = torch.stack((last, similarity.masked_fill(~dropped, -torch.inf).amax(-1)), dim=-1)
    # NaN is not clear of anything.
    unclear = [b for b, (last, first) in enumerate(edges.tolist()) if not last - first > CLEAR_GAP]
    for b in unclear:
        one = slice(b, b + 1)
        similarity[one] = cosine_similarity(patches[one], sound[one])
        budget = k if isinstance(k, int) else k[one]
        kept[one] = stable_top_k(similarity[one], budget, None if valid is None else valid[one])
    return similarity, kept, None if unclear else indices


def blas_similarity(patches: Tensor, sound: Tensor) -> Tensor:
    """`reference.cosine_similarity` with BLAS' dot products, as many rows at a time as fit a block."""
    batch, count, dim = patches.shape
    sound = sound.float()
    # Nothing is copied from fp32, so there is nothing to keep in cache.
    step = max(1, count if patches.dtype == torch.float32 else BLOCK_BYTES // max(1, 4 * dim))
    dots, norms = sound.new_empty(2, batch, count)
    for image, f, dot, norm in zip(patches, sound, dots, norms):
        for start in range(0, count, step):
            block = slice(start, start + step)
            rows = image[block].float()
            torch.mv(rows, f, out=dot[block])
            torch.linalg.vector_norm(rows, dim=-1, out=norm[block])
    norms.mul_(torch.linalg.vector_norm(sound, dim=-1, keepdim=True))
    # The bound stands in for a zero norm, whose dot product is 0, and lets NaN through.
    return dots.div_(norms.clamp_(min=torch.finfo(torch.float32).tiny))
