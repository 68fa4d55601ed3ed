"""Checks the arguments of the processors, naming what is unknown or not allowed, and gives each one form."""

import inspect
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from transformers import ProcessorMixin
from transformers.image_utils import make_flat_list_of_images
from transformers.processing_utils import AudioKwargs, ImagesKwargs, ProcessingKwargs, TextKwargs, VideosKwargs

from ..configuration_soundclip import BudgetScope, PatchMode, SelectStrategy
from ..slots.geometry import view_size
from .picture_settings import check_picture_settings

_CHOICES: dict[str, Sequence[str]] = {
    "llava_variant": ("llava", "llava_next"),
    "vision_feature_select_strategy": get_args(SelectStrategy),
    "sound_patches": get_args(PatchMode),
    "patch_budget_scope": get_args(BudgetScope),
    "sound_select_strategy": get_args(SelectStrategy),
}

_OWN = {"images", "text", "audio", "sampling_rate", "sound_patches", "sound_top_k"}
# What feature extractors call a sound: beside `audio`, nobody would hear it.
_AUDIO_ARGUMENTS = set(AudioKwargs.__annotations__) - {"raw_speech"}
_MEANT = {"sound": "audio", "sounds": "audio", "raw_speech": "audio", "image": "images"}


def check_choice(name: str, value: Any) -> None:
    """
    Check an argument that takes one of several words.

    Raises:
        ValueError: If `value` is not allowed for the argument `name`.
    """
    if value not in _CHOICES[name]:
        raise ValueError(f"{name}={value!r}: must be one of {', '.join(map(repr, _CHOICES[name]))}.")


def as_int(name: str, value: Any, smallest: int) -> int:
    """
    An argument that takes an int, as Python's own: integers of NumPy, and arrays and tensors without dimensions that
    hold one, are taken like ints.

    Raises:
        ValueError: If `value` is not such an int, or is below `smallest`.
    """
    plain = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(plain, bool) or not isinstance(plain, int) or not smallest <= plain < 2**31:
        bound = "" if isinstance(plain, bool) or not isinstance(plain, int) or plain < smallest else " and below 2**31"
        raise ValueError(f"{name}={value!r}: must be an int >= {smallest}{bound}.")
    return plain


def check_fields(processor: Any) -> None:
    """
    Check the fields of a processor, and make integers of NumPy or torch Python's own, so that they can be saved.

    Raises:
        ValueError: If the value of a field is not allowed, or does not fit the tokenizer or the image processor.
    """
    for name in _CHOICES:
        check_choice(name, getattr(processor, name))
    check_picture_settings(processor.image_processor)
    processor.patch_size = as_int("patch_size", processor.patch_size, 1)
    if processor.patch_size > (side := view_size(processor.image_processor)):
        raise ValueError(
            f"patch_size={processor.patch_size}: pictures are {side} pixels wide; a patch is a part of one."
        )
    processor.sound_top_k = as_int("sound_top_k", processor.sound_top_k, 0)
    additional = processor.num_additional_image_tokens
    without_class_token = additional == 0 and processor.vision_feature_select_strategy == "full"
    if additional != 1 and not without_class_token:
        raise ValueError(
            f"num_additional_image_tokens={additional}: must be 1, the [CLS] row of the "
            "vision tower, whose place the sound takes."
        )
    if not processor.audio_token or processor.audio_token == processor.image_token:
        raise ValueError(f"audio_token={processor.audio_token!r}: must be a text other than image_token.")
    if processor.image_token_id is None or processor.image_token_id == processor.tokenizer.unk_token_id:
        raise ValueError(
            f"image_token={processor.image_token!r}: the tokenizer has no such token; take the base LLaVA's tokenizer."
        )
    if processor.llava_variant == "llava_next" and not hasattr(processor.image_processor, "image_grid_pinpoints"):
        raise ValueError(
            f"llava_variant='llava_next': {type(processor.image_processor).__name__} has no image_grid_pinpoints; pass "
            "a LlavaNextImageProcessor."
        )


def list_of_texts(text: Any) -> list[str] | None:
    """
    The `text` argument as a list.

    Raises:
        ValueError: If it is neither a string nor a list of strings.
    """
    if text is None:
        return None
    texts = [text] if isinstance(text, str) else list(text)
    if not all(isinstance(sample, str) for sample in texts):
        raise ValueError("`text` must be a string or a list of strings.")
    return texts


def without_none(images: Any) -> Any:
    """The `images` argument without `None`, which stands for no image; `None` if nothing is left."""
    if not isinstance(images, (list, tuple)):
        return images
    if any(isinstance(entry, (list, tuple)) for entry in images):
        return [[] if entry is None else entry for entry in images] if any(images) else None
    return [entry for entry in images if entry is not None] or None


def flat_images(images: Any) -> list[Any]:
    """The images of the `images` argument in one list."""
    return [] if images is None else list(make_flat_list_of_images(images))


