"""Checks of the processor's fields and call arguments: an unknown or impossible one is an error that names it."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from transformers.processing_utils import AudioKwargs, ImagesKwargs, ProcessingKwargs, TextKwargs, VideosKwargs

from .configuration_soundclip import BudgetScope, PatchMode, SelectStrategy

CHOICES: dict[str, Sequence[str]] = {
    "llava_variant": ("llava", "llava_next"),
    "vision_feature_select_strategy": get_args(SelectStrategy),
    "sound_patches": get_args(PatchMode),
    "patch_budget_scope": get_args(BudgetScope),
    "sound_select_strategy": get_args(SelectStrategy),
}


def check_choice(name: str, value: Any) -> None:
    """
    Raises:
        ValueError: If the field `name` does not allow `value`.
    """
    if value not in CHOICES[name]:
        raise ValueError(f"{name}={value!r}: must be one of {', '.join(map(repr, CHOICES[name]))}.")


def check_int(name: str, value: Any, smallest: int) -> None:
    """
    Raises:
        ValueError: If `value` is no int, or below `smallest`.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < smallest:
        raise ValueError(f"{name}={value!r}: must be an int >= {smallest}.")


def check_call_arguments(arguments: dict[str, Any], image_processor: Any) -> None:
    """
    Refuse what the stock processor would ignore.

    Args:
        arguments: Keyword arguments beyond the processor's own, flat or in `text_kwargs`, `images_kwargs`. Those of a
            video are taken out if they are `None`: pipelines pass them on.
        image_processor: Knows further arguments.

    Raises:
        TypeError: For an unknown argument.
        ValueError: For videos.
    """
    if arguments.pop("videos", None) is not None:
        raise ValueError('videos: pass a clip to `apply_chat_template` as {"type": "video", "path": ...}.')
    for name in set(VideosKwargs.__annotations__) - set(ImagesKwargs.__annotations__):
        if name in arguments and arguments[name] is None:
            arguments.pop(name)
    text, images = set(TextKwargs.__annotations__), set(ImagesKwargs.__annotations__)
    images |= set(getattr(getattr(image_processor, "valid_kwargs", None), "__annotations__", {}))
    flat = {"common_kwargs", "return_metadata", *ProcessingKwargs.__annotations__, *AudioKwargs.__annotations__}
    _refuse(arguments, flat | text | images, "")
    _refuse(arguments.get("text_kwargs") or {}, text, " in text_kwargs")
    _refuse(arguments.get("images_kwargs") or {}, images, " in images_kwargs")


def _refuse(arguments: Mapping[str, Any], known: set[str], where: str) -> None:
    own = {"images", "text", "audio", "sampling_rate", "sound_patches", "sound_top_k"}
    for name in arguments:
        if name not in known:
            near = get_close_matches(name, known | own, 1)
            raise TypeError(f"Unexpected argument {name!r}{where}." + (f" Did you mean {near[0]!r}?" if near else ""))


__all__ = ["CHOICES", "check_call_arguments", "check_choice", "check_int"]
