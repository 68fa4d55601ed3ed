"""Reads a sound adapter for a model that is loaded, and refuses one that does not fit, before the model is touched."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import AutoModel
from transformers.utils import extract_commit_hash

from ..checkpoint_files import build_on_meta, read_shapes
from ..checkpoints.adapter_parts import (
    ADAPTER_NAME,
    ears_of_adapter,
    load_adapter,
    settle_dtypes,
    sound_llava_config,
)
from ..checkpoints.encoder import load_audio_encoder
from ..checkpoints.fingerprint import differences, fingerprint
from ..checkpoints.loading import LoadRequest
from ..checkpoints.sizes import check_sizes
from ..configuration_soundclip import SoundClipConfig, SoundLlavaConfig
from ..projector import AlignmentProjector
from .adapter_set import ADAPTER_FIELDS, Placement, SoundAdapter
from .encoder_identity import (
    EncoderOrigin,
    KnownEncoder,
    find_origin,
    is_frozen,
    same_architecture,
    same_weights,
)

# Known encoder, its configuration and module, of each adapter that is loaded.
LoadedEncoders = Sequence[tuple[KnownEncoder | None, Any, Any]]


class _Projection(nn.Module):
    """What an adapter's file fills if its encoder has a repository of its own."""

    def __init__(self, config: SoundClipConfig) -> None:
        super().__init__()
        self.audio_projection = AlignmentProjector(config)


class _ProjectionAndTower(_Projection):
    """What an adapter's file fills if it has the encoder, too."""

    def __init__(self, config: SoundClipConfig) -> None:
        super().__init__(config)
        self.audio_tower = AutoModel.from_config(config.audio_config)


def read_sound_adapter(base: Any, name: str, request: LoadRequest, loaded: LoadedEncoders) -> SoundAdapter:
    """
    Read an adapter onto the place of a model's sound parts; the model itself stays as it is.

    Args:
        base: The `SoundLlavaModel`.
        name: Of the adapter in the model.
        request: Repository or folder, and how its files are fetched.
        loaded: Encoders that it may share.

    Returns:
        The adapter, its encoder frozen; the encoder is one of `loaded` if it is the same.

    Raises:
        OSError: If a repository or a file of it cannot be found.
        ValueError: If `request` names no adapter, or one that does not fit its configuration or this model.
    """
    source = str(request.name)
    config = sound_llava_config(request, None)
    file = request.find(ADAPTER_NAME)
    if file is None:
        raise ValueError(
            f"{source!r} has no {ADAPTER_NAME}, so it is no sound adapter: it is loaded by from_pretrained, and "
            "save_pretrained(…, adapter_only=True) of the loaded model makes an adapter of it."
        )
    if config.has_peft_adapter:
        raise ValueError(
            f"The adapter {source!r} comes with a PEFT adapter (LoRA), which changes the language model for all sound "
            "adapters: load it with from_pretrained, as a model of its own."
        )
    _check_base(config, base, source)
    config.sound_config.dtype = base.dtype  # as from_pretrained sets it
    fields = {key: getattr(config, key) for key in ADAPTER_FIELDS}
    config.vision_fingerprint = None  # compared above
    audio_config = config.sound_config.audio_config
    has_own_encoder = config.audio_encoder_name_or_path is None
    described = _ProjectionAndTower if has_own_encoder else _Projection
    check_sizes(described, config.sound_config, source, [ears_of_adapter(config, file, source)])
    carries_weights_of_encoder = any(key.startswith("audio_tower.") for key in read_shapes([file]))
    origin = tower = None
    if not has_own_encoder:
        origin = find_origin(str(config.audio_encoder_name_or_path), config.audio_encoder_revision, request.hub)
        fields["audio_encoder_revision"] = config.audio_encoder_revision or (origin and origin.commit)
        config.audio_encoder_revision = (origin and origin.commit) or config.audio_encoder_revision
    if not carries_weights_of_encoder:
        tower = _of_origin(origin, audio_config, loaded)
    is_shared = tower is not None

    adapter = SoundAdapter(name, source, extract_commit_hash(file, None), fields=fields, placement=Placement.of(base))
    # Every value comes from the file, which load_adapter makes sure of.
    adapter.audio_projection = build_on_meta(AlignmentProjector, config.sound_config, source).to_empty(device="cpu")
    adapter.audio_tower = tower if is_shared else _new_tower(base, config, request)
    if has_own_encoder:
        settle_dtypes(adapter, base.dtype)
    load_adapter(adapter, config, file, source)
    if not is_shared:
        adapter.audio_tower = _same_one(adapter.audio_tower.requires_grad_(False).eval(), audio_config, loaded)
    if not carries_weights_of_encoder:
        adapter.encoder = KnownEncoder.of(adapter.audio_tower, origin)
    trained = {key: parameter.requires_grad for key, parameter in base.audio_projection.named_parameters()}
    for key, parameter in adapter.audio_projection.named_parameters():
        parameter.requires_grad_(trained[key])
    device = adapter.placement.device
    adapter.audio_projection.to(device).train(base.training)
    if all(adapter.audio_tower is not other for _, _, other in loaded):
        adapter.audio_tower.to(device)
    return adapter


