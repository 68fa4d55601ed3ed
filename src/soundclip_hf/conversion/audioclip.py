"""AudioCLIP: the audio head (370 entries) of `AudioCLIP-Full-Training.pt` or `-Partial-Training.pt`."""

from collections.abc import Mapping
from typing import Any

import torch

from ..modeling.audio_encoders.audioclip.configuration_audioclip import AudioClipConfig
from ..modeling.audio_encoders.audioclip.feature_extraction_audioclip import AudioClipFeatureExtractor
from ..modeling.audio_encoders.audioclip.modeling_audioclip import AudioClipModel
from .origin import Origin


def build(state: Mapping[str, Any], **kwargs: Any) -> tuple[AudioClipModel, AudioClipFeatureExtractor]:
    config = AudioClipConfig(**kwargs)
    extractor = AudioClipFeatureExtractor(win_length=config.win_length, hop_length=config.hop_length)
    return AudioClipModel(config), extractor


ORIGIN = Origin(
    name="audioclip",
    model_type="audioclip",
    build=build,
    rules=(
        (r"fbsp\.window$", "audio.window"),
        (r"fbsp\.", "audio.fbsp."),
        *((rf"attention\.{number}\.", f"audio.att{number + 1}.") for number in range(5)),
        (r"backbone\.", "audio."),
    ),
    # CLIP RN50 as OpenAI saves it, and the scales of the three pairs.
    ignored=r"(visual|transformer|token_embedding|ln_final)\.|(positional_embedding|text_projection|logit_scale\w*"
    r"|input_resolution|context_length|vocab_size)$",
    # A parameter that was never given a value.
    constants=lambda: {"audio.fbsp.bias": torch.empty(0)},
)

__all__ = ["ORIGIN"]
