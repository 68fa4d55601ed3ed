"""`substitute_tokens`, the public operation: checks the arguments and takes the direct call or the torch operator."""

from typing import NamedTuple

import torch
from torch import Tensor

from . import operator as library
from .validation import MODES, check_budget, check_budget_values, check_out, check_tensors


class SubstitutionOutput(NamedTuple):
    """What `substitute_tokens` returns.

    Attributes:
        tokens: `(B, N + 1, D)` in zero mode, `(B, 1 + max k, D)` in drop mode, in the dtype of the input tokens.
        kept: `(B, N)` bool, the patches that are kept.
        similarity: `(B, N)` fp32, the cosines they were ranked by (of excluded patches too).
    """

    tokens: Tensor
    kept: Tensor
    similarity: Tensor


def substitute_tokens(
    tokens: Tensor,
    audio: Tensor,
    k: int | Tensor,
    *,
    mode: str = "zero",
    valid: Tensor | None = None,
    out: Tensor | None = None,
) -> SubstitutionOutput:
    """Put the sound in the `[CLS]` row and keep the `k` patches most similar to it.

    Algorithm 1 (appendix G) of "Can Sound Replace Vision in LLaVA With Token Substitution?". The sound is cast to the
    dtype of `tokens` first, so patches are ranked by the row that is stored. The ranking is a stable descending
    sort of their fp32 cosines: ties go to the lower index, NaN ranks first, a zero vector has similarity 0. (Squared
    norms are taken in fp32: vectors with a norm outside about 1e-19 to 1e19 are beyond it.) Row 0 and kept rows are
    bitwise copies; dropped rows are exactly +0.0, whatever they held.

    Gradients reach the sound in row 0 and the kept patches. The ranking is piecewise constant and has no gradient.

    Args:
        tokens: CLIP tokens with `[CLS]` first, `(B, N + 1, D)`, fp32, bf16, fp16 or fp64, any strides. (On a GPU a
            last stride other than 1 costs a copy.)
        audio: One embedding per image, `(B, D)`, any floating dtype, on the device of `tokens`. Row 0 of the result.
        k: Patches to keep, `0 <= k <= N`: one `int`, or an integer tensor `(B,)` on the CPU with one per image.
            Compiling drop mode without graph breaks, and capturing a CUDA graph, take an `int`.
        mode: "zero" keeps all `N + 1` rows and clears the dropped ones (the paper). "drop" moves the kept rows up, in
            ascending order, and returns `1 + max k` rows; rows beyond an image's own number of kept patches are +0.0.
        valid: `(B, N)` bool; patches marked false are never kept. With fewer valid patches than `k`, all are kept.
        out: Buffer for the resulting tokens: their shape and dtype, unit last stride, no memory in common with
            `tokens`. It takes no part in autograd.

    Returns:
        `SubstitutionOutput(tokens, kept, similarity)`.

    Raises:
        ValueError: A shape, device, `mode` or value of `k` that does not fit; the message has the shapes.
        TypeError: A dtype that is not supported, or a `k` that is not an integer.
    """
    check_tensors(tokens, audio, valid)
    if mode not in MODES:
        raise ValueError(f"mode must be one of {MODES}, got {mode!r}")
    batch, rows, dim = tokens.shape
    k = check_budget(k, batch, rows - 1)
    budgets = None
    if isinstance(k, Tensor):
        budgets, k = k, 0
        if not torch.compiler.is_compiling():
            check_budget_values(budgets, rows - 1)
        if mode == "drop" and batch:
            k = int(budgets.max())
    drop = mode == "drop"
    differentiable = torch.is_grad_enabled() and (tokens.requires_grad or audio.requires_grad)

    if out is not None:
        check_out(out, tokens, (batch, 1 + k if drop else rows, dim))
        if differentiable or out.requires_grad:
            raise ValueError("out= takes no part in autograd: call under torch.no_grad() or without out")
        if not _is_plain(tokens):
            kept, similarity = library.substitute_out(tokens, audio, k, budgets, drop, valid, out=out)
            return SubstitutionOutput(out, kept, similarity)
        if out.untyped_storage().data_ptr() == tokens.untyped_storage().data_ptr() and out.numel() > 0:
            raise ValueError("out must not share memory with tokens")
        return SubstitutionOutput(*library.compute(tokens, audio, k, budgets, drop, valid, out))
    # torch's dispatcher costs several microseconds, and only autograd and tracing need it.
    run = library.substitute if differentiable or not _is_plain(tokens) else library.compute
    return SubstitutionOutput(*run(tokens, audio, k, budgets, drop, valid))


def _is_plain(tensor: Tensor) -> bool:
    """Whether this is an ordinary tensor with values, outside compilation, export and function transforms."""
    if torch.compiler.is_compiling() or type(tensor) not in (Tensor, torch.nn.Parameter) or tensor.is_meta:
        return False
    # torch has no public name for this; without it every call goes through the dispatcher.
    is_wrapped = getattr(getattr(torch._C, "_functorch", None), "is_functorch_wrapped_tensor", None)
    return is_wrapped is not None and not is_wrapped(tensor)