def images_per_sample(images: Any, in_prompts: list[int] | None, image_token: str) -> list[int]:
    """
    Images of each sample.

    Args:
        images: The `images` argument.
        in_prompts: Image markers in each prompt; `None` where there are no prompts.
        image_token: The marker, for the message.

    Raises:
        ValueError: If images are nested per sample, and their numbers are not those of the markers.
    """
    nested = isinstance(images, (list, tuple)) and any(isinstance(entry, (list, tuple)) for entry in images)
    if in_prompts is None:
        return [len(sample) for sample in images] if nested else [len(flat_images(images))]
    if nested and len(images) == len(in_prompts) and (given := [len(sample) for sample in images]) != in_prompts:
        raise ValueError(f"The samples have {given} images, but their prompts have {in_prompts} {image_token}.")
    return in_prompts


def check_call_arguments(arguments: dict[str, Any], image_processor: Any, feature_extractor: Any) -> None:
    """
    Refuse arguments that the stock processor would ignore.

    Args:
        arguments: Keyword arguments of the stock processor, flat or in `text_kwargs`, `images_kwargs` and the like.
            Arguments for videos that are `None`, as pipelines pass them, are removed.
        image_processor, feature_extractor: Their own arguments are allowed, too.

    Raises:
        TypeError: For an unknown argument.
        ValueError: For videos.
    """
    if arguments.pop("videos", None) is not None:
        raise ValueError('videos: pass a clip to `apply_chat_template` as {"type": "video", "path": ...}.')
    for name in set(VideosKwargs.__annotations__) - set(ImagesKwargs.__annotations__):
        if name in arguments and arguments[name] is None:
            arguments.pop(name)
    _refuse(arguments, _known(image_processor), "")
    check_nested_arguments(arguments, image_processor, feature_extractor)


def check_nested_arguments(arguments: Mapping[str, Any], image_processor: Any, feature_extractor: Any) -> None:
    """
    Check the names in `text_kwargs`, `images_kwargs`, `audio_kwargs`, `videos_kwargs` and `common_kwargs`.

    Args:
        arguments: Keyword arguments of a processor, which may have these dictionaries, or `None` in their place.
        image_processor, feature_extractor: Their own arguments are allowed, too.

    Raises:
        TypeError: For an unknown name, or for what is no dictionary.
    """
    extraction = getattr(feature_extractor, "extract", feature_extractor.__call__)
    known = {
        "text_kwargs": set(TextKwargs.__annotations__),
        "images_kwargs": _known_of_images(image_processor),
        "audio_kwargs": {*_AUDIO_ARGUMENTS, *inspect.signature(extraction).parameters} - {"kwargs", "sounds"},
        "videos_kwargs": {*VideosKwargs.__annotations__, "frame", "load_audio_from_video"},
    }
    known["common_kwargs"] = set().union(*known.values())
    for where, names in known.items():
        nested = arguments.get(where)
        if nested is not None and not isinstance(nested, Mapping):
            raise TypeError(f"{where}={nested!r}: must be a dictionary of arguments.")
        _refuse(nested or {}, names, f" in {where}")


def check_no_media(arguments: Mapping[str, Any]) -> None:
    """
    Refuse sounds and videos beside a conversation, which has its own.

    Args:
        arguments: Keyword arguments of `apply_chat_template` and of the call behind it.

    Raises:
        TypeError: If there are any, naming the argument.
    """
    for name in ("audio", "audios", "sound", "sounds", "video", "videos"):
        if arguments.get(name) is not None:
            raise TypeError(
                f"Unexpected argument {name!r}: give sounds and videos as parts of the conversation, such as "
                '{"type": "audio", "path": ...}.'
            )


def take_call_arguments(arguments: dict[str, Any], image_processor: Any) -> dict[str, Any]:
    """
    Remove the arguments of the processor's `__call__` from those of `apply_chat_template`, and return them.

    Versions of transformers differ in how they combine them with `processor_kwargs`, and some would lose the latter.

    Args:
        arguments: Keyword arguments of `apply_chat_template`.
        image_processor: Its own arguments belong to `__call__`, too.
    """
    template = inspect.signature(ProcessorMixin.apply_chat_template).parameters
    names = (_known(image_processor) | _OWN) - set(template)
    return {name: arguments.pop(name) for name in list(arguments) if name in names}


def _known_of_images(image_processor: Any) -> set[str]:
    own = getattr(getattr(image_processor, "valid_kwargs", None), "__annotations__", {})
    return {*ImagesKwargs.__annotations__, *own}


def _known(image_processor: Any) -> set[str]:
    shared = {"common_kwargs", "return_metadata", *ProcessingKwargs.__annotations__, *_AUDIO_ARGUMENTS}
    return shared | set(TextKwargs.__annotations__) | _known_of_images(image_processor)


def _refuse(arguments: Mapping[str, Any], known: set[str], where: str) -> None:
    for name in arguments:
        if name not in known:
            near = get_close_matches(str(name), known if where else known | _OWN, 1)
            if name in _MEANT and not where:
                near = [_MEANT[name]]
            raise TypeError(f"Unexpected argument {name!r}{where}." + (f" Did you mean {near[0]!r}?" if near else ""))


__all__ = [
    "as_int",
    "check_call_arguments",
    "check_choice",
    "check_fields",
    "check_nested_arguments",
    "check_no_media",
    "flat_images",
    "images_per_sample",
    "list_of_texts",
    "take_call_arguments",
    "without_none",
]
