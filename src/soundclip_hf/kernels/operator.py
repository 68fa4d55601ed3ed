"""The operator behind `substitute_tokens`, registered with torch for autograd, `torch.compile` and export."""

import functools
import re
from types import ModuleType

import torch
from torch import Tensor

from . import cpu
from .reference import reference_substitution
from .validation import check_budget_values

# Named after the package, so that a copy of this folder under another name can be imported in the same process.
NAMESPACE = re.sub(r"\W", "_", __package__ or "soundclip_kernels")

_library = torch.library.Library(NAMESPACE, "FRAGMENT")
_ARGUMENTS = "Tensor tokens, Tensor audio, SymInt k, Tensor? budgets, bool drop, Tensor? valid"
_library.define(f"substitute({_ARGUMENTS}) -> (Tensor, Tensor, Tensor)")
_library.define(f"substitute_out({_ARGUMENTS}, *, Tensor(a!) out) -> (Tensor, Tensor)")


def compute(
    tokens: Tensor,
    audio: Tensor,
    k: int,
    budgets: Tensor | None,
    drop: bool,
    valid: Tensor | None,
    out: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run the implementation for the tensors' device, without autograd.

    `k` is the budget of every image, or with `budgets` `(B,)` their maximum (read in drop mode only).
    """
    if budgets is not None:
        check_budget_values(budgets, tokens.shape[1] - 1)
    with torch.no_grad():
        if tokens.device.type == "cpu":
            return cpu.substitute(tokens, audio, k, budgets, drop, valid, out)
        fused = _fused() if tokens.device.type == "cuda" else None
        if fused is not None and fused.supports(tokens, drop):
            return fused.substitute(tokens, audio, k, budgets, drop, valid, out)
        mode = "drop" if drop else "zero"
        result, kept, similarity = reference_substitution(
            tokens, audio, k if budgets is None else budgets, mode=mode, valid=valid
        )
        return (result if out is None else out.copy_(result)), kept, similarity


@functools.cache
def _fused() -> ModuleType | None:
    # Imported here because only CUDA tensors need Triton, and some installations of torch do not have it.
    try:
        from . import fused
    except ImportError:
        return None
    return fused


def _substitute_out(
    tokens: Tensor, audio: Tensor, k: int, budgets: Tensor | None, drop: bool, valid: Tensor | None, *, out: Tensor
) -> tuple[Tensor, Tensor]:
    return compute(tokens, audio, k, budgets, drop, valid, out)[1:]


_library.impl("substitute", compute, "CompositeExplicitAutograd")
_library.impl("substitute_out", _substitute_out, "CompositeExplicitAutograd")


@torch.library.register_fake(f"{NAMESPACE}::substitute", lib=_library)
def _fake(
    tokens: Tensor, audio: Tensor, k: int, budgets: Tensor | None, drop: bool, valid: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    batch, rows, dim = tokens.shape
    kept = tokens.new_empty(batch, rows - 1, dtype=torch.bool)
    return tokens.new_empty(batch, 1 + k if drop else rows, dim), kept, torch.empty_like(kept, dtype=torch.float32)


@torch.library.register_fake(f"{NAMESPACE}::substitute_out", lib=_library)
def _fake_out(
    tokens: Tensor, audio: Tensor, k: int, budgets: Tensor | None, drop: bool, valid: Tensor | None, *, out: Tensor
) -> tuple[Tensor, Tensor]:
    kept = tokens.new_empty(tokens.shape[0], tokens.shape[1] - 1, dtype=torch.bool)
    return kept, torch.empty_like(kept, dtype=torch.float32)


def _setup_context(ctx, inputs, output) -> None:
    _, audio, _, _, drop, _ = inputs
    _, kept, similarity = output
    ctx.mark_non_differentiable(kept, similarity)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(kept)
    ctx.drop, ctx.audio_dtype = drop, audio.dtype


def _backward(ctx, grad: Tensor | None, *_):
    grad_tokens = grad_audio = None
    if grad is not None and ctx.needs_input_grad[0]:
        grad_tokens = _grad_tokens(grad, ctx.saved_tensors[0], ctx.drop)
    if grad is not None and ctx.needs_input_grad[1]:
        grad_audio = grad[:, 0].to(ctx.audio_dtype)
    return grad_tokens, grad_audio, None, None, None, None


def _grad_tokens(grad: Tensor, kept: Tensor, drop: bool) -> Tensor:
    rows = grad[:, 1:]
    if drop:
        if rows.shape[1] == 0:
            return grad.new_zeros(grad.shape[0], kept.shape[1] + 1, grad.shape[2])
        slot = (kept.cumsum(-1) - 1).clamp(min=0)
        # Adding 0 turns -0 into +0, as the accumulation in the reference's own backward does.
        rows = rows.gather(1, slot[..., None].expand(-1, -1, grad.shape[2])) + 0.0
    rows = torch.where(kept[..., None], rows, torch.zeros((), dtype=rows.dtype, device=rows.device))
    return torch.cat([torch.zeros_like(grad[:, :1]), rows], dim=1)


torch.library.register_autograd(f"{NAMESPACE}::substitute", _backward, setup_context=_setup_context, lib=_library)

substitute = getattr(torch.ops, NAMESPACE).substitute.default
substitute_out = getattr(torch.ops, NAMESPACE).substitute_out.default
