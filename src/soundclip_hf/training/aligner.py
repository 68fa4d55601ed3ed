"""Builds the dual encoder of a LLaVA and an audio encoder with a new projector, and saves the adapter."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedConfig

from ..modeling.audio_encoders.whisperclip.configuration_whisperclip import WhisperClipConfig
from ..modeling.checkpoint_names import bundled_name
from ..modeling.checkpoints.dual_encoder import dual_encoder_config
from ..modeling.checkpoints.encoder import (
    NotAnAudioEncoderError,
    audio_encoder_config,
    load_audio_encoder,
    load_extractor,
)
from ..modeling.checkpoints.fingerprint import fingerprint
from ..modeling.checkpoints.loading import quiet_loading_report
from ..modeling.checkpoints.partial_checkpoint import read_modules
from ..modeling.configuration_soundclip import SoundClipConfig, SoundLlavaConfig
from ..modeling.modeling_soundclip import SoundClipModel
from ..modeling.modeling_soundllava import SoundLlavaForConditionalGeneration
from ..modeling.processing_soundclip import SoundClipProcessor
from ..modeling.processing_soundllava import SoundLlavaProcessor
from ..modeling.projector import AlignmentProjector
from .arguments import AlignmentArguments, ArgumentsError
from .embedding_cache import encoder_key, part_settings


@dataclass
class Aligner:
    """
    The model that alignment trains, and the parts that the adapter is made of.

    Attributes:
        model: Frozen towers and the projector to be trained.
        config: Of the SoundLlava that the base model and the adapter give together.
        processor: Of that SoundLlava.
    """

    model: SoundClipModel
    config: SoundLlavaConfig
    processor: SoundLlavaProcessor

    @property
    def pair_processor(self) -> SoundClipProcessor:
        """Sounds and pictures to the tensors of `model`."""
        return SoundClipProcessor(self.processor.image_processor, self.processor.feature_extractor)

    def describe(self) -> dict[str, Any]:
        """Everything about the towers and their preprocessing that changes an embedding; the key of a cache."""
        return {
            **encoder_key(self.config, self.model.audio_tower, self.processor.feature_extractor),
            "vision": fingerprint(self.model.vision_tower, self.model.config.vision_feature_layer),
            "image_processor": part_settings(self.pair_processor.image_processor),
            "dtype": str(self.model.dtype),
        }

    def save(self, folder: str | Path) -> None:
        """Write the adapter and its processor; `SoundLlava` and `SoundClipModel` load them strictly."""
        sound = self.config.sound_config
        if self.model.config.learnable_temperature:
            sound.temperature = float(torch.exp(-self.model.logit_scale.detach()))
        # Only the configuration and the audio parts of this model are saved; its language model needs no memory.
        with torch.device("meta"):
            whole = SoundLlavaForConditionalGeneration(self.config)
        for part in ("audio_tower", "audio_projection", "vision_tower"):
            setattr(whole.model, part, getattr(self.model, part))
        whole.save_pretrained(folder, adapter_only=True)
        self.processor.save_pretrained(folder)


def load_aligner(arguments: AlignmentArguments) -> Aligner:
    """
    Load the towers and build a projector, whose weights depend only on torch's random state.

    Raises:
        ArgumentsError: If the base model or the encoder cannot be found, or they do not fit together.
    """
    base = _config(str(arguments.base_model), arguments.base_model_revision, "base_model")
    if base.model_type in ("llava", "llava_next"):
        return _from_llava(arguments, base)
    if not isinstance(base, SoundLlavaConfig):
        raise ArgumentsError(
            f"base_model {arguments.base_model}: is a {base.model_type!r} model; give a LLaVA-1.5 or 1.6, a SoundLlava "
            "or an adapter"
        )
    if arguments.audio_encoder is not None:
        raise ArgumentsError(
            f"audio_encoder={arguments.audio_encoder!r}: {arguments.base_model} has its own audio encoder; leave it "
            "out, or give the LLaVA that this adapter was made for as base_model"
        )
    return _from_sound_llava(arguments, base)


def _from_llava(arguments: AlignmentArguments, base: PreTrainedConfig) -> Aligner:
    name, encoder_name = str(arguments.base_model), arguments.audio_encoder
    if encoder_name is None:
        raise ArgumentsError(
            f"audio_encoder is missing: {name} is a LLaVA without an audio encoder; give --audio_encoder"
        )
    audio = _config(encoder_name, arguments.audio_encoder_revision, "audio_encoder", audio_encoder_config)
    audio = _with_fields(audio, arguments)
    config = SoundLlavaConfig.from_llava_config(
        base,
        {
            "audio_config": audio.to_dict(),
            "projector_hidden_size": arguments.projector_hidden_size or 1024,
            **_alignment_fields(arguments),
        },
        base_model_name_or_path=name,
        base_model_revision=getattr(base, "_commit_hash", None) or arguments.base_model_revision,
        audio_encoder_name_or_path=encoder_name,
    )
    dtype = getattr(torch, arguments.tower_dtype)
    encoder = load_audio_encoder(
        encoder_name, config.sound_config.audio_config, revision=arguments.audio_encoder_revision, dtype=dtype
    )
    config.audio_encoder_revision = getattr(encoder.config, "_commit_hash", None) or arguments.audio_encoder_revision
    model = _with_tower(dual_encoder_config(config), name, arguments.base_model_revision, dtype)
    model.audio_tower = encoder
    model.freeze_base_model()
    audio = config.sound_config.audio_config
    extractor = load_extractor(encoder_name, audio, arguments.audio_encoder_revision)
    if isinstance(audio, WhisperClipConfig):
        # from_pretrained ignores arguments that are not in the file of a stock Whisper.
        extractor.window = audio.window
    processor = SoundLlavaProcessor.from_llava(
        name, extractor, sound_config=config.sound_config, revision=arguments.base_model_revision
    )
    return _ready(Aligner(model, config, processor))


def _from_sound_llava(arguments: AlignmentArguments, base: SoundLlavaConfig) -> Aligner:
    name, revision = str(arguments.base_model), arguments.base_model_revision
    dtype = getattr(torch, arguments.tower_dtype)
    where: dict[str, Any] = {} if revision is None else {"revision": revision}
    model = SoundClipModel.from_pretrained(name, dtype=dtype, **where)
    config = base
    if config.base_model_name_or_path is None:
        config.base_model_name_or_path = bundled_name(name)
        config.base_model_revision = getattr(base, "_commit_hash", None) or revision
    fields = _alignment_fields(arguments)
    fields["projector_hidden_size"] = arguments.projector_hidden_size or config.sound_config.projector_hidden_size
    given = [
        field
        for field in ("layer_fusion", "layer_fusion_n", "time_pooling", "window")
        if getattr(arguments, field) not in (None, getattr(config.sound_config.audio_config, field, None))
    ]
    if given:
        raise ArgumentsError(f"{given[0]}: {name} has its own audio encoder with its own settings; leave it out")
    for values in (config.sound_config, model.config):
        for field, value in fields.items():
            setattr(values, field, value)
    model.audio_projection = AlignmentProjector(model.config)
    model.audio_projection.apply(model._init_weights)
    model._init_weights(model)  # initialises the temperature
    model.freeze_base_model()
    processor = SoundLlavaProcessor.from_pretrained(name, revision=revision or "main")
    return _ready(Aligner(model, config, processor))


def _ready(aligner: Aligner) -> Aligner:
    model = aligner.model
    model.audio_projection.float()
    # Weights that the original encoder does not have, such as those of a learned layer fusion, are trained too.
    for name, parameter in model.audio_tower.named_parameters():
        if name.rpartition(".")[2] in model.audio_tower._may_be_fresh:
            parameter.requires_grad_(True)
    return aligner


def _with_tower(config: SoundClipConfig, name: str, revision: str | None, dtype: torch.dtype) -> SoundClipModel:
    try:
        tensors = read_modules(name, ("vision_tower",), revision)
    except OSError as error:
        raise ArgumentsError(f"base_model {name}: {' '.join(str(error).split())}") from error
    with quiet_loading_report():
        model, info = SoundClipModel.from_pretrained(
            None, config=config, state_dict=tensors, dtype=dtype, output_loading_info=True
        )
    missing = sorted(key for key in info["missing_keys"] if key.startswith("vision_tower."))
    strange = sorted(info["unexpected_keys"])
    if missing or strange:
        raise ArgumentsError(
            f"base_model {name}: its vision tower does not fit its configuration; missing {missing[:3]}, unknown "
            f"{strange[:3]}"
        )
    return model


def _with_fields(audio: Any, arguments: AlignmentArguments) -> Any:
    given = {
        name: getattr(arguments, name)
        for name in ("layer_fusion", "layer_fusion_n", "time_pooling", "window")
        if getattr(arguments, name) is not None
    }
    if given and not isinstance(audio, WhisperClipConfig):
        raise ArgumentsError(
            f"{next(iter(given))}: applies to Whisper encoders only, and this one is {audio.model_type!r}"
        )
    return type(audio)(**{**audio.to_dict(), **given}) if given else audio


def _alignment_fields(arguments: AlignmentArguments) -> dict[str, Any]:
    return {
        "projector_dropout": arguments.projector_dropout,
        "temperature": arguments.temperature,
        "learnable_temperature": arguments.learnable_temperature,
        "alignment": "projected",
        "alpha": 0.0,
    }


def _config(
    name: str, revision: str | None, field: str, read: Callable[..., Any] = AutoConfig.from_pretrained
) -> PreTrainedConfig:
    try:
        return read(name, revision=revision or "main")
    except NotAnAudioEncoderError as error:
        raise ArgumentsError(f"{field} {error}") from error
    except (OSError, ValueError, KeyError) as error:
        where = "a folder without a readable config.json" if os.path.isdir(name) else "neither a folder nor on the Hub"
        raise ArgumentsError(f"{field} {name}: is {where} ({' '.join(str(error).split())[:200]})") from error


__all__ = ["Aligner", "load_aligner"]
