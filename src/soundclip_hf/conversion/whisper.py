"""Whisper: the encoder of a transformers checkpoint."""

import re
from collections.abc import Mapping
from typing import Any

from ..modeling.audio_encoders.whisperclip.configuration_whisperclip import WhisperClipConfig
from ..modeling.audio_encoders.whisperclip.feature_extraction_whisperclip import WhisperClipFeatureExtractor
from ..modeling.audio_encoders.whisperclip.modeling_whisperclip import WhisperClipModel
from .origin import Origin

# In every size that was released.
_HEAD_DIM = 64


def normalise(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Names as in `WhisperForConditionalGeneration`; a `WhisperModel` has them without the prefix."""
    bare = any(key.startswith("encoder.") for key in state)
    return {f"model.{key}": value for key, value in state.items()} if bare else state


def build(state: Mapping[str, Any], **kwargs: Any) -> tuple[WhisperClipModel, WhisperClipFeatureExtractor]:
    """
    A model of the checkpoint's size. How layers and positions become one vector is the configuration's, the average of
    all layers unless `layer_fusion` says otherwise; `"final"` is the plain Whisper encoder.
    """
    state = normalise(state)
    shapes = {key.removeprefix("model.encoder."): tuple(value.shape) for key, value in state.items()}
    width, mels, _ = shapes["conv1.weight"]
    read = {
        "encoder_ffn_dim": ("layers.0.fc1.weight", 0),
        "max_source_positions": ("embed_positions.weight", 0),
    }
    fields: dict[str, Any] = {name: shapes[key][axis] for name, (key, axis) in read.items() if key in shapes}
    layers = {int(found[1]) for key in shapes if (found := re.match(r"layers\.(\d+)\.", key))}
    fields |= {
        "d_model": width,
        "num_mel_bins": mels,
        "encoder_layers": max(layers, default=0) + 1,
        "encoder_attention_heads": max(width // _HEAD_DIM, 1),
    }
    config = WhisperClipConfig(**{**fields, **kwargs})
    return WhisperClipModel(config), WhisperClipFeatureExtractor(feature_size=mels, window=config.window)


ORIGIN = Origin(
    name="whisper",
    model_type=WhisperClipConfig.model_type,
    build=build,
    rules=((r"encoder\.", "model.encoder."),),
    ignored=r"model\.decoder\.|(model\.)?proj_out\.",
    ours=r"layer_weight_logits$",
    normalise=normalise,
)

__all__ = ["ORIGIN"]
