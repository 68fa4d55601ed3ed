"""Adapter repositories: megabytes of ears for a LLaVA that is loaded by id and revision; every loading is strict."""

import copy
import logging
import os
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedConfig
from transformers.utils import cached_file

from ...files import replacing
from ..configuration_soundclip import SoundLlavaConfig
from .adapter_parts import (
    ADAPTER_NAME,
    EARS,
    HUB_KWARGS,
    adapter_tensors,
    is_of_ears,
    load_adapter,
    load_encoder,
    named,
    quiet_loading_report,
    settle_dtypes,
    sound_llava_config,
)
from .fingerprint import fingerprint

# What a quantiser must leave alone: our parts, and LLaVA's small ones, whose values the fingerprint reads. Patterns
# match from the start of a module's name, which begins with "model." in SoundLlavaForConditionalGeneration.
_SPARED = ("audio_projection", "audio_tower", "multi_modal_projector", "vision_tower")
NOT_QUANTIZED = ["lm_head", *_SPARED, *(f"model.{part}" for part in _SPARED)]

logger = logging.getLogger("transformers.soundclip_hf.adapter")


class AdapterLoadingMixin:
    """`from_pretrained` and `save_pretrained` for adapter, full and stock LLaVA repositories."""

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike | None,
        *model_args: Any,
        config: PreTrainedConfig | None = None,
        output_loading_info: bool = False,
        **kwargs: Any,
    ) -> Any:
        """
        Load a model from one of three kinds of repository or folder.

        - An *adapter* repository (`soundclip_adapter.safetensors`): base LLaVA and audio encoder are loaded by the ids
          and revisions in its configuration (`base_model_name_or_path=` overrides the base), then the adapter.
        - A *full* SoundLlava checkpoint.
        - A *stock* LLaVA checkpoint: with `config=SoundLlavaConfig.from_llava_config(…)` it gets fresh ears, and the
          encoder of `audio_encoder_name_or_path`; a warning names what is not trained.

        Takes the arguments of `PreTrainedModel.from_pretrained` (`dtype`, `device_map`, `quantization_config`, …).

        Raises:
            ValueError: If a key of ours is missing, unexpected or of the wrong shape, or if the adapter was made for
                another vision tower; both sides are named.
        """
        name = pretrained_model_name_or_path
        if name is None:
            return super().from_pretrained(  # type: ignore[misc]
                None, *model_args, config=config, output_loading_info=output_loading_info, **kwargs
            )
        hub = {key: kwargs[key] for key in HUB_KWARGS if key in kwargs}
        own = {key: kwargs[key] for key in ("revision", "subfolder") if kwargs.get(key) is not None}
        overrides = {
            key: kwargs.pop(key) for key in ("base_model_name_or_path", "base_model_revision") if key in kwargs
        }
        if kwargs.get("quantization_config") is not None:
            kwargs["quantization_config"] = _spare_small_parts(kwargs["quantization_config"])
        adapter_file = cached_file(name, ADAPTER_NAME, _raise_exceptions_for_missing_entries=False, **hub, **own)
        config = sound_llava_config(name, config, {**hub, **own})
        for key, value in overrides.items():
            setattr(config, key, value)
        if adapter_file is not None:
            if config.base_model_name_or_path is None:
                raise ValueError(
                    f"The adapter {str(name)!r} does not say which LLaVA it belongs to: config.json has no "
                    "base_model_name_or_path. Pass base_model_name_or_path=… to from_pretrained."
                )
            # These say where the adapter lies, the last two by way of the Auto classes; its base lies elsewhere.
            elsewhere = ("revision", "subfolder", "_commit_hash", "adapter_kwargs")
            kwargs = {key: value for key, value in kwargs.items() if key not in elsewhere}
            config._commit_hash = None
            source, revision = str(config.base_model_name_or_path), config.base_model_revision
        else:
            source, revision = str(name), kwargs.pop("revision", None)
        if revision is not None:
            kwargs["revision"] = revision
        kwargs.setdefault("use_safetensors", True)
        with quiet_loading_report():
            model, info = super().from_pretrained(  # type: ignore[misc]
                source, *model_args, config=config, output_loading_info=True, **kwargs
            )
        loaded_own = _check_base_keys(model, info, source)
        backbone = _backbone(model)
        if not loaded_own:
            settle_dtypes(backbone, backbone.multi_modal_projector.linear_1.weight.dtype)
        encoder = config.audio_encoder_name_or_path
        if encoder is not None and (adapter_file is not None or not loaded_own):
            model.config.audio_encoder_revision = load_encoder(backbone.audio_tower, config, hub)
        if adapter_file is not None:
            load_adapter(backbone, config, adapter_file, str(name))
        elif not loaded_own:
            fresh = [part for part in EARS if not (part == "audio_tower" and encoder is not None)]
            unused = encoder is not None and config.sound_config.alignment == "raw"
            logger.warning(
                "%s is a LLaVA checkpoint without ears: %s newly initialised and %s.",
                source,
                " and ".join(fresh) + (" are" if len(fresh) > 1 else " is"),
                "not used while alignment is 'raw'"
                if unused
                else "must be trained (`soundclip align`) before the model hears anything meaningful",
            )
        backbone.audio_tower.requires_grad_(False)
        if output_loading_info:
            if adapter_file is not None or not loaded_own:
                info["missing_keys"] = {key for key in info["missing_keys"] if not is_of_ears(key)}
            return model, info
        return model

    def save_pretrained(
        self, save_directory: str | os.PathLike, *args: Any, adapter_only: bool = False, **kwargs: Any
    ) -> None:
        """
        Save the whole model, or with `adapter_only=True` its ears alone.

        An adapter holds `audio_projection`, and `audio_tower` unless `config.audio_encoder_name_or_path` says where
        that comes from; base and encoder are named in `config.json`. The file is written under a temporary name first.

        Raises:
            ValueError: With `adapter_only`, if the configuration does not name the base model.
        """
        if not adapter_only:
            super().save_pretrained(save_directory, *args, **kwargs)  # type: ignore[misc]
            return
        config: SoundLlavaConfig = copy.deepcopy(self.config)  # type: ignore[attr-defined]
        if config.base_model_name_or_path is None:
            raise ValueError(
                "adapter_only=True needs config.base_model_name_or_path: set it to the id or folder of the LLaVA that "
                "the adapter belongs to (and config.base_model_revision to a commit hash)."
            )
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        backbone = _backbone(self)
        config.vision_fingerprint = fingerprint(backbone.vision_tower, config.vision_feature_layer)
        config.architectures = [type(self).__name__]
        config.dtype = getattr(self, "dtype", None)
        tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in adapter_tensors(backbone, config).items()}
        with replacing(folder / ADAPTER_NAME) as partial:
            save_file(tensors, partial, metadata={"format": "pt"})
            config.save_pretrained(folder)


