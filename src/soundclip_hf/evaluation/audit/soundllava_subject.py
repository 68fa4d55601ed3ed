"""A SoundLlava as a subject of the audit: its two channels, the sound's token and the choice of patches, apart."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from ...modeling.modeling_soundllava import SoundLlavaForConditionalGeneration
from ...modeling.processing_soundllava import SoundLlavaProcessor
from ...modeling.slots.geometry import largest_budget
from .subject import Channel, Prompt
from .transformers_subject import TransformersSubject

# What `generate` takes beside pictures and sounds once these are encoded.
_TEXT = ("input_ids", "attention_mask")


class SoundLlavaSubject(TransformersSubject):
    """
    A SoundLlava with its processor.

    A sound reaches the language model in two ways: as the first token of its slot, and through the patches that it
    keeps. If the token is lost, the patches still change with the sound, and the answer with them. So both channels are
    measured apart, too:

    - "token": every patch is kept, whatever the sound. Nothing but the sound's token can change.
    - "patches": the patches are those that the sound keeps, the first token is that of the true sound.

    Args:
        model, processor: As `from_pretrained` loads them; the model is put into eval mode.
        name, revision: For the result; by default what the model was loaded from.
        sound_top_k, sound_patches: Arguments of the processor; by default its settings, or the model's.
        sound_alignment, sound_alpha: Arguments of `generate`; by default the model's settings.
    """

    channels: tuple[Channel, ...] = ("total", "token", "patches")

    def __init__(
        self,
        model: SoundLlavaForConditionalGeneration,
        processor: SoundLlavaProcessor,
        name: str | None = None,
        revision: str | None = None,
        *,
        sound_top_k: int | None = None,
        sound_patches: str | None = None,
        sound_alignment: str | None = None,
        sound_alpha: float | None = None,
    ) -> None:
        super().__init__(model, processor, name, revision)
        self._of_processor = {"sound_top_k": sound_top_k, "sound_patches": sound_patches}
        self._of_call = {"sound_alignment": sound_alignment, "sound_alpha": sound_alpha}

    @property
    def settings(self) -> dict[str, Any]:
        own = self.model.config.sound_config
        patches = self._of_processor["sound_patches"] or self.processor.sound_patches
        default = self.processor.sound_top_k if patches == "drop" else own.token_budget
        top_k, alpha = self._of_processor["sound_top_k"], self._of_call["sound_alpha"]
        return {
            **super().settings,
            "k": default if top_k is None else top_k,
            "mode": patches,
            "alignment": self._of_call["sound_alignment"] or own.alignment,
            "alpha": own.alpha if alpha is None else alpha,
        }

    def inputs(
        self, prompts: Sequence[Prompt], channel: Channel = "total", true: Sequence[Prompt] | None = None
    ) -> Mapping[str, Any]:
        """
        See [`AuditSubject.inputs`].

        Raises:
            ValueError: For the channel "patches" without `true`, or if only some of the prompts have a sound.
        """
        heard = any(prompt.sound is not None for prompt in prompts)
        if heard and any(prompt.sound is None for prompt in prompts):
            raise ValueError("some of the prompts have a sound and some do not: give all of them one, or none")
        if channel == "patches":
            if true is None:
                raise ValueError('channel="patches" needs `true`: the prompts whose sounds give the first token')
            return self._patches_alone(prompts, true)
        options = dict(self._of_processor) if heard else {}
        if heard and channel == "token":
            options["sound_top_k"] = self._all_patches(prompts)
        inputs = dict(self._prepare(prompts, options))
        return inputs | self._of_call if heard else inputs

    def _all_patches(self, prompts: Sequence[Prompt]) -> Any:
        config = self.model.config
        if config.llava_variant == "llava" or config.sound_config.patch_budget_scope != "image":
            return config.patches_per_side**2
        # One ranking over the base view and all tiles: how many patches there are depends on each picture.
        slots = self.model.model.plan_slots(**self._media(self._prepare(prompts, self._of_processor)))
        return [largest_budget(slot.geometry, "image") if slot.has_sound else None for slot in slots]

    def _patches_alone(self, prompts: Sequence[Prompt], true: Sequence[Prompt]) -> dict[str, Any]:
        inputs = self.inputs(prompts)
        with torch.inference_mode():
            rows, true_rows = (
                self.model.get_image_features(**self._media(batch)).pooler_output
                for batch in (inputs, self.inputs(true))
            )
        # With "default" no slot has a token of the sound, and the patches are alone anyway.
        if self.model.config.sound_config.sound_select_strategy == "full":
            rows = [torch.cat([first[:1], own[1:]]) for own, first in zip(rows, true_rows, strict=True)]
        encoded = BaseModelOutputWithPooling(pooler_output=rows)
        return {name: inputs[name] for name in _TEXT} | {"mm_encoder_outputs": {"image": encoded}}

    def _media(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in inputs.items() if name not in _TEXT}

    def _call(self, inputs: Mapping[str, Any], **arguments: Any) -> tuple[Any, list[Tensor | None] | None]:
        output = self.model.generate(**inputs, **arguments, return_sound_info=True)
        if output.sound_info is None:
            return output, None
        kept: list[list[Tensor]] = [[] for _ in inputs["input_ids"]]
        for (image, sound), info in zip(inputs["sound_slots"].tolist(), output.sound_info, strict=True):
            if image >= 0:
                kept[sound].append(info.kept.flatten().cpu())
        return output, [torch.cat(parts) if parts else None for parts in kept]


__all__ = ["SoundLlavaSubject"]
