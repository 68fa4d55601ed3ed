"""The parts of an adapter repository: its configuration, its file and its encoder read strictly into a model."""

import copy
import os
from collections.abc import Callable, Collection, Iterable
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig

from ..checkpoint_files import Shapes, checkpoint_files, read_shapes
from ..checkpoint_names import BUNDLED_NAMES, checkpoint_name, commit_of, one_commit
from ..configuration_soundclip import SoundLlavaConfig
from .adapter_file import read_adapter_file
from .fingerprint import differences, fingerprint
from .loading import LoadRequest, overridden
from .peft_layers import plain_names
from .sizes import Filling

ADAPTER_NAME = "soundclip_adapter.safetensors"
EARS = ("audio_tower", "audio_projection")


def sound_llava_config(request: LoadRequest, given: PreTrainedConfig | str | os.PathLike | None) -> SoundLlavaConfig:
    """
    The configuration that a call asks for: what the repository or the caller says, changed by the call's keywords.

    Raises:
        ValueError: If it is of another model type, or refuses a value.
    """
    config = request.read_config(given)
    if config.model_type in ("llava", "llava_next"):
        config = SoundLlavaConfig.from_llava_config(config)
    if not isinstance(config, SoundLlavaConfig):
        raise ValueError(
            f"{str(request.name)!r} has model_type {config.model_type!r}: expected 'sound_llava', 'llava' or "
            "'llava_next'."
        )
    base = request.take("base_model_name_or_path", "base_model_revision")
    # As in transformers: keywords change a configuration that was read, and not one that the caller made.
    own = {} if isinstance(given, PreTrainedConfig) else request.take_overrides(config)
    config = overridden(copy.deepcopy(config), own)
    if config.base_model_name_or_path is None:
        stored = request.read_config()
        if stored.model_type in ("llava", "llava_next"):
            config.base_model_name_or_path = str(request.name)
            config.base_model_revision = getattr(stored, "_commit_hash", None) or request.place.get("revision")
    for key, value in base.items():
        setattr(config, key, value)
    return config


def check_names_base(config: SoundLlavaConfig, name: str | os.PathLike) -> str:
    """The base of an adapter; an error if the adapter does not say."""
    if config.base_model_name_or_path is None:
        raise ValueError(
            f"The adapter {str(name)!r} does not say which LLaVA it belongs to: config.json has no "
            "base_model_name_or_path. Pass base_model_name_or_path=… to from_pretrained."
        )
    base = str(config.base_model_name_or_path)
    return str(checkpoint_name(base)[0]) if base in BUNDLED_NAMES else base


def is_of_ears(key: str) -> bool:
    return any(f"{part}." in key for part in EARS)


def named(keys: Iterable[str]) -> str:
    keys = sorted(keys)
    return ", ".join(keys[:8]) + (f" and {len(keys) - 8} more" if len(keys) > 8 else "")


def backbone_of(model: Any) -> Any:
    """The module that holds ears and vision tower: the model itself, or its `model`."""
    return model.model if hasattr(model, "model") else model


def settled_dtypes(backbone: Any, dtype: torch.dtype) -> Callable[[str], torch.dtype]:
    """The precision that loading in `dtype` gives a weight of the ears, by its name in `backbone`."""
    tower = backbone.audio_tower
    in_float32 = set(tower._keep_in_fp32_modules_strict or ())
    if dtype == torch.float16:
        in_float32 |= set(tower._keep_in_fp32_modules or ())

    def settled(key: str) -> torch.dtype:
        part, _, name = key.partition(".")
        keep = part == "audio_projection" or any(
            module in name.split(".") or name.startswith(module) for module in in_float32
        )
        return torch.float32 if keep else dtype

    return settled


def settle_dtypes(backbone: Any, dtype: torch.dtype) -> None:
    """Give ears that were not in the checkpoint the precision that loading in `dtype` would have given them."""
    settled = settled_dtypes(backbone, dtype)
    with torch.no_grad():
        for part in EARS:
            # Buffers that no checkpoint has, such as rotary frequencies, are built in the precision that they need.
            stored = getattr(backbone, part).state_dict(prefix=f"{part}.", keep_vars=True)
            for key, tensor in stored.items():
                wanted = settled(key)
                if tensor.is_floating_point() and not tensor.is_meta and tensor.dtype != wanted:
                    tensor.data = tensor.data.to(wanted)


def pin_parts(config: SoundLlavaConfig, base: str | None, hub: dict[str, Any]) -> None:
    """Make the revisions of a configuration's base (None: it is not read) and encoder one commit each."""
    if base is not None:
        config.base_model_revision = one_commit(base, config.base_model_revision, hub)
    if config.audio_encoder_name_or_path is not None:
        encoder = config.audio_encoder_name_or_path
        config.audio_encoder_revision = one_commit(encoder, config.audio_encoder_revision, hub)


def load_encoder(tower: Any, config: SoundLlavaConfig, hub: dict[str, Any]) -> str | None:
    """Fill `tower` from the encoder's own repository; returns the revision that was read, where it is known."""
    encoder = type(tower).from_pretrained(
        config.audio_encoder_name_or_path,
        revision=config.audio_encoder_revision,
        config=config.sound_config.audio_config,
        dtype=tower.dtype,
        **hub,
    )
    copy_into(tower, encoder.state_dict(), config.audio_encoder_name_or_path or "")
    return commit_of(config.audio_encoder_revision)