def _check_base(config: SoundLlavaConfig, base: Any, source: str) -> None:
    """
    Raises:
        ValueError: If the model shows its pictures in another way than the adapter was made for.
    """
    found: SoundLlavaConfig = base.config
    for name in ("vision_feature_layer", "vision_feature_select_strategy"):
        wanted, own = getattr(config, name), getattr(found, name)
        if wanted != own:
            raise ValueError(
                f"The adapter {source!r} was made for {name}={wanted!r}, this model was loaded with {own!r}, for all "
                "its adapters: load the adapter with from_pretrained, as a model of its own."
            )
    width = config.sound_config.vision_hidden_size
    said = [f"tokens of width {width} against {found.vision_width}"] if width != found.vision_width else []
    if not said and config.vision_fingerprint is not None:
        said = differences(config.vision_fingerprint, fingerprint(base.vision_tower, found.vision_feature_layer))
    if said:
        raise ValueError(
            f"The adapter {source!r} was made for another vision tower than that of the loaded model (adapter against "
            f"model): {'; '.join(said)}. Load it with from_pretrained, on the base that it names "
            f"({config.base_model_name_or_path!r}), or align a new adapter for this tower."
        )


def _new_tower(base: Any, config: SoundLlavaConfig, request: LoadRequest) -> Any:
    audio_config = copy.deepcopy(config.sound_config.audio_config)
    options: dict[str, Any] = {}
    if base.config._attn_implementation not in (None, "sdpa"):  # sdpa is the default of encoders that have it
        options["attn_implementation"] = base.config._attn_implementation
    encoder = config.audio_encoder_name_or_path
    if encoder is None:
        return AutoModel.from_config(audio_config, dtype=torch.get_default_dtype(), **options)
    revision = config.audio_encoder_revision
    return load_audio_encoder(encoder, audio_config, revision=revision, dtype=base.dtype, **request.hub, **options)


def _of_origin(origin: EncoderOrigin | None, config: Any, loaded: LoadedEncoders) -> Any:
    """An encoder that was read from there and is as it was then, or None."""
    for known, own, tower in loaded:
        if known is None or known.origin != origin or not is_frozen(tower):
            continue
        if same_architecture(own, config) and known.is_still(tower):
            return tower
    return None


def _same_one(tower: Any, config: Any, loaded: LoadedEncoders) -> Any:
    """An encoder that is equal to `tower`, or else `tower`."""
    for _, own, other in loaded:
        if is_frozen(other) and same_architecture(own, config) and same_weights(tower, other):
            return other
    return tower


__all__ = ["LoadedEncoders", "read_sound_adapter"]
