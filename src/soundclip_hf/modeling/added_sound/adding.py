"""Adds hearing to a LLaVA that is loaded, or named, and takes it away again."""

import os
from typing import Any, TypeVar

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, PreTrainedConfig, PreTrainedModel

from ..checkpoint_json import checked_settings
from ..checkpoint_names import checkpoint_name, one_commit
from ..checkpoints.loading import overridden
from ..configuration_soundclip import Alignment
from ..visual_features.layouts import LAYOUTS, layout_of
from .ears import VisionTower, open_ears
from .hearing_class import HearingMixin, check_forward, start_hearing, stop_hearing
from .processing import AddedSoundProcessor

Model = TypeVar("Model", bound=PreTrainedModel)

# Why not to others, for messages.
_OTHERS = (
    "Most others merge, pool or resample patches, so that a token of the prompt is not one patch of the vision tower."
)

# What a call may change of the configuration of a sound.
_SETTINGS = ("token_budget", "patches", "patch_budget_scope", "sound_select_strategy")


def add_sound(
    model: PreTrainedModel | str | os.PathLike,
    sound: Any,
    alignment: Alignment | None = None,
    *,
    processor: Any = None,
    feature_extractor: Any = None,
    sound_revision: str | None = None,
    **kwargs: Any,
) -> tuple[Any, AddedSoundProcessor]:
    """
    Give hearing to a LLaVA of transformers: `llava`, `llava_next`, `llava_next_video`, `llava_onevision`, `vipllava`,
    `video_llava`, `deepseek_vl` and `fast_vlm`.

    The model is changed in place, and [`remove_sound`] undoes that: it gets a subclass of its own class, whose
    `forward` and `generate` take the arguments of [`SoundLlavaModel.get_image_features`], and ears beside its
    parameters. Its weights, state dict and configuration stay as they are, and `save_pretrained` writes a stock
    checkpoint. A call without sound is the stock model's, bit for bit. With sound, a `llava` or `llava_next` answers as
    the `SoundLlava` of the same base and adapter. The ears follow when the model is moved or cast; they are frozen.

    A vision tower without `[CLS]`, such as SigLIP's, has no row that the sound could replace. The sound takes a place
    of its own in front of the patches: N + 1 tokens for a view with sound and N without, in zero mode, and 1 + k in
    drop mode, as for LLaVA's CLIP. An adapter for such a tower was aligned to the mean of its patches.

    Args:
        model: A loaded model, with a head or without, or the repository or folder of one.
        sound: Repository or folder of a SoundClip, of a SoundLlava (an adapter or whole), or of an audio encoder; or a
            loaded [`SoundClipModel`] or audio encoder, which is copied.
        alignment: "projected": by the projector that was trained for this vision tower. "raw": without one, by padding
            or cutting the embedding. By default as `sound` is configured; "raw" for an audio encoder.
        processor: The model's own; by default loaded from where the model came from.
        feature_extractor: The audio encoder's; by default loaded from where `sound` came from.
        sound_revision: Revision of the repository `sound`.
        **kwargs: `token_budget`, `patches`, `patch_budget_scope` and `sound_select_strategy` of [`SoundClipConfig`], in
            place of those of `sound`. Where `model` is a name, also arguments of `from_pretrained`, such as `dtype`,
            `device_map` and `revision`; `token` and `cache_dir` are used for `sound`, too.

    Returns:
        The model, and a processor that wraps its own and takes sounds as [`SoundLlavaProcessor`] does.

    Raises:
        OSError: If a repository or a file of it cannot be found.
        ValueError: If the model's type or vision tower is not supported, it already hears, or `sound` was aligned to
            another vision tower, has no projector or holds no ears.
        TypeError: For a model or a sound of another kind, or unknown arguments.
    """
    settings = {key: kwargs.pop(key) for key in _SETTINGS if key in kwargs}
    hub: dict[str, Any] = {key: kwargs[key] for key in ("token", "cache_dir", "local_files_only") if key in kwargs}
    if isinstance(model, (str, os.PathLike)):
        stock, own_processor = _load(model, processor, hub, kwargs)
    else:
        stock, own_processor = _loaded(model, processor, hub, kwargs)
    base: Any = stock.base_model
    name = stock.name_or_path or f"the loaded {type(stock).__name__}"
    parts = [stock] if base is stock else [stock, base]
    for part in parts:
        check_forward(part)
    ears = open_ears(sound, _vision_tower(stock, name), alignment, feature_extractor, sound_revision, hub)
    ears.config = overridden(ears.config, settings)
    ears.of_head = base is not stock
    heard = AddedSoundProcessor.around(own_processor, stock.config, ears.config, ears.feature_extractor)
    base.__dict__["ears"] = ears  # not by setattr, which would make its weights the model's
    for part in parts:
        start_hearing(part)
    return stock, heard


