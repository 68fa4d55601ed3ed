"""Puts the tensors of ears into a model while transformers loads its base, so that they are built and read once."""

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

from safetensors import safe_open
from torch import Tensor, nn

from ..finite import check_finite
from .adapter_parts import backbone_of, settled_dtypes
from .sizes import Filling


class EarsFilling:
    """
    Fills `audio_tower` from an encoder's repository, and both ears from an adapter.

    Only what needs no second look is filled: files whose names and shapes are those of the model. Whatever else there
    is stays missing here, and is loaded, or refused, by `load_encoder` and `load_adapter` afterwards.

    Args:
        encoder: The files of the encoder, where the model has one with a repository of its own.
        adapter: The file of the adapter; without one, the base's own ears are preferred to the encoder's.

    Attributes:
        own: The names of the ears' tensors in the model.
        filled: Those that were filled.
        has_encoder: Whether the encoder's files were read completely.
    """

    def __init__(self, encoder: Filling | None, adapter: Filling | None) -> None:
        self.encoder, self.adapter = encoder, adapter
        self.own: set[str] = set()
        self.filled: set[str] = set()
        self.has_encoder = False

    def __call__(self, model: nn.Module, missing: set[str], device_map: Mapping[str, Any] | None) -> None:
        """The `fill` of [`LoadingSteps`]."""
        backbone = backbone_of(model)
        prefix = "" if backbone is model else "model."
        tower = backbone.audio_tower.state_dict(keep_vars=True)
        own = {f"audio_tower.{key}": tensor for key, tensor in tower.items()}
        own |= backbone.audio_projection.state_dict(prefix="audio_projection.", keep_vars=True)
        self.own = {prefix + key for key in own}
        places: dict[str, tuple[str, str]] = {}
        encoder = None
        if self.encoder is not None and (self.adapter is not None or self.own <= missing):
            encoder = _encoder_places(backbone.audio_tower, tower, self.encoder)
            places |= {f"audio_tower.{key}": place for key, place in (encoder or {}).items()}
        if self.adapter is not None:
            places |= {key: (file, key) for key, file in self.adapter.places.items() if key in own}
        settled = settled_dtypes(backbone, backbone.dtype)
        devices = {key: _device(device_map, prefix + key) for key in places}
        for key, tensor in _read({key: place for key, place in places.items() if devices[key] is not None}):
            now = own[key]
            if prefix + key not in missing or not _is_empty(now) or now.shape != tensor.shape:
                continue
            dtype = settled(key) if now.is_floating_point() else now.dtype
            _put(backbone, key, tensor.to(devices[key], dtype), now)
            missing.discard(prefix + key)
            self.filled.add(prefix + key)
        self.has_encoder = encoder is not None and all(f"{prefix}audio_tower.{key}" in self.filled for key in encoder)
        if all(f"{prefix}audio_tower.{key}" in self.filled for key in tower):
            _mark_initialized(backbone.audio_tower, tower.keys())


def _encoder_places(tower: Any, tensors: Mapping[str, Tensor], encoder: Filling) -> dict[str, tuple[str, str]] | None:
    """Where each tensor of a tower is, as (file, name there); None if the files hold something else, too, or less."""
    if getattr(tower.config, "quantization_config", None) is not None:
        return None
    found: dict[str, tuple[str, str]] = {}
    for stored, file in encoder.places.items():
        key = stored if stored in tensors else stored.removeprefix(f"{tower.base_model_prefix}.")
        if key in tensors:
            if key in found or encoder.shapes[stored] != tuple(tensors[key].shape):
                return None
            found[key] = (file, stored)
        elif not any(re.search(pattern, stored) for pattern in tower._keys_to_ignore_on_load_unexpected or ()):
            return None
    fresh = {key for key in tensors if key.rpartition(".")[2] in tower._may_be_fresh}
    return found if tensors.keys() - fresh <= found.keys() else None


def _is_empty(tensor: Tensor) -> bool:
    """Whether this is a plain weight without memory: no quantized one, no piece of one."""
    return tensor.is_meta and type(tensor) in (Tensor, nn.Parameter)


def _put(backbone: nn.Module, key: str, tensor: Tensor, now: Tensor) -> None:
    module_name, _, name = key.rpartition(".")
    if isinstance(now, nn.Parameter):
        tensor = nn.Parameter(tensor, requires_grad=now.requires_grad)
    tensor._is_hf_initialized = True  # type: ignore[attr-defined]  # as transformers marks what it has loaded
    setattr(backbone.get_submodule(module_name), name, tensor)


def _read(places: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    with ExitStack() as stack:
        files: dict[str, Any] = {}
        for key, (path, stored) in places.items():
            if path not in files:
                files[path] = stack.enter_context(safe_open(path, framework="pt"))
            tensor = files[path].get_tensor(stored)
            check_finite({stored: tensor}, path)
            yield key, tensor


def _device(device_map: Mapping[str, Any] | None, key: str) -> Any:
    """Where a device map puts a weight; None where that is on the disk."""
    if device_map is None:
        return "cpu"
    places = [place for place in device_map if place == "" or key == place or key.startswith(f"{place}.")]
    device = device_map[max(places, key=len)] if places else "cpu"
    return None if device == "disk" else device


def _mark_initialized(tower: nn.Module, filled: Collection[str]) -> None:
    # Where every tensor was filled, transformers would compute starting values, Whisper's sinusoids, for nothing.
    if all(name in filled for name, _ in tower.named_buffers()):
        for module in tower.modules():
            module._is_hf_initialized = True  # type: ignore[assignment]


__all__ = ["EarsFilling"]
