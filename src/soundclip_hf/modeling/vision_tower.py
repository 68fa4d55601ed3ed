"""Pixels to the hidden states of a vision tower that LLaVA consumes."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPooling

from .finite import NotFiniteError

_WITHOUT_CLASS_TOKEN = ("siglip_vision_model", "siglip2_vision_model", "timm_wrapper")


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
        vision_tower: A vision transformer, such as CLIP's or SigLIP's.
        pixel_values: `(views, 3, height, width)`.
        feature_layer: Index into the hidden states, or several whose features are concatenated.
        output_hidden_states: True keeps all of them; otherwise the output has the feature layer's alone.
        **kwargs: For the tower (`output_attentions`, ...).

    Returns:
        The tower's own output, and `(views, N + 1, D)` hidden states of the feature layer, `[CLS]` first; of a tower
        without `[CLS]`, the mean of the N patches first.

    Raises:
        ValueError: If features are not finite (`NotFiniteError`), or their number is not that of the patches.
    """
    # With a layer in place of True, transformers captures that one alone.
    output = vision_tower(
        pixel_values, return_dict=True, output_hidden_states=output_hidden_states or feature_layer, **kwargs
    )
    features = _select_layers(output.hidden_states, feature_layer)
    check_finite(features)
    config: Any = vision_tower.config
    num_patches = math.prod(side // config.patch_size for side in pixel_values.shape[-2:])
    return output, with_class_token(features, num_patches, has_class_token(config))


def has_class_token(vision_config: Any) -> bool:
    """Whether the first row of a tower's hidden states is `[CLS]`, by the tower's configuration."""
    return vision_config.model_type not in _WITHOUT_CLASS_TOKEN


def with_class_token(features: Tensor, num_patches: int, has_class_token: bool) -> Tensor:
    """
    The features of a tower with a first row for the whole picture: its own `[CLS]`, or else the mean of the patches.

    Args:
        features: `(views, rows, D)`.
        num_patches: N, the patches of a view.
        has_class_token: Whether the first row is `[CLS]`.

    Returns:
        `(views, N + 1, D)`: the features themselves where they have `[CLS]`.

    Raises:
        ValueError: If there are other rows beside `[CLS]` and patches, such as registers.
    """
    if features.shape[1] != num_patches + has_class_token:
        raise ValueError(
            f"The vision tower has {features.shape[1]} rows for {num_patches} patches"
            f"{' and [CLS]' if has_class_token else ''}: a tower with other rows cannot hear."
        )
    return features if has_class_token else torch.cat([features.mean(1, keepdim=True), features], dim=1)


def check_finite(features: Tensor) -> None:
    """
    Raises:
        NotFiniteError: If a number of `(views, rows, D)` is NaN or infinite; the views are named.
    """
    # Without this the language model would answer from NaN, in words that look like an answer.
    if not torch.compiler.is_compiling() and not torch.isfinite(features).all():
        views = (~torch.isfinite(features)).flatten(1).any(dim=1).nonzero()[:, 0].tolist()
        raise NotFiniteError(
            f"The features of picture view(s) {views} are not finite. Check pixel_values for NaN or overflow, or load "
            "the model in bfloat16 or float32."
        )


def _select_layers(hidden_states: Sequence[Tensor], feature_layer: int | list[int]) -> Tensor:
    if isinstance(feature_layer, int):
        return hidden_states[feature_layer]
    return torch.cat([hidden_states[layer] for layer in feature_layer], dim=-1)


__all__ = ["check_finite", "has_class_token", "vision_features", "with_class_token"]
