"""The fused GPU implementation in Triton: one launch computes the cosines, a second ranks and writes the rows.

No GPU figure is quoted for it: it has been checked in Triton's interpreter and compiled for sm_80 and sm_90, and its
speed and its behaviour on a device are unmeasured.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS = 8  # patches per program
# The default of enable_fp_fusion changes between Triton versions; similarities should not.
OPTIONS = {"num_warps": 4, "enable_fp_fusion": True}
MAX_BLOCK_D = 2048
MAX_COMPACTED = 4096  # drop mode keeps the keys of a whole image in registers
LOWEST_KEY = tl.constexpr(-(2**31))
HIGHEST_KEY = tl.constexpr(2**31 - 1)


@triton.jit
def _keys(similarity, valid, image, j, N, HAS_VALID: tl.constexpr):
    """Integers in the order of the ranks of the patches `j`: NaN highest, -0 as +0, excluded patches lowest."""
    inside = j < N
    s = tl.load(similarity + image * N + j, mask=inside, other=0.0)
    bits = tl.where(s == 0.0, 0.0, s).to(tl.int32, bitcast=True)
    key = tl.where(s != s, HIGHEST_KEY, bits ^ ((bits >> 31) & 0x7FFFFFFF))
    if HAS_VALID:
        inside = inside & (tl.load(valid + image * N + j, mask=inside, other=0) != 0)
    return tl.where(inside, key, LOWEST_KEY), inside


@triton.jit
def _copy_row(source, target, D: tl.constexpr, BLOCK_D: tl.constexpr):
    for start in tl.static_range(0, D, BLOCK_D):
        columns = start + tl.arange(0, BLOCK_D)
        tl.store(target + columns, tl.load(source + columns, mask=columns < D), mask=columns < D)


@triton.jit
def _copy_rows(source, target, keep, write, D: tl.constexpr, BLOCK_D: tl.constexpr):
    """Copy the rows in `keep` and clear the others; only rows in `write` are stored."""
    for start in tl.static_range(0, D, BLOCK_D):
        columns = start + tl.arange(0, BLOCK_D)[None, :]
        rows = tl.load(source[:, None] + columns, mask=keep[:, None] & (columns < D), other=0.0)
        tl.store(target[:, None] + columns, rows, mask=write[:, None] & (columns < D))


@triton.jit
def similarity_kernel(
    tokens, audio, similarity, N, tokens_b, tokens_n, D: tl.constexpr, R: tl.constexpr, BLOCK_D: tl.constexpr
):
    """Cosines of `R` patches of one image, as `(B, N)` fp32. Grid: `B * cdiv(N, R)`."""
    chunks = tl.cdiv(N, R)
    image = (tl.program_id(0) // chunks).to(tl.int64)
    row = (tl.program_id(0) % chunks) * R + tl.arange(0, R)
    inside = row < N
    # Rows past the end read the last row again, so that no mask is needed, and are not stored.
    source = tokens + image * tokens_b + (1 + tl.minimum(row, N - 1).to(tl.int64)) * tokens_n
    dot = tl.zeros([R], tl.float32)
    patch_square = tl.zeros([R], tl.float32)
    sound_square = 0.0
    for start in tl.static_range(0, D, BLOCK_D):
        columns = start + tl.arange(0, BLOCK_D)
        f = tl.load(audio + image * D + columns, mask=columns < D, other=0.0).to(tl.float32)
        p = tl.load(source[:, None] + columns[None, :], mask=(columns < D)[None, :], other=0.0).to(tl.float32)
        dot += tl.sum(p * f[None, :], axis=1)
        patch_square += tl.sum(p * p, axis=1)
        sound_square += tl.sum(f * f, axis=0)
    # Plain sqrt and division compile to approximations; correctly rounded ones agree with torch's on exact sums.
    norm = tl.sqrt_rn(patch_square) * tl.sqrt_rn(sound_square)
    cosine = tl.where(norm == 0.0, 0.0, tl.div_rn(dot, norm))
    tl.store(similarity + image * N + row, cosine, mask=inside)


@triton.jit(do_not_specialize=["k"])
def zero_kernel(
    tokens, audio, similarity, valid, budgets, out, kept, N, k, tokens_b, tokens_n, out_b, out_n,
    D: tl.constexpr, R: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr,
    HAS_VALID: tl.constexpr, HAS_BUDGETS: tl.constexpr,
):  # fmt: skip
    """Rank `R` patches of one image by counting those before them; write them or zeros. Grid: `B * cdiv(N, R)`."""
    chunks = tl.cdiv(N, R)
    image = (tl.program_id(0) // chunks).to(tl.int64)
    chunk = tl.program_id(0) % chunks
    row = chunk * R + tl.arange(0, R)
    mine, allowed = _keys(similarity, valid, image, row, N, HAS_VALID)
    rank = tl.zeros([R], tl.int32)
    for start in range(0, N, BLOCK_N):
        j = start + tl.arange(0, BLOCK_N)
        other, _ = _keys(similarity, valid, image, j, N, HAS_VALID)
        higher = other[None, :] > mine[:, None]
        tied_before = (other[None, :] == mine[:, None]) & (j[None, :] < row[:, None])
        rank += tl.sum((higher | tied_before).to(tl.int32), axis=1)
    if HAS_BUDGETS:
        budget = tl.load(budgets + image)
    else:
        budget = k
    keep = allowed & (rank < budget)
    inside = row < N
    tl.store(kept + image * N + row, keep.to(tl.uint8), mask=inside)
    offset = 1 + row.to(tl.int64)
    _copy_rows(
        tokens + image * tokens_b + offset * tokens_n, out + image * out_b + offset * out_n, keep, inside, D, BLOCK_D
    )
    if chunk == 0:
        _copy_row(audio + image * D, out + image * out_b, D, BLOCK_D)


@triton.jit(do_not_specialize=["k"])
def drop_kernel(
    tokens, audio, similarity, valid, budgets, out, kept, N, k, tokens_b, tokens_n, out_b, out_n,
    D: tl.constexpr, R: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr,
    HAS_VALID: tl.constexpr, HAS_BUDGETS: tl.constexpr,
):  # fmt: skip
    """Find the patches to keep and write `R` of the `k` rows. Grid: `B * max(1, cdiv(k, R))`; `BLOCK_N >= N`."""
    chunks = tl.maximum(tl.cdiv(k, R), 1)
    image = (tl.program_id(0) // chunks).to(tl.int64)
    chunk = tl.program_id(0) % chunks
    j = tl.arange(0, BLOCK_N)
    key, allowed = _keys(similarity, valid, image, j, N, HAS_VALID)
    if HAS_BUDGETS:
        budget = tl.load(budgets + image)
    else:
        budget = k

    # The budget-th largest key, bit by bit: the highest threshold that still lets `budget` keys through.
    threshold = tl.where(tl.sum((key >= 0).to(tl.int32), axis=0) >= budget, 0, LOWEST_KEY)
    for bit in range(0, 31):
        candidate = threshold + (1 << (30 - bit))
        threshold = tl.where(tl.sum((key >= candidate).to(tl.int32), axis=0) >= budget, candidate, threshold)
    tied = (key == threshold).to(tl.int32)
    open_places = budget - tl.sum((key > threshold).to(tl.int32), axis=0)
    keep = allowed & ((key > threshold) | ((tied == 1) & (tl.cumsum(tied, axis=0) <= open_places)))
    place = tl.cumsum(keep.to(tl.int32), axis=0) - 1
    count = tl.sum(keep.to(tl.int32), axis=0)

    slot = chunk * R + tl.arange(0, R)
    at_slot = keep[None, :] & (place[None, :] == slot[:, None])
    origin = tl.sum(tl.where(at_slot, j[None, :], 0), axis=1)
    source = tokens + image * tokens_b + (1 + origin.to(tl.int64)) * tokens_n
    target = out + image * out_b + (1 + slot.to(tl.int64)) * out_n
    _copy_rows(source, target, slot < count, slot < k, D, BLOCK_D)
    if chunk == 0:
        tl.store(kept + image * N + j, keep.to(tl.uint8), mask=j < N)
        _copy_row(audio + image * D, out + image * out_b, D, BLOCK_D)


def supports(tokens: Tensor, drop: bool) -> bool:
    """Whether these kernels take tokens of this shape."""
    return not drop or tokens.shape[1] - 1 <= MAX_COMPACTED


def substitute(
    tokens: Tensor, audio: Tensor, k: int, budgets: Tensor | None, drop: bool, valid: Tensor | None, out: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """`substitute_tokens` for checked tensors on one GPU; `k` is the width in drop mode, `budgets` each image's count.

    It never waits for the device. `budgets` is copied to the device, which a CUDA graph cannot capture.
    """
    batch, rows, dim = tokens.shape
    count = rows - 1
    if out is None:
        out = tokens.new_empty(batch, 1 + k if drop else rows, dim)
    kept = tokens.new_empty(batch, count, dtype=torch.bool)
    similarity = tokens.new_empty(batch, count, dtype=torch.float32)
    sound = audio.to(tokens.dtype).contiguous()
    if batch == 0 or count == 0 or dim == 0:
        out[:, 0] = sound
        return out, kept.zero_(), similarity.zero_()
    if tokens.stride(2) != 1:
        tokens = tokens.contiguous()
    if budgets is not None:
        budgets = budgets.to(tokens.device, torch.int32, non_blocking=True)
    if valid is not None:
        valid = valid.contiguous().view(torch.uint8)

    block_d = min(triton.next_power_of_2(dim), MAX_BLOCK_D)
    chunks = triton.cdiv(count, ROWS)
    with torch.cuda.device_of(tokens):
        similarity_kernel[(batch * chunks,)](
            tokens, sound, similarity, count, tokens.stride(0), tokens.stride(1),
            D=dim, R=ROWS, BLOCK_D=block_d, **OPTIONS,
        )  # fmt: skip
        kernel = drop_kernel if drop else zero_kernel
        kernel[(batch * (max(1, triton.cdiv(k, ROWS)) if drop else chunks),)](
            tokens, sound, similarity, valid, budgets, out, kept.view(torch.uint8), count, k,
            tokens.stride(0), tokens.stride(1), out.stride(0), out.stride(1),
            D=dim, R=ROWS, BLOCK_N=block_n(count, drop), BLOCK_D=block_d,
            HAS_VALID=valid is not None, HAS_BUDGETS=budgets is not None, **OPTIONS,
        )  # fmt: skip
    return out, kept, similarity


def block_n(count: int, drop: bool) -> int:
    """The number of keys that a program of the second launch reads in one step."""
    return triton.next_power_of_2(count) if drop else min(triton.next_power_of_2(count), 256)
