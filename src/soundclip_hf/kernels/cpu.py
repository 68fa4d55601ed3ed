"""The CPU implementation: the reference's answer from few operations whose intermediates stay in cache."""

import torch
from torch import Tensor

from .reference import stable_top_k

# The fp32 products of one block of images should fit the L2 caches of the cores that share them.
BLOCK_BYTES = 4 << 20


def substitute(
    tokens: Tensor, audio: Tensor, k: int, budgets: Tensor | None, drop: bool, valid: Tensor | None, out: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """`substitute_tokens` for checked CPU tensors; `k` sets drop mode's width, `budgets` the images' own counts."""
    batch, rows, dim = tokens.shape
    sound = audio.to(tokens.dtype)
    similarity = cosine_similarity(tokens[:, 1:], sound)
    if budgets is None and valid is None:
        order = similarity.sort(dim=-1, descending=True, stable=True).indices
        kept = torch.zeros_like(similarity, dtype=torch.bool).scatter_(1, order[:, :k], True)
    else:
        kept = stable_top_k(similarity, k if budgets is None else budgets, valid)

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


def cosine_similarity(patches: Tensor, sound: Tensor) -> Tensor:
    """`reference.cosine_similarity`, as many images at a time as fit a block."""
    _, count, dim = patches.shape
    step = max(1, BLOCK_BYTES // max(1, 4 * count * dim))
    blocks = []
    for rows, f in zip(patches.split(step), sound.float().split(step)):
        p = rows.float()
        norms = torch.linalg.vector_norm(p, dim=-1).mul_(torch.linalg.vector_norm(f, dim=-1, keepdim=True))
        # Not a matrix product: BLAS may sum equal rows in different orders, and equal rows must tie exactly.
        products = p * f[:, None] if p is rows else p.mul_(f[:, None])
        # The bound stands in for a zero norm, whose dot product is 0, and lets NaN through.
        blocks.append(products.sum(-1).div_(norms.clamp_(min=torch.finfo(torch.float32).tiny)))
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks)