def ears_of_encoder(config: SoundLlavaConfig, hub: dict[str, Any]) -> Filling:
    """What the encoder's own repository fills."""
    name = str(config.audio_encoder_name_or_path)
    shapes: Shapes = {}
    places: dict[str, str] = {}
    for file in checkpoint_files(name, revision=config.audio_encoder_revision or "main", **hub):
        found = read_shapes([file])
        shapes |= found
        places |= dict.fromkeys(found, file)
    return Filling(name, shapes, lambda key: "audio_tower." in key, places)


def ears_of_adapter(config: SoundLlavaConfig, file: str, name: str) -> Filling:
    """What an adapter's file fills."""
    parts = EARS if config.audio_encoder_name_or_path is None else ("audio_projection",)
    shapes = read_shapes([file])
    return Filling(name, shapes, lambda key: any(f"{part}." in key for part in parts), dict.fromkeys(shapes, file))


def load_adapter(backbone: Any, config: SoundLlavaConfig, file: str, name: str, filled: Collection[str] = ()) -> None:
    """
    Check an adapter, and fill `backbone.audio_projection`, and `backbone.audio_tower` where the adapter holds it.

    Args:
        backbone: Has these two, and the `vision_tower` that the adapter must have been made for.
        config: The adapter's.
        file: Its `soundclip_adapter.safetensors`.
        name: How messages call it.
        filled: The keys of the file that `backbone` has already.

    Raises:
        ValueError: If the file was damaged or holds NaN or Inf, if a key is missing, unexpected or of another shape, or
            the adapter is of another vision tower.
    """
    tensors = read_adapter_file(file)
    expected = adapter_tensors(backbone, config)
    missing, unexpected = expected.keys() - tensors.keys(), tensors.keys() - expected.keys()
    reshaped = [
        f"{key} {tuple(tensors[key].shape)} against {tuple(expected[key].shape)}"
        for key in sorted(expected.keys() & tensors.keys())
        if tensors[key].shape != expected[key].shape
    ]
    if missing or unexpected or reshaped:
        raise ValueError(
            f"The adapter {name!r} does not fit its config.json. Missing in {ADAPTER_NAME}: "
            f"{named(missing) or 'none'}. Unknown to the model: {named(unexpected) or 'none'}. Other shape "
            f"(file against model): {named(reshaped) or 'none'}."
        )
    if config.vision_fingerprint is not None:
        found = fingerprint(backbone.vision_tower, config.vision_feature_layer)
        different = differences(config.vision_fingerprint, found)
        if different:
            raise ValueError(
                f"The adapter {name!r} was made for another vision tower than that of "
                f"{config.base_model_name_or_path!r} (adapter against base): {'; '.join(different)}. Use the "
                "base that the adapter names, or align a new adapter for this tower."
            )
    for part in EARS:
        prefix = part + "."
        own = {key: value for key, value in tensors.items() if key.startswith(prefix) and key not in filled}
        own = {key.removeprefix(prefix): value for key, value in own.items()}
        if own:
            copy_into(getattr(backbone, part), own, name)


def copy_into(module: nn.Module, tensors: dict[str, torch.Tensor], source: str) -> None:
    own = module.state_dict()
    if any(tensor.is_meta for tensor in own.values()):
        raise ValueError(
            f"{type(module).__name__} was offloaded by device_map, so {source!r} cannot be loaded into it: keep "
            "model.audio_tower and model.audio_projection on a device (they are a few hundred MB at most)."
        )
    with torch.no_grad():
        for key, value in tensors.items():
            own[key].copy_(value)


def adapter_names(backbone: Any, config: SoundLlavaConfig) -> dict[str, str]:
    """
    What an adapter file of this model holds: what its encoder's own repository does not.

    Returns:
        Name in the file -> name in `backbone`, which is another one where PEFT has put its layers around the weight.
    """
    tower = plain_names(backbone.audio_tower)
    if config.audio_encoder_name_or_path is not None:
        # Weights that the original encoder never had, such as those of a learned layer fusion.
        own = backbone.audio_tower._may_be_fresh
        tower = {key: name for key, name in tower.items() if key.rpartition(".")[2] in own}
    parts = {"audio_tower": tower, "audio_projection": plain_names(backbone.audio_projection)}
    return {f"{part}.{key}": f"{part}.{name}" for part, names in parts.items() for key, name in names.items()}


def adapter_tensors(backbone: Any, config: SoundLlavaConfig) -> dict[str, torch.Tensor]:
    """The tensors of [`adapter_names`], by their names in the file."""
    ears = {f"{part}.{key}": tensor for part in EARS for key, tensor in getattr(backbone, part).state_dict().items()}
    return {key: ears[name] for key, name in adapter_names(backbone, config).items()}


__all__ = [
    "ADAPTER_NAME",
    "EARS",
    "adapter_names",
    "adapter_tensors",
    "backbone_of",
    "check_names_base",
    "copy_into",
    "ears_of_adapter",
    "ears_of_encoder",
    "is_of_ears",
    "load_adapter",
    "load_encoder",
    "named",
    "pin_parts",
    "settle_dtypes",
    "settled_dtypes",
    "sound_llava_config",
]
