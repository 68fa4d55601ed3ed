"""The vision tower with an ear: pixels to the hidden states that LLaVA consumes, the sound substituted into them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPooling

from .slots import Slot
from .substitution import SubstitutedSlot, substitute_slots


@dataclass
class VisionTowerOutput:
    """
    Attributes:
        tower: The tower's own output; `None` where the batch has no picture.
        features: `(views, N + 1, D)` hidden states of the feature layer, CLS first, no sound in them.
        substituted: One entry per sounding slot.
    """

    tower: BaseModelOutputWithPooling | None
    features: Tensor | None
    substituted: list[SubstitutedSlot]


class SoundClipVisionTower(nn.Module):
    """
    Tower, feature layer and `substitute_tokens` in one forward.

    It has no parameters and does not own the tower, so the checkpoint's keys stay LLaVA's.
    """

    def forward(
        self,
        vision_tower: nn.Module,
        pixel_values: Tensor | None,
        feature_layer: int | list[int],
        audio: Tensor | None = None,
        slots: Sequence[Slot] = (),
        scope: str = "tile",
        **kwargs: Any,
    ) -> VisionTowerOutput:
        """
        Args:
            vision_tower: CLIP's vision model.
            pixel_values: `(views, 3, height, width)`; `None` where no slot has a picture.
            feature_layer: Index into the hidden states, or several whose features are concatenated.
            audio: `f_a`, `(sounds, D)`; `None` for a silent batch.
            slots: The sounding slots.
            scope: `patch_budget_scope`.
            **kwargs: For the tower (`output_hidden_states`, `output_attentions`).
        """
        tower, features = None, None
        if pixel_values is not None:
            tower = vision_tower(pixel_values, return_dict=True, **kwargs)
            features = _select_layers(tower.hidden_states, feature_layer)
        substituted = []
        if slots and audio is not None:
            device = audio.device if features is None else features.device
            substituted = substitute_slots(slots, features, audio.to(device), scope)
        return VisionTowerOutput(tower, features, substituted)


def _select_layers(hidden_states: Sequence[Tensor], feature_layer: int | list[int]) -> Tensor:
    if isinstance(feature_layer, int):
        return hidden_states[feature_layer]
    return torch.cat([hidden_states[layer] for layer in feature_layer], dim=-1)
