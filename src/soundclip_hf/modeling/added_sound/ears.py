"""Ears for a loaded LLaVA: an audio encoder and its alignment, read from whatever holds them."""

import copy
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoProcessor

from ..audio_encoders.float32_module import Float32Module
from ..audio_encoders.modeling_base import AudioEncoderPreTrainedModel
from ..checkpoint_json import checked_settings
from ..checkpoint_names import checkpoint_name, one_commit
from ..checkpoints.adapter_parts import (
    ADAPTER_NAME,
    ears_of_adapter,
    ears_of_encoder,
    load_adapter,
    load_encoder,
    pin_parts,
    settle_dtypes,
)
from ..checkpoints.encoder import audio_encoder_config, load_audio_encoder, load_extractor
from ..checkpoints.fingerprint import differences, fingerprint
from ..checkpoints.loading import LoadRequest
from ..checkpoints.sizes import check_sizes
from ..configuration_soundclip import Alignment, SoundClipConfig, SoundLlavaConfig
from ..modeling_soundclip import SoundClipModel
from ..projector import AlignmentProjector

logger = logging.getLogger("transformers.soundclip_hf.added_sound")


class AddedProjector(Float32Module, AlignmentProjector):
    """An [`AlignmentProjector`] that stays in float32 when the model that it was added to is cast."""


class RawProjector(AddedProjector):
    """An alignment without weights: a sound is only padded or cut to the width of the vision tower's tokens."""

    def __init__(self, config: SoundClipConfig) -> None:
        super().__init__(config)
        for name in ("fc1", "norm1", "fc2", "norm2", "fc3"):
            delattr(self, name)

    def project(self, z_a: Tensor) -> Tensor:
        raise ValueError(
            "The sound was added with alignment='raw' and has no projector. Add an adapter that was trained for this "
            "vision tower with alignment='projected'."
        )


class Ears(nn.Module):
    """
    An audio encoder and its alignment, frozen and in eval mode.

    Args:
        config: Its `vision_hidden_size` is the width of the vision tower's tokens.
        name: How messages call the ears.
        feature_extractor: Of the audio encoder.
        audio_tower: The encoder; built with random weights by default.

    Attributes:
        feature_extractor: Of the encoder.
        of_head: Whether they were added to a model with a language modeling head, whose base model has them.
    """

    def __init__(self, config: SoundClipConfig, name: str = "", audio_tower: nn.Module | None = None) -> None:
        super().__init__()
        self.config = config
        self.name = name
        self.feature_extractor: Any = None
        self.of_head = False
        self.audio_tower: Any = AutoModel.from_config(config.audio_config) if audio_tower is None else audio_tower
        self.audio_projection = (RawProjector if config.alignment == "raw" else AddedProjector)(config)
        self.requires_grad_(False)
        self.eval()


@dataclass
class VisionTower:
    """
    The vision tower that ears are fitted to.

    Attributes:
        module: The tower.
        feature_layer: The hidden state(s) that the model consumes.
        width: Of its tokens.
        model: How messages call the model.
        dtype, device: Of the model.
        quantized: Whether its weights are packed, so that they cannot be compared.
    """

    module: nn.Module
    feature_layer: int | list[int]
    width: int
    model: str
    dtype: torch.dtype
    device: torch.device
    quantized: bool = False


def open_ears(
    sound: Any,
    tower: VisionTower,
    alignment: Alignment | None = None,
    feature_extractor: Any = None,
    revision: str | None = None,
    hub: Mapping[str, Any] | None = None,
) -> Ears:
    """
    Ears that fit a vision tower.

    Args:
        sound: Repository or folder of a SoundClip, a SoundLlava (an adapter or whole) or an audio encoder; a loaded
            [`SoundClipModel`] or audio encoder, which is copied.
        tower: What the ears are to fit.
        alignment: "projected" or "raw"; by default that of `sound`, and "raw" for an audio encoder.
        feature_extractor: By default that of `sound`.
        revision: Of the repository.
        hub: `token`, `cache_dir`, … of `from_pretrained`.

    Raises:
        OSError: If a repository or a file of it cannot be found.
        ValueError: If `sound` holds no ears, has no projector, was aligned to another vision tower, or does not say
            which feature extractor it has.
        TypeError: If `sound` is an object of another kind.
    """
    if alignment not in (None, "projected", "raw"):
        raise ValueError(f'alignment={alignment!r}: must be "projected" or "raw".')
    hub = dict(hub or {})
    if isinstance(sound, (str, os.PathLike)):
        sound, revision = checkpoint_name(sound, revision, "sound_revision")
        revision = one_commit(sound, revision, hub)
    if isinstance(sound, SoundClipModel):
        ears = _of_soundclip(sound, tower, alignment, sound.name_or_path or "the loaded SoundClipModel")
    elif isinstance(sound, AudioEncoderPreTrainedModel):
        ears = _of_encoder(copy.deepcopy(sound), tower, alignment, sound.name_or_path or f"the {type(sound).__name__}")
    elif isinstance(sound, (str, os.PathLike)):
        ears = _of_repository(str(sound), tower, alignment, revision, hub)
    else:
        raise TypeError(
            f"sound is a {type(sound).__name__}: give the repository or folder of a SoundClip, an adapter or an audio "
            "encoder, or a loaded SoundClipModel."
        )
    settle_dtypes(ears, tower.dtype)
    ears.to(tower.device)
    ears.feature_extractor = feature_extractor or _extractor(sound, ears, revision, hub)
    return ears


