"""Pixels to the hidden states of a vision tower that LLaVA consumes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPooling

from .finite import NotFiniteError


def vision_features(
    vision_tower: nn.Module,
    pixel_values: Tensor,
    feature_layer: int | list[int],
    output_hidden_states: bool | None = None,
    **kwargs: Any,
) -> tuple[BaseModelOutputWithPooling, Tensor]:
    """
    Run a vision tower up to the feature layer.

    Args:
        vision_tower: CLIP's vision model.
        pixel_values: `(views, 3, height, width)`.
        feature_layer: Index into the hidden states, or several whose features are concatenated.
        output_hidden_states: True keeps all of them; otherwise the output has the feature layer's alone.
        **kwargs: For the tower (`output_attentions`, ...).

    Returns:
        The tower's own output, and `(views, N + 1, D)` hidden states of the feature layer, `[CLS]` first.
    """
    # With a layer in place of True, transformers captures that one alone.
    output = vision_tower(
        pixel_values, return_dict=True, output_hidden_states=output_hidden_states or feature_layer, **kwargs
    )
    features = _select_layers(output.hidden_states, feature_layer)
    # Without this the language model would answer from NaN, in words that look like an answer.
    if not torch.compiler.is_compiling() and not torch.isfinite(features).all():
        views = (~torch.isfinite(features)).flatten(1).any(dim=1).nonzero()[:, 0].tolist()
        raise NotFiniteError(
            f"The features of picture view(s) {views} are not finite. Check pixel_values for NaN or overflow, or load "
            "the model in bfloat16 or float32."
        )
    return output, features


def _select_layers(hidden_states: Sequence[Tensor], feature_layer: int | list[int]) -> Tensor:
    if isinstance(feature_layer, int):
        return hidden_states[feature_layer]
    return torch.cat([hidden_states[layer] for layer in feature_layer], dim=-1)


__all__ = ["vision_features"]
