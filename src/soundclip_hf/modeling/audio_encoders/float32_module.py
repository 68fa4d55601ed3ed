"""Modules whose numbers lose their meaning in half precision."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

_HALF = (torch.float16, torch.bfloat16)


class Float32Module(nn.Module):
    """
    Keeps its parameters and buffers as they are when the model around it is cast to half precision
    (`model.to(torch.bfloat16)`, `model.half()`); devices and double precision are followed.

    For `from_pretrained(dtype=…)` the model's class names the module in `_keep_in_fp32_modules_strict` as well.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> Any:
        def keep(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            if moved.dtype in _HALF and tensor.dtype not in _HALF:
                return tensor.to(moved.device)
            return moved

        return super()._apply(keep, *args, **kwargs)


__all__ = ["Float32Module"]
