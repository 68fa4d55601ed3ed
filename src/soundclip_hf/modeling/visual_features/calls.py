"""Calls of `forward` and `generate` with pictures and sounds: encoded first, then handed to the stock method."""

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor
from transformers import GenerationConfig
from transformers.modeling_outputs import BaseModelOutputWithPooling

from ..outputs import SoundLlavaImageFeatures
from ..slots.verification import check_context, check_no_placeholders
from .features import VisualFeaturesMixin

if TYPE_CHECKING:
    from transformers import LlavaForConditionalGeneration as ModelBase
else:
    ModelBase = object  # mixins of models: to a type checker they are models, so that `super()` has a type

Function = TypeVar("Function", bound=Callable)

# Everything that `get_image_features` takes: encoded once, before prefill.
ENCODER_INPUTS = tuple(
    name
    for name in inspect.signature(VisualFeaturesMixin.get_image_features).parameters
    if name not in ("self", "kwargs")
)


def also_takes(*others: Callable) -> Callable[[Function], Function]:
    """Show the arguments of `others` in a function's signature, where transformers reads what a forward takes."""

    def decorate(function: Function) -> Function:
        own = inspect.signature(function)
        *shown, rest = own.parameters.values()
        names = set(own.parameters)
        for other in others:
            for parameter in inspect.signature(other).parameters.values():
                if parameter.kind is not parameter.VAR_KEYWORD and parameter.name not in names:
                    names.add(parameter.name)
                    shown.append(parameter.replace(kind=parameter.KEYWORD_ONLY))
        function.__signature__ = own.replace(parameters=[*shown, rest])  # type: ignore[attr-defined]
        return function

    return decorate


class EncodedCallsMixin(ModelBase):
    """For models whose `base_model` is a [`VisualFeaturesMixin`], and for that base model itself."""

    # The arguments of a call that are encoded.
    encoder_inputs: tuple[str, ...] = ENCODER_INPUTS

    def encode_media(
        self, inputs: dict[str, Any], generation_config: GenerationConfig | None = None
    ) -> SoundLlavaImageFeatures | None:
        """
        Take pictures and sounds out of a call's arguments and put in their place what the stock model takes,
        `mm_encoder_outputs`. Placeholders and visual tokens are compared before any tower runs.

        Args:
            inputs: The arguments, which are changed.
            generation_config: The model's own, if the prompt is to be continued.
        """
        media = {name: inputs.pop(name) for name in self.encoder_inputs if name in inputs}
        encoded = inputs.get("mm_encoder_outputs") or {}
        base: Any = self.base_model
        sounds = media.get("sound_embeds") if media.get("input_features") is None else media["input_features"]
        if not has_media(media):
            if media.get("sound_adapter") is not None:
                base.choose_sound(media["sound_adapter"], 0)  # a name that is not known is an error here, too
            # Not in forward, which gets any ids, also random ones.
            if generation_config is not None and encoded.get("image") is None:
                check_no_placeholders(self.config, inputs)
            return encoded.get("image")
        if encoded.get("image") is not None:
            raise ValueError("You cannot specify both pixel_values or sounds and mm_encoder_outputs at the same time.")
        # The adapters of the whole call: one that another thread sets meanwhile is for later calls.
        media["sound_adapter"] = base.choose_sound(media.get("sound_adapter"), 0 if sounds is None else len(sounds))
        base.check_placeholders(inputs.get("input_ids"), inputs.get("inputs_embeds"), media)
        check_context(self.config, inputs, generation_config)
        features = base.get_image_features(**media, return_dict=True)
        stock = {name: value for name, value in features.items() if name != "sound_info"}
        inputs["mm_encoder_outputs"] = {**encoded, "image": BaseModelOutputWithPooling(**stock)}
        return features


class EncodedGenerationMixin(EncodedCallsMixin):
    """An [`EncodedCallsMixin`] that generates."""

    @torch.no_grad()
    def generate(self, inputs: Tensor | None = None, *args: Any, return_sound_info: bool = False, **kwargs: Any) -> Any:
        """
        `GenerationMixin.generate`, with the arguments of [`SoundLlavaModel.get_image_features`].

        Pictures and sounds are encoded here, once, before prefill: stock `generate` encodes only when there is a
        picture, and would drop a sound that has none. A prompt that is longer than the language model's context
        (`max_position_embeddings`), alone or with its new tokens, gets a `UserWarning` with the numbers.

        Args:
            return_sound_info: Return a `ModelOutput` (as with `return_dict_in_generate=True`) that also has
                `sound_info`, one [`SoundInfo`] per slot.

        Raises:
            ValueError: As `get_image_features`; if placeholders and visual tokens differ; if placeholders have neither
                pictures, sounds, embeddings nor a cache that they stand for.
        """
        if inputs is not None and "input_ids" not in kwargs:
            inputs, kwargs["input_ids"] = None, inputs
        features = self.encode_media(kwargs, self.generation_config)
        if not return_sound_info:
            return super().generate(inputs, *args, **kwargs)
        output = super().generate(inputs, *args, **{**kwargs, "return_dict_in_generate": True})
        output["sound_info"] = getattr(features, "sound_info", None)
        return output


def has_media(encoder_inputs: Mapping[str, Any]) -> bool:
    """Whether there is anything to encode; sound arguments that would go unheard are an error."""
    given = {name for name, value in encoder_inputs.items() if value is not None}
    if given & {"pixel_values", "input_features", "sound_embeds"}:
        return True
    if "input_features_mask" in given:
        raise ValueError("input_features_mask came without input_features: pass both, or the sound would not be heard.")
    slots = encoder_inputs.get("sound_slots")
    if slots is not None and len(slots):
        raise ValueError(
            f"sound_slots has {len(slots)} slots, but no pixel_values, input_features or sound_embeds came with it: "
            "the prompt was expanded for media that did not come."
        )
    return False


__all__ = ["ENCODER_INPUTS", "EncodedCallsMixin", "EncodedGenerationMixin", "also_takes", "has_media"]