def _spare_small_parts(quantization_config: Any) -> Any:
    """A copy of the quantisation settings that leaves `NOT_QUANTIZED` in full precision."""
    settings = copy.deepcopy(quantization_config)
    names = ("llm_int8_skip_modules", "modules_to_not_convert")
    for name in names:
        if (isinstance(settings, dict) and name in settings) or hasattr(settings, name):
            given = settings[name] if isinstance(settings, dict) else getattr(settings, name)
            # A list given here replaces transformers' own, so lm_head has to be in ours.
            spared = list(dict.fromkeys([*(given or []), *NOT_QUANTIZED]))
            if isinstance(settings, dict):
                settings[name] = spared
            else:
                setattr(settings, name, spared)
    return settings


def _backbone(model: Any) -> Any:
    return model.model if hasattr(model, "model") else model


def _check_base_keys(model: nn.Module, info: dict[str, Any], source: str) -> bool:
    """Whether the checkpoint held our parts; raises where it held some of them, or lacks a base key."""
    own = {key for key in model.state_dict() if is_of_ears(key)}
    missing, unexpected = set(info["missing_keys"]), set(info["unexpected_keys"])
    mismatched = {entry[0] if isinstance(entry, tuple) else entry for entry in info["mismatched_keys"]}
    strange = {key for key in unexpected if is_of_ears(key)}
    loaded_own = not own <= missing
    if strange or mismatched & own or (loaded_own and missing):
        raise ValueError(
            f"The checkpoint {source!r} does not fit its SoundLlavaConfig. Missing in the checkpoint: "
            f"{named(missing) or 'none'}. Unknown to the model: {named(strange) or 'none'}. Other shape: "
            f"{named(mismatched) or 'none'}."
        )
    lost = {key for key in missing if not is_of_ears(key)}
    if lost or unexpected:
        logger.warning(
            "Loading %s: newly initialised: %s; not used: %s.",
            source,
            named(lost) or "none",
            named(unexpected) or "none",
        )
    return loaded_own


__all__ = ["ADAPTER_NAME", "NOT_QUANTIZED", "AdapterLoadingMixin"]
