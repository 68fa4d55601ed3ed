"""Weights and results that are NaN or infinite: the error for them, and where the first such number comes from."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

_INPUTS = {"pixel_values": "the pixels of the picture", "input_features": "the features of the sound"}


class NotFiniteError(ValueError):
    """What a model holds or computed is NaN or infinite; the message says what."""


def weight_that_is_not_finite(model: nn.Module) -> str | None:
    """The name of the first parameter or buffer that holds NaN or Inf, or None. Every weight is read once."""
    for tensors in (model.named_parameters(), model.named_buffers()):
        for name, values in tensors:
            # Offloaded weights are elsewhere; those of other types, as quantized ones, are always finite.
            if values.is_floating_point() and not values.is_meta and not torch.isfinite(values).all():
                return name
    return None


def check_finite(tensors: Mapping[str, Tensor], name: Any) -> None:
    """
    Check what was read from a checkpoint; `name` is how messages call it.

    Raises:
        NotFiniteError: If a tensor holds NaN or Inf; the first one is named.
    """
    for key, values in sorted(tensors.items()):
        if values.is_floating_point() and not values.is_meta and not torch.isfinite(values).all():
            count = int((~torch.isfinite(values)).sum())
            raise NotFiniteError(
                f"{name}: {key} holds {count} values of {values.numel()} that are NaN or Inf. Get the file again, or "
                "train the model again with a lower learning rate."
            )


def why_not_finite(inputs: Mapping[str, Any], bad_weight: str | None, dtype: torch.dtype) -> str:
    """
    Why a result of one input is not finite, in words: its pixels or sound, a weight, or else the type of the weights.

    Args:
        inputs: What the processor returned.
        bad_weight: Of [`weight_that_is_not_finite`].
        dtype: Of the model.
    """
    for name, what in _INPUTS.items():
        values = inputs.get(name)
        if isinstance(values, Tensor) and values.is_floating_point() and not torch.isfinite(values).all():
            return f"{what} are NaN or infinite after preprocessing; repair the file, or the settings of the processor"
    if bad_weight is not None:
        return f"the model's weights hold NaN or Inf (first in {bad_weight}); get or train the model again"
    if dtype == torch.float16:
        return "its numbers overflow in float16; load the model with dtype='float32'"
    return f"its numbers overflow in {str(dtype).removeprefix('torch.')}, though weights and inputs are finite"


__all__ = ["NotFiniteError", "check_finite", "weight_that_is_not_finite", "why_not_finite"]
