"""LAION's CLAP: audio tower and projection of a transformers checkpoint, whose names we keep."""

import re
from collections.abc import Mapping
from typing import Any

from ..modeling.audio_encoders.clap.configuration_clap import SoundClapConfig
from ..modeling.audio_encoders.clap.feature_extraction_clap import SoundClapFeatureExtractor
from ..modeling.audio_encoders.clap.modeling_clap import SoundClapModel
from .origin import Origin

_TOWER = "audio_model.audio_encoder"


def build(state: Mapping[str, Any], **kwargs: Any) -> tuple[SoundClapModel, SoundClapFeatureExtractor]:
    """A model of the checkpoint's shape: HTSAT-tiny and HTSAT-base differ in widths and depths."""
    shapes = {key: tuple(value.shape) for key, value in state.items() if key.startswith("audio_")}
    block = re.compile(
        rf"{re.escape(_TOWER)}\.layers\.(\d+)\.blocks\.(\d+)\.attention\.self\.relative_position_bias_table$"
    )
    heads: dict[int, list[int]] = {}
    for key, shape in shapes.items():
        if found := block.match(key):
            heads.setdefault(int(found[1]), []).append(shape[-1])
    read = {
        "patch_embeds_hidden_size": (f"{_TOWER}.patch_embed.proj.weight", 0),
        "hidden_size": (f"{_TOWER}.norm.weight", 0),
        "projection_dim": ("audio_projection.linear2.weight", 0),
    }
    fields: dict[str, Any] = {name: shapes[key][axis] for name, (key, axis) in read.items() if key in shapes}
    if heads:
        fields["depths"] = [len(heads[number]) for number in sorted(heads)]
        fields["num_attention_heads"] = [heads[number][0] for number in sorted(heads)]
    return SoundClapModel(SoundClapConfig(**{**fields, **kwargs})), SoundClapFeatureExtractor()


ORIGIN = Origin(
    name="clap",
    model_type=SoundClapConfig.model_type,
    build=build,
    rules=((r"audio_", "audio_"),),
    ignored=r"(text_model|text_projection)\.|logit_scale_[at]$",
    fixed=r"\.relative_position_index$",
)

__all__ = ["ORIGIN"]
