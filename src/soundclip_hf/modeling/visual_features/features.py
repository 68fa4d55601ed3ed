"""The visual tokens of a model that hears: pictures through its tower, sounds put into them, its own layout."""

from collections.abc import Sequence
from typing import Any

import torch
from accelerate.utils import align_module_device
from torch import Tensor
from transformers.utils import can_return_tuple

from ..audio_features import AudioFeaturesMixin, ChosenSound, SoundParts, check_device
from ..configuration_soundclip import PatchMode, SelectStrategy
from ..outputs import SoundLlavaImageFeatures
from ..slots.assembly import sound_info, visual_tokens
from ..slots.budget import SlotSettings, settle_slots
from ..slots.geometry import sound_only_slot
from ..slots.slot import Slot
from ..slots.tensors import read_slots
from ..slots.verification import check_placeholders
from .layouts import VisualLayout, layout_of


class VisualFeaturesMixin(AudioFeaturesMixin):
    """For base models with an `audio_tower` and an `audio_projection`, whose `config` has a [`VisualLayout`]."""

    @property
    def visual_layout(self) -> VisualLayout:
        return layout_of(self.config)

    @can_return_tuple
    def get_image_features(
        self,
        pixel_values: Tensor | None = None,
        image_sizes: Tensor | None = None,
        vision_feature_layer: int | list[int] | None = None,
        vision_feature_select_strategy: SelectStrategy | None = None,
        input_features: Tensor | None = None,
        input_features_mask: Tensor | None = None,
        sound_embeds: Tensor | None = None,
        sound_slots: Tensor | None = None,
        sound_budget: Tensor | None = None,
        sound_top_k: int | Sequence[int] | Tensor | None = None,
        sound_patches: PatchMode | None = None,
        sound_alignment: str | None = None,
        sound_alpha: float | None = None,
        sound_adapter: str | Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> SoundLlavaImageFeatures:
        """
        Visual tokens of every slot, the sound substituted into them.

        Args:
            pixel_values: `(images, 3, height, width)`, or `(images, tiles, 3, height, width)` for LLaVA-1.6.
            image_sizes: `(images, 2)` original (height, width), LLaVA-1.6.
            vision_feature_layer: Hidden state(s) to use; defaults to the configuration's (-2).
            vision_feature_select_strategy: Layout of silent images; defaults to the configuration's.
            input_features: `(sounds, windows, …)` from the feature extractor.
            input_features_mask: `(sounds, windows, frames)`.
            sound_embeds: `(sounds, d_a)` encoder outputs, in place of `input_features`.
            sound_slots: int64 `(slots, 2)`: (row of `pixel_values` or -1, sound or -1) in placeholder order.
            sound_budget: int64 `(slots,)` of the processor: `k >= 0` is drop mode; -1 is zero mode, and `-2 - k` zero
                mode with this `k`.
            sound_top_k: Patches to keep: an int for all slots, or a list, array or tensor of ints, one per slot. By
                default the processor's, where `sound_budget` has one, else the configuration's.
            sound_patches: "zero" or "drop", where there is no `sound_budget`.
            sound_alignment, sound_alpha, sound_adapter: See [`get_audio_features`]. Budget, patch mode and scope are
                those of the adapter, too, where neither the call nor `sound_budget` says them.
            **kwargs: What else the model's image processor returns; the rest is for the vision tower.

        Raises:
            ValueError: If pairing, budget, shapes or devices don't fit, or an aligned sound or the features of a
                picture are not finite.
        """
        layout: Any = self.visual_layout
        media = {name: kwargs.pop(name) for name in layout.media if name in kwargs}
        media |= {"pixel_values": pixel_values, "image_sizes": image_sizes}
        layer = layout.feature_layer if vision_feature_layer is None else vision_feature_layer
        sounds = input_features if sound_embeds is None else sound_embeds
        chosen: Any = self.choose_sound(sound_adapter, 0 if sounds is None else len(sounds))
        slots = self.plan_slots(
            vision_feature_select_strategy=vision_feature_select_strategy,
            input_features=input_features,
            sound_embeds=sound_embeds,
            sound_slots=sound_slots,
            sound_budget=sound_budget,
            sound_top_k=sound_top_k,
            sound_patches=sound_patches,
            sound_adapter=chosen,
            **media,
        )
        if input_features is not None and sound_embeds is not None:
            raise ValueError("input_features and sound_embeds were both passed: a sound is encoded once; pass one.")
        audio, tower, views = None, None, None
        if sound_embeds is not None and len(sound_embeds):
            audio = self.align_sounds(sound_embeds, sound_alignment, sound_alpha, chosen)
        elif input_features is not None and len(input_features):
            audio = self.get_audio_features(
                input_features, input_features_mask, sound_alignment, sound_alpha, chosen, return_dict=True
            ).pooler_output
        projector = getattr(self, layout.projector)
        if pixel_values is not None:
            check_device("pixel_values", pixel_values, getattr(self, layout.tower))
            tower, views = layout.tokens(self, layout.views(media, layout.geometries(media)), layer, **kwargs)
        if audio is not None:
            audio = audio.to(self.dtype if views is None else views.device)
        slots = visual_tokens(slots, views, audio, projector, self._newline())
        return SoundLlavaImageFeatures(
            last_hidden_state=None if tower is None else tower.last_hidden_state,
            pooler_output=[slot.embeds for slot in slots],
            hidden_states=None if tower is None else tower.hidden_states,
            attentions=None if tower is None else tower.attentions,
            sound_info=None if audio is None else [sound_info(slot, layout.tiled) for slot in slots],
        )

    def plan_slots(
        self,
        pixel_values: Tensor | None = None,
        vision_feature_select_strategy: SelectStrategy | None = None,
        input_features: Tensor | None = None,
        sound_embeds: Tensor | None = None,
        sound_slots: Tensor | None = None,
        sound_budget: Tensor | None = None,
        sound_top_k: int | Sequence[int] | Tensor | None = None,
        sound_patches: PatchMode | None = None,
        sound_adapter: str | Sequence[str | None] | ChosenSound | None = None,
        **media: Any,
    ) -> list[Slot]:
        """The slots of a call, from shapes and small index tensors alone; runs no tower."""
        layout: Any = self.visual_layout
        sounds = sound_embeds if sound_embeds is not None else input_features
        count = 0 if sounds is None else len(sounds)
        chosen = self.choose_sound(sound_adapter, count)
        geometries = layout.geometries({**media, "pixel_values": pixel_values})
        slots = read_slots(sound_slots, len(geometries), count)
        return settle_slots(
            slots,
            geometries,
            sound_only_slot(layout.patches_per_side),
            [self._slot_settings(vision_feature_select_strategy, chosen.of(slot.sound)) for slot in slots],
            sound_top_k=sound_top_k,
            sound_patches=sound_patches,
            sound_budget=sound_budget,
        )

    def _slot_settings(self, select_strategy: SelectStrategy | None, parts: SoundParts) -> SlotSettings:
        layout: Any = self.visual_layout
        select_strategy = select_strategy or layout.select_strategy
        if select_strategy not in ("default", "full"):
            raise ValueError(f"vision_feature_select_strategy={select_strategy!r}: allowed are 'default' and 'full'.")
        config = parts.config
        return SlotSettings(
            mode=config.patches,
            k=config.token_budget,
            scope=config.patch_budget_scope,
            # Without [CLS] the first row is the mean of the patches, which only a sound takes the place of.
            select_strategy=select_strategy if layout.has_class_token else "default",
            sound_select_strategy=config.sound_select_strategy,
        )

    def _newline(self) -> Tensor | None:
        newline = getattr(self, "image_newline", None)
        if newline is None or not newline.is_meta:
            return newline
        # Offloaded. Its hook belongs to this module's forward, and `generate` encodes before that.
        with align_module_device(self):
            return self.image_newline.clone()

    def check_placeholders(
        self, input_ids: Tensor | None, inputs_embeds: Tensor | None, encoder_inputs: dict[str, Any]
    ) -> None:
        """Compare placeholders and visual tokens per sample; raises before any tower runs."""
        if torch.compiler.is_compiling() or (input_ids is None and inputs_embeds is None):
            return
        if inputs_embeds is None:
            mask = input_ids == self.config.image_token_id
        else:
            token = torch.full((), self.config.image_token_id, dtype=torch.long, device=inputs_embeds.device)
            mask = (inputs_embeds == self.get_input_embeddings()(token)).all(-1)
        check_placeholders(self.plan_slots(**encoder_inputs), mask.sum(-1).tolist())


__all__ = ["VisualFeaturesMixin"]
