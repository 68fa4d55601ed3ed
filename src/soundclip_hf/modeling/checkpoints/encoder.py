"""Opens an audio encoder by its id or folder: its configuration, model and feature extractor."""

import os
from typing import Any

import torch
from transformers import MODEL_MAPPING, AutoConfig, AutoFeatureExtractor, AutoModel
from transformers import WhisperFeatureExtractor as StockWhisperFeatureExtractor
from transformers.models.auto.feature_extraction_auto import FEATURE_EXTRACTOR_MAPPING

from ..audio_encoders.modeling_base import AudioEncoderPreTrainedModel
from ..audio_encoders.whisperclip.configuration_whisperclip import WhisperClipConfig
from ..audio_encoders.whisperclip.feature_extraction_whisperclip import WhisperClipFeatureExtractor
from ..checkpoint_json import checked_settings
from ..checkpoint_names import checkpoint_name, one_commit


class NotAnAudioEncoderError(ValueError):
    """A repository or folder holds a model that is not an audio encoder of this package."""


def audio_encoder_config(name: str | os.PathLike, revision: str | None = None, **hub: Any) -> Any:
    """
    The configuration of an audio encoder; that of a Whisper becomes a [`WhisperClipConfig`].

    Args:
        name: Repository or folder.
        revision: Branch, tag or commit.
        **hub: `token`, `cache_dir`, … of `AutoConfig.from_pretrained`.

    Raises:
        OSError: If there is no such repository or folder.
        NotAnAudioEncoderError: If it holds another model.
    """
    name, revision = checkpoint_name(name, revision)
    with checked_settings(name, {**hub, "revision": revision}):
        config: Any = AutoConfig.from_pretrained(name, revision=revision or "main", **hub)
    if config.model_type == "whisper":
        return WhisperClipConfig.from_whisper_config(config)
    model_class = MODEL_MAPPING.get(type(config), None)
    if not (isinstance(model_class, type) and issubclass(model_class, AudioEncoderPreTrainedModel)):
        called = getattr(model_class, "__name__", type(config).__name__)
        raise NotAnAudioEncoderError(
            f"{name} is a {config.model_type!r} model ({called}), and not an audio encoder of soundclip_hf: give a "
            f"Whisper or one of {', '.join(accepted_model_types())}. Checkpoints of other models are read by the class "
            "of their encoder (such as SoundClapModel.from_pretrained) or by `soundclip convert`; save what that made, "
            "and give the folder."
        )
    return config


def accepted_model_types() -> list[str]:
    """The `model_type` of every audio encoder that was imported, one's own subclasses included."""
    classes, found = [AudioEncoderPreTrainedModel], set()
    while classes:
        for child in classes.pop().__subclasses__():
            classes.append(child)
            if child.config_class is not None and MODEL_MAPPING.get(child.config_class, None) is child:
                found.add(child.config_class.model_type)
    return sorted(found)


def load_audio_encoder(
    name: str | os.PathLike,
    config: Any = None,
    *,
    revision: str | None = None,
    dtype: torch.dtype | str = "auto",
    **hub: Any,
) -> Any:
    """
    Load an audio encoder.

    Args:
        name: Repository or folder.
        config: Its configuration, where fields of it were changed; read from the repository by default.
        revision: Branch, tag or commit.
        dtype: Precision of the weights; parts that need float32 stay in it.
        **hub: `token`, `cache_dir`, … of `from_pretrained`.

    Returns:
        A subclass of [`AudioEncoderPreTrainedModel`] in eval mode.

    Raises:
        OSError: If there is no such repository or folder, or no safetensors file in it.
        ValueError: If it holds another kind of model, or lacks weights.
    """
    name, revision = checkpoint_name(name, revision)
    revision = one_commit(name, revision, hub)
    if config is None:
        config = audio_encoder_config(name, revision, **hub)
    return AutoModel.from_pretrained(name, config=config, revision=revision or "main", dtype=dtype, **hub)


def load_extractor(name: str | os.PathLike, audio_config: Any, revision: str | None) -> Any:
    """A repository's feature extractor, of the class and with the window that `audio_config` (or None) asks for."""
    name, revision = checkpoint_name(name, revision)
    options: dict[str, Any] = {"revision": one_commit(name, revision) or "main"}
    if audio_config is not None and type(audio_config) in FEATURE_EXTRACTOR_MAPPING:
        extractor_class: Any = FEATURE_EXTRACTOR_MAPPING[type(audio_config)]
        return extractor_class.from_pretrained(name, **options, **window_of(audio_config))
    extractor = AutoFeatureExtractor.from_pretrained(name, **options)
    if type(extractor) is StockWhisperFeatureExtractor:
        return WhisperClipFeatureExtractor.from_pretrained(name, **options)
    return extractor


def window_of(audio_config: Any) -> dict[str, Any]:
    """The `window` of a configuration that has one, as an argument of its feature extractor."""
    window = getattr(audio_config, "window", None)
    return {} if window is None else {"window": window}


__all__ = [
    "NotAnAudioEncoderError",
    "accepted_model_types",
    "audio_encoder_config",
    "load_audio_encoder",
    "load_extractor",
    "window_of",
]