def _of_repository(
    name: str, tower: VisionTower, alignment: Alignment | None, revision: str | None, hub: dict[str, Any]
) -> Ears:
    place = {} if revision is None else {"revision": revision}
    with checked_settings(name, {**place, **hub}):
        config: Any = AutoConfig.from_pretrained(name, **place, **hub)
    if isinstance(config, SoundLlavaConfig):
        adapter = LoadRequest(name, hub, place, {}).find(ADAPTER_NAME)
        if adapter is not None:
            return _of_adapter(name, config, adapter, tower, alignment, hub)
    if isinstance(config, (SoundLlavaConfig, SoundClipConfig)):
        return _of_soundclip(SoundClipModel.from_pretrained(name, **place, **hub), tower, alignment, name, copied=False)
    config = audio_encoder_config(name, revision, **hub)
    return _of_encoder(load_audio_encoder(name, config, revision=revision, **hub), tower, alignment, name)


def _of_encoder(encoder: Any, tower: VisionTower, alignment: Alignment | None, name: str) -> Ears:
    if alignment == "projected":
        raise ValueError(
            f"{name} is an audio encoder without a projector: pass alignment='raw', or the adapter that "
            "`soundclip align` makes of it."
        )
    return Ears(_fitted(SoundClipConfig(audio_config=encoder.config), tower, "raw"), name, encoder)


def _of_soundclip(
    model: SoundClipModel, tower: VisionTower, alignment: Alignment | None, name: str, copied: bool = True
) -> Ears:
    alignment = alignment or model.config.alignment
    audio_tower = copy.deepcopy(model.audio_tower) if copied else model.audio_tower
    if alignment == "projected":
        _check_tower(fingerprint(model.vision_tower, model.config.vision_feature_layer), tower, name)
    ears = Ears(_fitted(model.config, tower, alignment, name), name, audio_tower)
    if alignment == "projected":
        ears.audio_projection.load_state_dict(model.audio_projection.state_dict())
    return ears


def _of_adapter(
    name: str,
    config: SoundLlavaConfig,
    file: str,
    tower: VisionTower,
    alignment: Alignment | None,
    hub: dict[str, Any],
) -> Ears:
    sound_config: Any = config.sound_config
    alignment = alignment or sound_config.alignment
    if alignment == "projected" and config.vision_fingerprint is not None:
        _check_tower(config.vision_fingerprint, tower, f"{name} (for {config.base_model_name_or_path})")
    config = copy.deepcopy(config)
    config.vision_fingerprint = None  # compared above
    pin_parts(config, None, hub)
    fillings = [ears_of_adapter(config, file, name)]
    if config.audio_encoder_name_or_path is not None:
        fillings.append(ears_of_encoder(config, hub))
    check_sizes(Ears, sound_config, name, fillings)
    # The adapter's file is checked as a whole, also where its projector is not used.
    whole = _fitted(sound_config, None, "projected")
    stored = Ears(whole, name)
    settle_dtypes(stored, tower.dtype)
    if config.audio_encoder_name_or_path is not None:
        load_encoder(stored.audio_tower, config, hub)
    load_adapter(stored, config, file, name)
    ears = Ears(_fitted(sound_config, tower, alignment, name), name, stored.audio_tower)
    if alignment == "projected":
        ears.audio_projection = stored.audio_projection
    return ears


def _fitted(
    config: SoundClipConfig, tower: VisionTower | None, alignment: Alignment, name: str = ""
) -> SoundClipConfig:
    """A copy of a configuration for a tower, with this alignment."""
    fitted: Any = copy.deepcopy(config)
    fitted.alignment = alignment
    fitted.vision_config = None
    if tower is None:
        return fitted
    if alignment == "projected" and fitted.vision_hidden_size != tower.width:
        raise ValueError(
            f"{name} was aligned to tokens of width {fitted.vision_hidden_size}, those of {tower.model} are "
            f"{tower.width} wide. {_WAY_OUT}"
        )
    fitted.vision_hidden_size = tower.width
    fitted.vision_feature_layer = tower.feature_layer
    return fitted


_WAY_OUT = "Pass alignment='raw', or run `soundclip align` for this vision tower."


def _check_tower(expected: dict[str, Any], tower: VisionTower, name: str) -> None:
    found = fingerprint(tower.module, tower.feature_layer)
    if tower.quantized:
        logger.warning(
            "%s is quantized: whether %s was aligned to its vision tower is checked by the tower's geometry alone.",
            tower.model,
            name,
        )
        found["values"] = expected["values"]
    different = differences(expected, found)
    if different:
        raise ValueError(
            f"{name} was aligned to another vision tower than that of {tower.model} (aligned against loaded): "
            f"{'; '.join(different)}. {_WAY_OUT}"
        )


def _extractor(sound: Any, ears: Ears, revision: str | None, hub: dict[str, Any]) -> Any:
    name = getattr(sound, "name_or_path", sound)
    revision = revision or getattr(getattr(sound, "config", None), "_commit_hash", None)
    if not name:
        raise ValueError(
            f"{ears.name} was not loaded from a repository or folder, so its feature extractor is not known: pass "
            "feature_extractor=…."
        )
    place = {} if revision is None else {"revision": revision}
    config: Any = AutoConfig.from_pretrained(name, **place, **hub)
    if isinstance(config, (SoundLlavaConfig, SoundClipConfig)):
        processor: Any = AutoProcessor.from_pretrained(name, **place, **hub)
        return processor.feature_extractor
    return load_extractor(name, ears.config.audio_config, revision)


__all__ = ["Ears", "VisionTower", "open_ears"]
