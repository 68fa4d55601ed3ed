"""Wav2CLIP: encoder and audio transform (125 entries) of `Wav2CLIP.pt`."""

from collections.abc import Mapping
from typing import Any

import torch

from ..modeling.audio_encoders.wav2clip.configuration_wav2clip import Wav2ClipConfig
from ..modeling.audio_encoders.wav2clip.feature_extraction_wav2clip import Wav2ClipFeatureExtractor
from ..modeling.audio_encoders.wav2clip.modeling_wav2clip import Wav2ClipModel
from .origin import Origin


def build(state: Mapping[str, Any], **kwargs: Any) -> tuple[Wav2ClipModel, Wav2ClipFeatureExtractor]:
    return Wav2ClipModel(Wav2ClipConfig(**kwargs)), Wav2ClipFeatureExtractor()


ORIGIN = Origin(
    name="wav2clip",
    model_type="wav2clip",
    build=build,
    rules=((r"backbone\.", "audio_encoder."), (r"projection\.", "audio_transform.sequential.")),
    ignored=r"(image_transform|image_encoder)\.|\w*(loss|logit_scale)\w*($|\.)",
    constants=lambda: {"audio_encoder.spectrogram.window": torch.hann_window(512)},
)

__all__ = ["ORIGIN"]
