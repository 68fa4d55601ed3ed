"""The CPU implementation: the reference's answer in one cached pass over the patches and a copy of the kept rows."""

import torch
from torch import Tensor

from .reference import stable_top_k

# The fp32 scratch of one block of rows stays in a core's L2 cache.
SCRATCH_BYTES = 1 << 20


def substitute(
    tokens: Tensor, audio: Tensor, k: int, budgets: Tensor | None, drop: bool, valid: Tensor | None, out: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """`substitute_tokens` for checked CPU tensors; `k` sets drop mode's width, `budgets` the rows' own counts."""
    batch, rows, dim = tokens.shape
    sound = audio.to(tokens.dtype)
    similarity = cosine_similarity(tokens[:, 1:], sound)
    kept = stable_top_k(similarity, k if budgets is None else budgets, valid)

    if out is None:
        out = tokens.new_empty(batch, 1 + k if drop else rows, dim)
    out[:, 0].copy_(sound)
    for image, target, mask in zip(tokens, out, kept):
        index = mask.nonzero().squeeze(-1)
        count = len(index)
        if drop:
            torch.index_select(image[1:], 0, index, out=target[1 : 1 + count])
            target[1 + count :].zero_()
        elif 2 * count > rows:
            target[1:].copy_(image[1:]).index_fill_(0, (~mask).nonzero().squeeze(-1), 0.0)
        else:
            target[1:].zero_().index_copy_(0, index, image[1:].index_select(0, index))
    return out, kept, similarity


def cosine_similarity(patches: Tensor, sound: Tensor) -> Tensor:
    """`reference.cosine_similarity`, block by block."""
    batch, count, dim = patches.shape
    dot = patches.new_empty(batch, count, dtype=torch.float32)
    norms = torch.empty_like(dot)
    f = sound.float()
    block = max(1, SCRATCH_BYTES // (4 * max(dim, 1)))
    scratch = dot.new_empty(min(block, count), dim)
    for b in range(batch):
        for start in range(0, count, block):
            stop = min(start + block, count)
            rows, product = patches[b, start:stop], scratch[: stop - start]
            if rows.dtype != torch.float32:
                rows = product.copy_(rows)
            torch.linalg.vector_norm(rows, dim=-1, out=norms[b, start:stop])
            # Not a matrix product: BLAS may sum equal rows in different orders, and equal rows must tie exactly.
            torch.mul(rows, f[b], out=product)
            torch.sum(product, dim=-1, out=dot[b, start:stop])
    norms *= torch.linalg.vector_norm(f, dim=-1, keepdim=True)
    return dot.div_(norms).masked_fill_(norms == 0, 0.0)
