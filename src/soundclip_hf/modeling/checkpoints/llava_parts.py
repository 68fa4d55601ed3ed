"""Builds the fields of `SoundLlavaProcessor` from a LLaVA and a feature extractor."""

import os
from typing import Any

from transformers import AutoConfig, AutoProcessor, LlavaNextProcessor, LlavaProcessor
from transformers import WhisperFeatureExtractor as StockWhisperFeatureExtractor

from ..audio_encoders.whisperclip.feature_extraction_whisperclip import WhisperClipFeatureExtractor
from ..checkpoint_json import checked_settings
from ..checkpoint_names import checkpoint_name, one_commit
from ..configuration_soundclip import SoundClipConfig
from ..vision_tower import has_class_token
from .encoder import load_extractor, window_of


def parts_of_llava(
    llava: Any,
    feature_extractor: Any,
    sound_config: SoundClipConfig | dict[str, Any] | None = None,
    revision: str | None = None,
    audio_revision: str | None = None,
) -> dict[str, Any]:
    """
    Gather what `SoundLlavaProcessor.__init__` takes; see `SoundLlavaProcessor.from_llava`.

    Raises:
        ValueError: If `llava` is no LLaVA-1.5 or 1.6, or the extractor makes other features than `sound_config` takes.
    """
    config = None
    base = llava
    if isinstance(llava, (str, os.PathLike)):
        llava, revision = checkpoint_name(llava, revision)
        revision = one_commit(llava, revision)
        config = _config(llava, revision)
        if config is not None and config.model_type not in ("llava", "llava_next"):
            raise ValueError(f"{llava}: model_type={config.model_type!r}; sound goes with 'llava' and 'llava_next'.")
        with checked_settings(llava, {"revision": revision}, processor=True):
            base = AutoProcessor.from_pretrained(llava, revision=revision or "main")
    if not isinstance(base, (LlavaProcessor, LlavaNextProcessor)):
        raise ValueError(f"{type(base).__name__}: sound goes with LlavaProcessor and LlavaNextProcessor.")
    vision = getattr(config, "vision_config", None)
    parts = {
        "image_processor": base.image_processor,
        "tokenizer": base.tokenizer,
        # Old repositories leave these out.
        "patch_size": base.patch_size or getattr(vision, "patch_size", None),
        "vision_feature_select_strategy": base.vision_feature_select_strategy
        or getattr(config, "vision_feature_select_strategy", None),
        "chat_template": base.chat_template,
        "image_token": base.image_token,
        "llava_variant": "llava_next" if isinstance(base, LlavaNextProcessor) else "llava",
    }
    parts = {name: value for name, value in parts.items() if value is not None}
    if vision is None:  # a processor that counts 0 and leaves nothing out; old ones with [CLS] count 0, too
        without_class_token = (base.num_additional_image_tokens, base.vision_feature_select_strategy) == (0, "full")
    else:
        without_class_token = not has_class_token(vision)
    if without_class_token:
        parts["num_additional_image_tokens"] = 0
    if isinstance(sound_config, dict):
        sound_config = SoundClipConfig(**sound_config)
    if sound_config is not None:
        parts["sound_patches"] = sound_config.patches
        parts["sound_top_k"] = sound_config.token_budget
        parts["patch_budget_scope"] = sound_config.patch_budget_scope
        parts["sound_select_strategy"] = sound_config.sound_select_strategy
    audio_config: Any = None if sound_config is None else sound_config.audio_config
    feature_extractor = fitting_extractor(feature_extractor, audio_config, audio_revision)
    return {**parts, "feature_extractor": feature_extractor}


def fitting_extractor(feature_extractor: Any, audio_config: Any, revision: str | None = None) -> Any:
    """
    The feature extractor of an audio encoder; a Whisper's becomes ours.

    Args:
        feature_extractor: The extractor, or the repository or folder that holds it.
        audio_config: Of the encoder, or `None`.
        revision: Of the repository.

    Raises:
        ValueError: If it makes other features than the encoder takes.
    """
    if isinstance(feature_extractor, (str, os.PathLike)):
        feature_extractor = load_extractor(feature_extractor, audio_config, revision)
    elif type(feature_extractor) is StockWhisperFeatureExtractor:
        feature_extractor = WhisperClipFeatureExtractor.from_whisper(feature_extractor, **window_of(audio_config))
    _check_extractor(feature_extractor, audio_config)
    return feature_extractor


def _config(llava: str | os.PathLike, revision: str | None) -> Any:
    if os.path.isdir(llava) and not os.path.exists(os.path.join(llava, "config.json")):
        return None
    with checked_settings(llava, {"revision": revision}):
        return AutoConfig.from_pretrained(llava, revision=revision or "main")


def _check_extractor(extractor: Any, audio_config: Any) -> None:
    # The same setting under its name in the configuration and in the feature extractor.
    for field, name in (("window", "window"), ("num_mel_bins", "feature_size")):
        wanted, found = getattr(audio_config, field, None), getattr(extractor, name, None)
        if None not in (wanted, found) and wanted != found:
            raise ValueError(
                f"audio_config.{field}={wanted!r}, but the {type(extractor).__name__} has {name}={found!r}: "
                "both must be equal."
            )


__all__ = ["fitting_extractor", "parts_of_llava"]
