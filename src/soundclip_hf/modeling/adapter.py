"""Adapter repositories: megabytes of ears for a LLaVA that is loaded by id and revision; every loading is strict."""

import copy
import logging
import os
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoConfig, PreTrainedConfig
from transformers.utils import cached_file

from .configuration_soundclip import SoundLlavaConfig
from .fingerprint import differences, fingerprint

ADAPTER_NAME = "soundclip_adapter.safetensors"
# What a quantiser must leave alone: our parts, and LLaVA's small ones, whose values the fingerprint reads. Patterns
# match from the start of a module's name, which begins with "model." in SoundLlavaForConditionalGeneration.
_SPARED = ("audio_projection", "audio_tower", "multi_modal_projector", "vision_tower")
NOT_QUANTIZED = ["lm_head", *_SPARED, *(f"model.{part}" for part in _SPARED)]

_HUB_KWARGS = ("cache_dir", "force_download", "local_files_only", "token", "proxies")
_OWN_PARTS = ("audio_tower", "audio_projection")

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
        hub = {key: kwargs[key] for key in _HUB_KWARGS if key in kwargs}
        own = {key: kwargs[key] for key in ("revision", "subfolder") if kwargs.get(key) is not None}
        overrides = {
            key: kwargs.pop(key) for key in ("base_model_name_or_path", "base_model_revision") if key in kwargs
        }
        if kwargs.get("quantization_config") is not None:
            kwargs["quantization_config"] = _spare_small_parts(kwargs["quantization_config"])
        adapter_file = cached_file(name, ADAPTER_NAME, _raise_exceptions_for_missing_entries=False, **hub, **own)
        config = _sound_config(name, config, {**hub, **own})
        for key, value in overrides.items():
            setattr(config, key, value)
        if adapter_file is not None:
            if config.base_model_name_or_path is None:
                raise ValueError(
                    f"The adapter {str(name)!r} does not say which LLaVA it belongs to: config.json has no "
                    "base_model_name_or_path. Pass base_model_name_or_path=… to from_pretrained."
                )
            # Revision, subfolder and commit say where the adapter lies; its base lies elsewhere.
            kwargs = {k: v for k, v in kwargs.items() if k not in ("revision", "subfolder", "_commit_hash")}
            config._commit_hash = None
            source, revision = str(config.base_model_name_or_path), config.base_model_revision
        else:
            source, revision = str(name), kwargs.pop("revision", None)
        if revision is not None:
            kwargs["revision"] = revision
        kwargs.setdefault("use_safetensors", True)
        with _quiet_loading_report():
            model, info = super().from_pretrained(  # type: ignore[misc]
                source, *model_args, config=config, output_loading_info=True, **kwargs
            )
        loaded_own = _check_base_keys(model, info, source)
        if not loaded_own:
            _settle_dtypes(model)
        encoder = config.audio_encoder_name_or_path
        if adapter_file is not None:
            if encoder is not None:
                _load_encoder(model, config, hub)
            _load_adapter(model, adapter_file, str(name))
        elif not loaded_own:
            if encoder is not None:
                _load_encoder(model, config, hub)
            fresh = [part for part in _OWN_PARTS if not (part == "audio_tower" and encoder is not None)]
            logger.warning(
                "%s is a LLaVA checkpoint without ears: %s newly initialised and must be trained (`soundclip align`) "
                "before the model hears anything meaningful.",
                source,
                " and ".join(fresh) + (" are" if len(fresh) > 1 else " is"),
            )
        if output_loading_info:
            if adapter_file is not None or not loaded_own:
                info["missing_keys"] = {key for key in info["missing_keys"] if not _is_own(key)}
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
        temporary = folder / f".{ADAPTER_NAME}.tmp"
        tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in _adapter_tensors(backbone).items()}
        save_file(tensors, temporary, metadata={"format": "pt"})
        config.save_pretrained(folder)
        os.replace(temporary, folder / ADAPTER_NAME)


def _sound_config(name: Any, config: PreTrainedConfig | None, hub: dict[str, Any]) -> SoundLlavaConfig:
    if config is None:
        config = AutoConfig.from_pretrained(name, **hub)
    if config.model_type in ("llava", "llava_next"):
        config = SoundLlavaConfig.from_llava_config(config)
    if not isinstance(config, SoundLlavaConfig):
        raise ValueError(
            f"{str(name)!r} has model_type {config.model_type!r}: expected 'sound_llava', 'llava' or 'llava_next'."
        )
    config = copy.deepcopy(config)
    if config.base_model_name_or_path is None:
        stored = AutoConfig.from_pretrained(name, **hub)
        if stored.model_type in ("llava", "llava_next"):
            config.base_model_name_or_path = str(name)
            config.base_model_revision = getattr(stored, "_commit_hash", None) or hub.get("revision")
    return config


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


