"""Checks of the arguments of `substitute_tokens`, from metadata only: nothing here waits for a device."""

import operator

import torch
from torch import Tensor

MODES = ("zero", "drop")
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def check_tensors(tokens: Tensor, audio: Tensor, valid: Tensor | None) -> None:
    """Raise `ValueError` (shape, device) or `TypeError` (dtype) for tensors that do not belong together."""
    if tokens.ndim != 3 or tokens.shape[1] < 1:
        raise ValueError(f"tokens must be (batch, 1 + patches, dim), got {tuple(tokens.shape)}")
    batch, rows, dim = tokens.shape
    if tuple(audio.shape) != (batch, dim):
        raise ValueError(
            f"audio must be (batch, dim) = ({batch}, {dim}) to go with tokens {tuple(tokens.shape)}, "
            f"got {tuple(audio.shape)}"
        )
    if tokens.dtype not in DTYPES:
        raise TypeError(f"tokens must be one of {', '.join(map(str, DTYPES))}, got {tokens.dtype}")
    if not audio.dtype.is_floating_point:
        raise TypeError(f"audio must have a real floating point dtype, got {audio.dtype}")
    if audio.device != tokens.device:
        raise ValueError(f"audio and tokens must share a device, got {audio.device} and {tokens.device}")
    if valid is None:
        return
    if tuple(valid.shape) != (batch, rows - 1):
        raise ValueError(
            f"valid must be (batch, patches) = ({batch}, {rows - 1}) to go with tokens {tuple(tokens.shape)}, "
            f"got {tuple(valid.shape)}"
        )
    if valid.dtype != torch.bool:
        raise TypeError(f"valid must be a bool tensor, got {valid.dtype}")
    if valid.device != tokens.device:
        raise ValueError(f"valid and tokens must share a device, got {valid.device} and {tokens.device}")


def check_out(out: Tensor, tokens: Tensor, shape: tuple[int, int, int]) -> None:
    """Raise unless `out` can receive a result of `shape` beside `tokens`."""
    if tuple(out.shape) != shape:
        raise ValueError(f"out must be {shape}, got {tuple(out.shape)}")
    if out.dtype != tokens.dtype:
        raise TypeError(f"out must have the dtype of tokens, {tokens.dtype}, got {out.dtype}")
    if out.device != tokens.device:
        raise ValueError(f"out and tokens must share a device, got {out.device} and {tokens.device}")
    batch, rows, dim = shape
    row_overlap = rows > 1 and out.stride(1) < dim
    image_overlap = batch > 1 and out.stride(0) < (rows - 1) * out.stride(1) + dim
    if (dim > 1 and out.stride(2) != 1) or row_overlap or image_overlap:
        raise ValueError(f"out must have dense, separate rows with unit last stride, got strides {out.stride()}")


def check_budget(k: int | Tensor, batch: int, patches: int) -> int | Tensor:
    """Return `k` as an `int` or as a `(batch,)` int64 tensor on the CPU, or say what is wrong with it."""
    if isinstance(k, Tensor):
        if k.dtype == torch.bool or k.dtype.is_floating_point or k.dtype.is_complex:
            raise TypeError(f"k must be an int or an integer tensor, got a tensor of {k.dtype}")
        if tuple(k.shape) != (batch,):
            raise ValueError(f"k must be an int or have shape (batch,) = ({batch},), got {tuple(k.shape)}")
        if k.device.type != "cpu":
            raise ValueError(f"k must be on the CPU (reading it elsewhere would stall the device), got {k.device}")
        return k.long()
    if isinstance(k, bool):
        raise TypeError(f"k must be an int or an integer tensor, got {k!r}")
    if not isinstance(k, (int, torch.SymInt)):
        try:
            k = operator.index(k)
        except TypeError:
            raise TypeError(f"k must be an int or an integer tensor, got {k!r} of type {type(k).__name__}") from None
    check_budget_value(k, patches)
    return k


def check_budget_value(k: int, patches: int) -> None:
    if not 0 <= k <= patches:
        raise ValueError(f"k must satisfy 0 <= k <= {patches} (the number of patches), got {k}")


def check_budget_values(budgets: Tensor, patches: int) -> None:
    """Check the values of a `(batch,)` CPU tensor."""
    for budget in budgets.tolist():
        check_budget_value(budget, patches)
