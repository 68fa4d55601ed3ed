"""`from_pretrained` of the dual encoder: its own checkpoints, and the ears and vision tower of a SoundLlava."""

import os
from dataclasses import fields
from typing import Any

from transformers import AutoConfig, PreTrainedConfig
from transformers.utils import cached_file

from ..configuration_soundclip import SoundClipConfig, SoundLlavaConfig
from .adapter_parts import (
    ADAPTER_NAME,
    EARS,
    HUB_KWARGS,
    is_of_ears,
    load_adapter,
    load_encoder,
    named,
    quiet_loading_report,
    settle_dtypes,
    sound_llava_config,
)
from .partial_checkpoint import read_modules

# Computed from the configuration where a checkpoint, such as a SoundLlava's, has none.
_FROM_CONFIG = {"logit_scale"}


class DualEncoderLoadingMixin:
    """`from_pretrained` for repositories of three kinds; see there."""

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
        Load a dual encoder from one of three kinds of repository or folder, strictly.

        - Its *own* checkpoint.
        - A SoundLlava *adapter*: the projector comes from it, the audio encoder and the vision tower from the
          repositories and revisions that its configuration names (`base_model_name_or_path=` overrides the base). Of
          the base, only the files that hold the vision tower are fetched, and only its tensors are read.
        - A *full* SoundLlava checkpoint, of which ears and vision tower are read likewise.

        Takes the arguments of `PreTrainedModel.from_pretrained` (`dtype`, `device_map`, …); fields of
        `SoundClipConfig`, such as `alignment="raw"`, override the checkpoint's. The towers come frozen.

        Raises:
            OSError: If a repository or a file of it cannot be found.
            ValueError: If a key is missing, unexpected or of another shape, if the adapter was made for another vision
                tower, or if the repository holds no ears.
        """
        name = pretrained_model_name_or_path
        if name is None:
            return super().from_pretrained(  # type: ignore[misc]
                None, *model_args, config=config, output_loading_info=output_loading_info, **kwargs
            )
        hub = {key: kwargs[key] for key in HUB_KWARGS if key in kwargs}
        own = {key: kwargs[key] for key in ("revision", "subfolder") if kwargs.get(key) is not None}
        if config is None:
            config = AutoConfig.from_pretrained(name, **hub, **own)
        if not isinstance(config, SoundLlavaConfig):
            _check_type(config, str(name))
            with quiet_loading_report():
                model, info = super().from_pretrained(  # type: ignore[misc]
                    name, *model_args, config=_overridden(config, kwargs), output_loading_info=True, **kwargs
                )
            _check_keys(info, str(name), may_miss=set())
        else:
            for key in own:
                kwargs.pop(key)
            model, info = cls._from_sound_llava(name, model_args, config, hub, own, kwargs)
        model.freeze_base_model()
        return (model, info) if output_loading_info else model

    @classmethod
    def _from_sound_llava(
        cls,
        name: Any,
        model_args: tuple[Any, ...],
        config: SoundLlavaConfig,
        hub: dict[str, Any],
        own: dict[str, Any],
        kwargs: dict[str, Any],
    ) -> tuple[Any, dict[str, Any]]:
        llava = sound_llava_config(name, config, {**hub, **own})
        for key in ("base_model_name_or_path", "base_model_revision"):
            if key in kwargs:
                setattr(llava, key, kwargs.pop(key))
        adapter = cached_file(name, ADAPTER_NAME, _raise_exceptions_for_missing_entries=False, **hub, **own)
        if adapter is None:
            source, fresh = str(name), _FROM_CONFIG
            tensors = read_modules(name, ("vision_tower", *EARS), **hub, **own)
        else:
            if llava.base_model_name_or_path is None:
                raise ValueError(
                    f"The adapter {str(name)!r} does not say which LLaVA it belongs to: config.json has no "
                    "base_model_name_or_path. Pass base_model_name_or_path=… to from_pretrained."
                )
            source, fresh = llava.base_model_name_or_path, None
            tensors = read_modules(source, ("vision_tower",), llava.base_model_revision, **hub)
        with quiet_loading_report():
            model, info = super().from_pretrained(  # type: ignore[misc]
                None,
                *model_args,
                config=_overridden(dual_encoder_config(llava), kwargs),
                state_dict=tensors,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **kwargs,
            )
        _check_keys(info, source, may_miss=fresh)
        if adapter is not None:
            settle_dtypes(model, model.vision_tower.dtype)
            if llava.audio_encoder_name_or_path is not None:
                load_encoder(model.audio_tower, llava, hub)
            load_adapter(model, llava, adapter, str(name))
        info["missing_keys"] = set()
        return model, info


def dual_encoder_config(config: SoundLlavaConfig) -> SoundClipConfig:
    """What a SoundLlava says of its ears and its vision tower, as one configuration."""
    values = config.sound_config.to_dict()
    for key in ("model_type", "architectures", "transformers_version", "_name_or_path"):
        values.pop(key, None)
    values |= {"vision_config": config.vision_config, "vision_feature_layer": config.vision_feature_layer}
    return SoundClipConfig(**{**values, "audio_config": config.sound_config.audio_config, "dtype": config.dtype})


def _check_type(config: PreTrainedConfig, name: str) -> None:
    if config.model_type in ("llava", "llava_next"):
        raise ValueError(
            f"{name!r} is a LLaVA without ears: name a SoundLlava or an adapter, or build a dual encoder with "
            "SoundClipModel.from_audio_vision_pretrained(audio, vision)."
        )
    if not isinstance(config, SoundClipConfig):
        raise ValueError(f"{name!r} has model_type {config.model_type!r}: expected 'soundclip' or 'sound_llava'.")


def _overridden(config: Any, kwargs: dict[str, Any]) -> Any:
    names = {field.name for field in fields(SoundClipConfig)} - {"dtype"}  # type: ignore[arg-type]
    given = {name: kwargs.pop(name) for name in names & kwargs.keys()}
    return type(config)(**{**config.to_dict(), **given}) if given else config


def _check_keys(info: dict[str, Any], source: str, may_miss: set[str] | None) -> None:
    """Refuse a checkpoint that does not fit; `may_miss` None: ears and temperature come from elsewhere."""
    missing = {
        key
        for key in info["missing_keys"]
        if not (is_of_ears(key) or key in _FROM_CONFIG if may_miss is None else key in may_miss)
    }
    reshaped = [
        f"{entry[0]} {tuple(entry[1])} against {tuple(entry[2])}" if isinstance(entry, tuple) else entry
        for entry in info["mismatched_keys"]
    ]
    if missing or info["unexpected_keys"] or reshaped:
        raise ValueError(
            f"The checkpoint {source!r} does not fit its configuration. Missing in the checkpoint: "
            f"{named(missing) or 'none'}. Unknown to the model: {named(info['unexpected_keys']) or 'none'}. Other "
            f"shape (checkpoint against model): {named(reshaped) or 'none'}."
        )


__all__ = ["DualEncoderLoadingMixin", "dual_encoder_config"]