@contextmanager
def _quiet_loading_report() -> Any:
    # transformers' report calls the ears "newly initialized" even where they come next; we check and report ourselves.
    log = logging.getLogger("transformers.modeling_utils")

    def only_errors(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR

    log.addFilter(only_errors)
    try:
        yield
    finally:
        log.removeFilter(only_errors)


def _is_own(key: str) -> bool:
    return any(f"{part}." in key for part in _OWN_PARTS)


def _backbone(model: Any) -> Any:
    return model.model if hasattr(model, "model") else model


def _named(keys: Iterable[str]) -> str:
    keys = sorted(keys)
    return ", ".join(keys[:8]) + (f" and {len(keys) - 8} more" if len(keys) > 8 else "")


def _check_base_keys(model: nn.Module, info: dict[str, Any], source: str) -> bool:
    """Whether the checkpoint held our parts; raises where it held some of them, or lacks a base key."""
    own = {key for key in model.state_dict() if _is_own(key)}
    missing, unexpected = set(info["missing_keys"]), set(info["unexpected_keys"])
    mismatched = {entry[0] if isinstance(entry, tuple) else entry for entry in info["mismatched_keys"]}
    strange = {key for key in unexpected if _is_own(key)}
    loaded_own = not own <= missing
    if strange or mismatched & own or (loaded_own and missing):
        raise ValueError(
            f"The checkpoint {source!r} does not fit its SoundLlavaConfig. Missing in the checkpoint: "
            f"{_named(missing) or 'none'}. Unknown to the model: {_named(strange) or 'none'}. Other shape: "
            f"{_named(mismatched) or 'none'}."
        )
    lost = {key for key in missing if not _is_own(key)}
    if lost or unexpected:
        logger.warning(
            "Loading %s: newly initialised: %s; not used: %s.",
            source,
            _named(lost) or "none",
            _named(unexpected) or "none",
        )
    return loaded_own


def _settle_dtypes(model: Any) -> None:
    """Give ears that were not in the checkpoint the precision that loading would have given them."""
    backbone = _backbone(model)
    dtype = backbone.multi_modal_projector.linear_1.weight.dtype
    tower = backbone.audio_tower
    in_float32 = set(tower._keep_in_fp32_modules_strict or ())
    if dtype == torch.float16:
        in_float32 |= set(tower._keep_in_fp32_modules or ())
    with torch.no_grad():
        for name, tensor in [*tower.named_parameters(), *tower.named_buffers()]:
            if tensor.is_floating_point() and not tensor.is_meta:
                keep = any(part in name.split(".") or name.startswith(part) for part in in_float32)
                tensor.data = tensor.data.to(torch.float32 if keep else dtype)
        for parameter in backbone.audio_projection.parameters():
            if not parameter.is_meta:
                parameter.data = parameter.data.float()


def _load_encoder(model: Any, config: SoundLlavaConfig, hub: dict[str, Any]) -> None:
    tower = _backbone(model).audio_tower
    encoder = type(tower).from_pretrained(
        config.audio_encoder_name_or_path,
        revision=config.audio_encoder_revision,
        config=config.sound_config.audio_config,  # type: ignore[union-attr]
        dtype=tower.dtype,
        **hub,
    )
    if config.audio_encoder_revision is None:
        config.audio_encoder_revision = getattr(encoder.config, "_commit_hash", None)
        model.config.audio_encoder_revision = config.audio_encoder_revision
    _copy_into(tower, encoder.state_dict(), config.audio_encoder_name_or_path or "")


def _load_adapter(model: Any, file: str, name: str) -> None:
    try:
        tensors = load_file(file)
    except SafetensorError as error:
        raise ValueError(f"{file} is not a readable safetensors file: {error}") from error
    backbone = _backbone(model)
    expected = _adapter_tensors(backbone)
    missing, unexpected = expected.keys() - tensors.keys(), tensors.keys() - expected.keys()
    reshaped = [
        f"{key} {tuple(tensors[key].shape)} against {tuple(expected[key].shape)}"
        for key in sorted(expected.keys() & tensors.keys())
        if tensors[key].shape != expected[key].shape
    ]
    if missing or unexpected or reshaped:
        raise ValueError(
            f"The adapter {name!r} does not fit its config.json. Missing in {ADAPTER_NAME}: "
            f"{_named(missing) or 'none'}. Unknown to the model: {_named(unexpected) or 'none'}. Other shape "
            f"(file against model): {_named(reshaped) or 'none'}."
        )
    stored = model.config.vision_fingerprint
    if stored is not None:
        found = fingerprint(backbone.vision_tower, model.config.vision_feature_layer)
        different = differences(stored, found)
        if different:
            raise ValueError(
                f"The adapter {name!r} was made for another vision tower than that of "
                f"{model.config.base_model_name_or_path!r} (adapter against base): {'; '.join(different)}. Use the "
                "base that the adapter names, or align a new adapter for this tower."
            )
    for part in _OWN_PARTS:
        prefix = part + "."
        own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        if own:
            _copy_into(getattr(backbone, part), own, name)


def _adapter_tensors(backbone: Any) -> dict[str, torch.Tensor]:
    """What an adapter file of this model holds, by name."""
    parts = _OWN_PARTS if backbone.config.audio_encoder_name_or_path is None else ("audio_projection",)
    return {f"{part}.{key}": tensor for part in parts for key, tensor in getattr(backbone, part).state_dict().items()}


def _copy_into(module: nn.Module, tensors: dict[str, torch.Tensor], source: str) -> None:
    own = module.state_dict()
    if any(tensor.is_meta for tensor in own.values()):
        raise ValueError(
            f"{type(module).__name__} was offloaded by device_map, so {source!r} cannot be loaded into it: keep "
            "model.audio_tower and model.audio_projection on a device (they are a few hundred MB at most)."
        )
    with torch.no_grad():
        for key, value in tensors.items():
            own[key].copy_(value)


__all__ = ["ADAPTER_NAME", "NOT_QUANTIZED", "AdapterLoadingMixin"]
