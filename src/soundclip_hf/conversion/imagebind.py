"""ImageBind: the audio part (177 of 1311 entries) of `imagebind_huge.pth`; the weights are CC BY-NC-SA 4.0."""

from collections.abc import Mapping
from typing import Any

from ..modeling.audio_encoders.imagebind.configuration_imagebind import ImageBindAudioConfig
from ..modeling.audio_encoders.imagebind.feature_extraction_imagebind import ImageBindFeatureExtractor
from ..modeling.audio_encoders.imagebind.modeling_imagebind import ImageBindAudioModel
from .origin import Origin


def build(state: Mapping[str, Any], **kwargs: Any) -> tuple[ImageBindAudioModel, ImageBindFeatureExtractor]:
    config = ImageBindAudioConfig(**kwargs)
    extractor = ImageBindFeatureExtractor(feature_size=config.num_mel_bins, num_frames=config.num_frames)
    return ImageBindAudioModel(config), extractor


ORIGIN = Origin(
    name="imagebind",
    model_type="imagebind_audio",
    build=build,
    rules=(
        (r"patches\.projection\.", "modality_preprocessors.audio.rgbt_stem.proj."),
        (r"patches\.norm\.", "modality_preprocessors.audio.rgbt_stem.norm_layer."),
        (r"patches\.cls_token$", "modality_preprocessors.audio.cls_token"),
        (r"patches\.position_embeddings$", "modality_preprocessors.audio.pos_embedding_helper.pos_embed"),
        (r"blocks\.(\d+)\.norm(\d)\.", r"modality_trunks.audio.blocks.\1.norm_\2."),
        (r"blocks\.(\d+)\.attn\.qkv\.", r"modality_trunks.audio.blocks.\1.attn.in_proj_"),
        (r"blocks\.(\d+)\.attn\.proj\.", r"modality_trunks.audio.blocks.\1.attn.out_proj."),
        (r"blocks\.(\d+)\.attn\.bias_", r"modality_trunks.audio.blocks.\1.attn.bias_"),
        (r"blocks\.(\d+)\.fc(\d)\.", r"modality_trunks.audio.blocks.\1.mlp.fc\2."),
        (r"norm\.", "modality_heads.audio.0."),
        (r"head\.", "modality_heads.audio.2."),
        (r"scaled_normalize\.", "modality_postprocessors.audio.1."),
    ),
    ignored=r"modality_(preprocessors|trunks|heads|postprocessors)\.(vision|text|depth|thermal|imu)\.",
)

__all__ = ["ORIGIN"]