def remove_sound(model: Model) -> Model:
    """
    Take the hearing of [`add_sound`] away: the model is the stock model again, bit for bit.

    Returns:
        The model itself.

    Raises:
        ValueError: If the model does not hear, or something took the place of its forward.
    """
    if not isinstance(model, HearingMixin):
        raise ValueError(f"This {type(model).__name__} has no sound that add_sound gave it.")
    base: Any = model.base_model
    if base is model and base.ears.of_head:
        raise ValueError(f"Sound was added to the model around this {type(model).__name__}: call remove_sound on that.")
    parts = [model] if base is model else [model, base]
    for part in parts:
        check_forward(part)
    for part in parts:
        stop_hearing(part)
    del base.__dict__["ears"]
    return model


def check_model_type(config: PreTrainedConfig, name: str) -> None:
    """
    Raises:
        ValueError: If sound cannot be added to a model with this configuration.
    """
    if config.model_type == "sound_llava":
        raise ValueError(f"{name} is a SoundLlava and hears already: load it with AutoModelForMultimodalLM.")
    if config.model_type not in LAYOUTS:
        raise ValueError(
            f"{name} has model_type {config.model_type!r}; sound can be added to {', '.join(sorted(LAYOUTS))}. "
            f"{_OTHERS}"
        )
    layout_of(config).check()


def _load(name: str | os.PathLike, processor: Any, hub: dict[str, Any], keywords: dict[str, Any]) -> tuple[Any, Any]:
    """A model by its name, and its processor."""
    name, revision = checkpoint_name(name, keywords.pop("revision", None))
    revision = one_commit(name, revision, hub)
    keywords |= {} if revision is None else {"revision": revision}
    place: dict[str, Any] = {key: keywords[key] for key in ("revision", "subfolder") if key in keywords}
    with checked_settings(name, {**place, **hub}, processor=processor is None):
        check_model_type(AutoConfig.from_pretrained(name, **place, **hub), str(name))
        processor = processor or AutoProcessor.from_pretrained(name, **place, **hub)
    return AutoModelForImageTextToText.from_pretrained(name, **{"dtype": "auto", **keywords}), processor


def _loaded(model: Any, processor: Any, hub: dict[str, Any], keywords: dict[str, Any]) -> tuple[Any, Any]:
    """A loaded model, and its processor."""
    if not isinstance(model, PreTrainedModel):
        raise TypeError(
            f"model is a {type(model).__name__}: give a model of transformers, or its repository or folder. Add sound "
            "before wrapping a model, such as for PEFT."
        )
    if keywords.keys() - hub.keys():
        raise TypeError(f"{', '.join(sorted(keywords))}: only for a model that is named; this one is loaded.")
    name = model.name_or_path or f"the loaded {type(model).__name__}"
    base: Any = model.base_model
    if isinstance(base, HearingMixin):
        raise ValueError(f"{name} already hears ({base.ears.name}): call remove_sound on it first.")
    check_model_type(model.config, name)
    if processor is None:
        if not model.name_or_path:
            raise ValueError(f"{name} was not loaded from a repository or folder: pass its processor=….")
        revision = getattr(model.config, "_commit_hash", None) or "main"
        processor = AutoProcessor.from_pretrained(model.name_or_path, revision=revision, **hub)
    return model, processor


def _vision_tower(model: Any, name: str) -> VisionTower:
    base = model.base_model
    layout = layout_of(base.config)
    module = getattr(base, layout.tower)
    return VisionTower(
        module=module,
        feature_layer=layout.feature_layer,
        width=layout.width(),
        model=name,
        dtype=base.dtype,
        device=_device(module),
        quantized=getattr(model, "hf_quantizer", None) is not None,
    )


def _device(module: nn.Module) -> torch.device:
    """Where a module computes: its weights may be elsewhere, and come when accelerate's hooks fetch them."""
    for child in module.modules():
        hook = getattr(child, "_hf_hook", None)
        for single in getattr(hook, "hooks", [hook]):
            device = getattr(single, "execution_device", None)
            if device is not None:
                return torch.device(device)
    return next(module.parameters()).device


__all__ = ["add_sound", "remove_sound"]
