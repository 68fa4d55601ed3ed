"""The CPU implementation: the result of the reference, with fewer operations and mostly on data in the cache."""

from math import isnan

import torch
from torch import Tensor

from .reference import cosine_similarity, stable_top_k

# The fp32 copy of one block of rows should fit the L2 cache of a core.
BLOCK_BYTES = 1 << 19
# Similarities are within 1e-6 of the exact value in any order of summation, so two of them can differ by twice that.
CLEAR_GAP = 2e-6


def substitute(
    tokens: Tensor, audio: Tensor, k: int, budgets: Tensor | None, drop: bool, valid: Tensor | None, out: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """`substitute_tokens` for checked CPU tensors; `k` is the width in drop mode, `budgets` the count of each image."""
    batch, rows, dim = tokens.shape
    sound, patches = audio.to(tokens.dtype), tokens[:, 1:]
    similarity, kept, indices = rank(patches, sound, k if budgets is None else budgets, valid)
    if out is None:
        out = tokens.new_empty(batch, 1 + k if drop else rows, dim)
    for b in range(batch):
        image, target = patches[b], out[b, 1:]
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
    """`(B, N)` similarities, `(B, N)` kept patches and, if known, their `(B, k)` indices in any order.

    BLAS is twice as fast as summing the products, but it may sum equal rows in different orders, and equal rows must
    tie exactly. Its result is used only where the last kept patch is clearly more similar than the first dropped one.
    """
    similarity, indices = blas_similarity(patches, sound), None
    if isinstance(k, int) and valid is None:
        kept, indices, unclear = top_k(similarity, k)
    else:
        kept, unclear = top_k_of_valid(similarity, k, valid)
    for b in unclear:
        one = slice(b, b + 1)
        similarity[one] = cosine_similarity(patches[one], sound[one])
        budget = k if isinstance(k, int) else k[one]
        kept[one] = stable_top_k(similarity[one], budget, None if valid is None else valid[one])
    return similarity, kept, None if unclear else indices


def top_k(similarity: Tensor, k: int) -> tuple[Tensor, Tensor | None, list[int]]:
    """Kept patches, their indices in any order, and the images for which these may not be the stable top k.

    `topk` does not define the order of ties. This matters only for a tie between the last kept and the first dropped.
    """
    if k in (0, similarity.shape[1]):
        return torch.full_like(similarity, k > 0, dtype=torch.bool), None, []
    values, indices = similarity.topk(k + 1)
    kept = similarity >= values[:, k - 1 : k]
    # NaN comes first in `values`, and every comparison with it is false.
    unclear = [b for b, v in enumerate(values.tolist()) if isnan(v[0]) or not v[k - 1] - v[k] > CLEAR_GAP]
    return kept, indices[:, :k], unclear


def top_k_of_valid(similarity: Tensor, k: int | Tensor, valid: Tensor | None) -> tuple[Tensor, list[int]]:
    """Kept patches, and the images whose last kept patch is not clearly more similar than the first dropped one."""
    kept = stable_top_k(similarity, k, valid)
    if similarity.shape[1] == 0:
        return kept, []
    dropped = ~kept if valid is None else valid & ~kept
    last = similarity.masked_fill(~kept, torch.inf).amin(-1)
    gap = last - similarity.masked_fill(~dropped, -torch.inf).amax(-1)
    return kept, (~(gap > CLEAR_GAP)).nonzero().flatten().tolist()  # comparisons with NaN are false


def blas_similarity(patches: Tensor, sound: Tensor) -> Tensor:
    """`reference.cosine_similarity` with dot products by BLAS, on blocks of rows that fit the cache."""
    batch, count, dim = patches.shape
    sound = sound.float()
    # fp32 rows are not copied, so there is no copy to keep in the cache.
    step = max(1, count if patches.dtype == torch.float32 else BLOCK_BYTES // max(1, 4 * dim))
    dots, norms = sound.new_empty(batch, count), sound.new_empty(batch, count)
    for b in range(batch):
        f = sound[b]
        for start in range(0, count, step):
            block = slice(start, start + step)
            rows = patches[b, block].float()
            torch.mv(rows, f, out=dots[b, block])
            torch.linalg.vector_norm(rows, dim=-1, out=norms[b, block])
    norms.mul_(torch.linalg.vector_norm(sound, dim=-1, keepdim=True))
    # The bound replaces a norm of zero, whose dot product is 0; NaN stays NaN.
    return dots.div_(norms.clamp_(min=torch.finfo(torch.float32).tiny))
