"""
The class of a model while it hears: a subclass of its own class, made for that class alone.

Only the model's `__class__` changes, and its base model gets one attribute, `ears`, outside its parameters. Nothing of
transformers is patched, and other models of the class stay as they are. Transformers looks classes up by name and
module: both are those of the stock class, so that `save_pretrained` writes a stock checkpoint.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from types import MethodType
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from ..configuration_soundclip import SoundClipConfig
from ..visual_features.calls import ENCODER_INPUTS, EncodedCallsMixin, EncodedGenerationMixin
from ..visual_features.features import VisualFeaturesMixin
from .ears import Ears

# The arguments that are about sound. A call without any of the second ones is the stock model's.
SOUND_INPUTS = [name for name in ENCODER_INPUTS if name.startswith(("input_features", "sound_"))]
_SOUNDS = ("input_features", "input_features_mask", "sound_embeds", "sound_slots")
# Of each stock class its hearing class.
_CLASSES: dict[Any, Any] = {}


class HearingMixin(EncodedCallsMixin):
    """What a model with a head and a base model have in common while they hear."""

    stock_class: Any

    def forward(self, *args: Any, return_sound_info: bool = False, **kwargs: Any) -> Any:
        """
        The stock model's forward, with the sound arguments of [`SoundLlavaModel.get_image_features`].

        Args:
            return_sound_info: Add `sound_info` to the output: one [`SoundInfo`] per slot, `None` without sound.
        """
        features = None
        if _hears(kwargs):
            kwargs = {**_by_name(self.stock_class.forward, args), **kwargs}
            args = ()
            _check_media(kwargs)
            features = self.encode_media(kwargs)
        if return_sound_info:
            kwargs["return_dict"] = True
        output = self.stock_class.forward(self, *args, **self._stock_arguments(kwargs))
        if return_sound_info:
            output["sound_info"] = getattr(features, "sound_info", None)
        return output

    def _stock_arguments(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in kwargs.items() if name not in SOUND_INPUTS}

    def __reduce_ex__(self, protocol: Any) -> Any:
        # Pickle would look the class up by its name, which is that of the stock class.
        _, _, *state = super().__reduce_ex__(protocol)
        return (_new, (self.stock_class,), *state)


class HearingBaseMixin(HearingMixin, VisualFeaturesMixin):
    """A base model, such as `LlavaModel`, while it hears."""

    @property
    def ears(self) -> Ears:
        return self.__dict__["ears"]

    @property
    def audio_tower(self) -> Any:
        return self.ears.audio_tower

    @property
    def audio_projection(self) -> Any:
        return self.ears.audio_projection

    @property
    def sound_config(self) -> SoundClipConfig:
        return self.ears.config

    def get_image_features(self, *args: Any, **kwargs: Any) -> Any:
        if not _hears(kwargs):
            return self.stock_class.get_image_features(self, *args, **self._stock_arguments(kwargs))
        kwargs = {**_by_name(self.stock_class.get_image_features, args), **kwargs}
        return super().get_image_features(**kwargs)

    def _stock_arguments(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        kwargs = super()._stock_arguments(kwargs)
        encoded = kwargs.get("mm_encoder_outputs") or {}
        image: Any = encoded.get("image")
        if self.visual_layout.as_tensor and isinstance(getattr(image, "pooler_output", None), list):
            # Beams need one tensor for each slot, and this stock forward one for all.
            tokens = torch.cat(image.pooler_output)[None]
            image = BaseModelOutputWithPooling(**{**image, "pooler_output": tokens})
            kwargs["mm_encoder_outputs"] = {**encoded, "image": image}
        return kwargs

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> Any:
        self.ears._apply(fn)  # `to`, `half`, `cuda`, … of the model reach the ears
        return super()._apply(fn, *args, **kwargs)


class HearingHeadMixin(EncodedGenerationMixin, HearingMixin):
    """A model with a language modeling head, such as `LlavaForConditionalGeneration`, while it hears."""

    @property
    def encoder_inputs(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.base_model.encoder_inputs

    @property
    def ears(self) -> Ears:
        return self.base_model.ears

    def get_audio_features(self, *args: Any, **kwargs: Any) -> BaseModelOutputWithPooling:
        """See [`SoundLlavaModel.get_audio_features`]."""
        return self.base_model.get_audio_features(*args, **kwargs)

    @torch.no_grad()
    def generate(self, inputs: Tensor | None = None, *args: Any, return_sound_info: bool = False, **kwargs: Any) -> Any:
        """See [`SoundLlava.generate`]."""
        if _hears(kwargs):
            _check_media(kwargs)
            return super().generate(inputs, *args, return_sound_info=return_sound_info, **kwargs)
        if return_sound_info:
            kwargs["return_dict_in_generate"] = True
        output = self.stock_class.generate(self, inputs, *args, **self._stock_arguments(kwargs))
        if return_sound_info:
            output["sound_info"] = None
        return output


def hearing_class(stock: Any) -> Any:
    """The class of models of the class `stock` while they hear; of a base model, or of one with a head."""
    if stock not in _CLASSES:
        has_head = stock.can_generate()
        mixin: Any = HearingHeadMixin if has_head else HearingBaseMixin
        attributes = {
            "stock_class": stock,
            "forward": _with_sound_arguments(mixin.forward, stock.forward, ["return_sound_info"]),
            **{name: getattr(stock, name) for name in ("__module__", "__qualname__", "__doc__")},
        }
        if not has_head:
            own_inputs = set(inspect.signature(stock.get_image_features).parameters) - {"self", "kwargs"}
            attributes["encoder_inputs"] = (*ENCODER_INPUTS, *sorted(own_inputs.difference(ENCODER_INPUTS)))
            attributes["get_image_features"] = _with_sound_arguments(mixin.get_image_features, stock.get_image_features)
        _CLASSES[stock] = type(stock.__name__, (mixin, stock), attributes)
    return _CLASSES[stock]


def start_hearing(model: PreTrainedModel) -> None:
    """Give a model, with or without a head, its hearing class."""
    _set_class(model, type(model), hearing_class(type(model)))


def stop_hearing(model: Any) -> None:
    """Give a model its stock class back."""
    _set_class(model, type(model), model.stock_class)


def check_forward(model: PreTrainedModel) -> None:
    """
    Raises:
        ValueError: If something that would not hear took the place of the model's forward.
    """
    _kept_methods(model, type(model))


def _set_class(model: Any, old: type[Any], new: type[Any]) -> None:
    kept = _kept_methods(model, old)
    model.__class__ = new
    for name in kept:
        model.__dict__[name] = MethodType(new.forward, model)


def _kept_methods(model: Any, own_class: type[Any]) -> list[str]:
    # accelerate's hooks keep the forward that they wrap in the first attribute, and in the second when removed.
    kept = ["_old_forward"] if "_old_forward" in model.__dict__ else [n for n in ("forward",) if n in model.__dict__]
    for name in kept:
        if getattr(model.__dict__[name], "__func__", None) is not own_class.forward:
            raise ValueError(
                f"The forward of this {own_class.__name__} was replaced, as accelerate's mixed precision does, and no "
                "sound would reach the model: call add_sound before that, and remove_sound after it was undone."
            )
    return kept


def _with_sound_arguments(method: Callable, stock: Callable, more: Sequence[str] = ()) -> Callable:
    """The method of a mixin with the arguments of the stock method, and those of sound, in its signature."""

    @wraps(stock)
    def with_sound(self: Any, *args: Any, **kwargs: Any) -> Any:
        return method(self, *args, **kwargs)

    *shown, rest = inspect.signature(stock).parameters.values()
    if rest.kind is not rest.VAR_KEYWORD:
        shown, rest = [*shown, rest], inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD)
    sound = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None) for name in [*SOUND_INPUTS, *more]]
    with_sound.__signature__ = inspect.Signature([*shown, *sound, rest])  # type: ignore[attr-defined]
    return with_sound


def _hears(kwargs: Mapping[str, Any]) -> bool:
    return any(kwargs.get(name) is not None for name in _SOUNDS)


def _by_name(function: Callable, args: tuple[Any, ...]) -> dict[str, Any]:
    """Positional arguments of a method by their names."""
    names = list(inspect.signature(function).parameters)[1:]
    return dict(zip(names, args, strict=False))


def _check_media(kwargs: dict[str, Any]) -> None:
    if kwargs.get("pixel_values_images") is not None:  # what Video-LLaVA's processor calls its pictures
        kwargs["pixel_values"] = kwargs.pop("pixel_values_images")
    if kwargs.get("pixel_values_videos") is not None:
        raise ValueError(
            "pixel_values_videos and sounds came in one call: which frames a sound belongs to is open. Give the videos "
            "to the processor of add_sound as parts of a conversation: it takes them as pictures with sound."
        )


def _new(stock: type[PreTrainedModel]) -> Any:
    hearing = hearing_class(stock)
    return hearing.__new__(hearing)


__all__ = ["check_forward", "hearing_class", "start_hearing", "stop_hearing"]
