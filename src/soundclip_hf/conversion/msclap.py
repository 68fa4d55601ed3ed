"""Microsoft's CLAP of 2023: the audio encoder of `CLAP_weights_2023.pth` (its entry `model`); the weights are Ms-PL."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..modeling.audio_encoders.msclap.configuration_msclap import MsClapConfig
from ..modeling.audio_encoders.msclap.feature_extraction_msclap import MsClapFeatureExtractor
from ..modeling.audio_encoders.msclap.modeling_msclap import MsClapModel
from .origin import Origin

_OURS = r"audio_model\.audio_encoder\."
_TOWER = "audio_encoder.base.htsat."
_BLOCK = rf"{_OURS}(layers\.\d+\.blocks\.\d+)\."
_PARTS = ("query", "key", "value")


def normalise(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Query, key and value apart, as our model has them."""
    apart: dict[str, Any] = {}
    for key, value in state.items():
        if ".attn.qkv." in key:
            apart |= {key.replace(".qkv.", f".{part}."): rows for part, rows in zip(_PARTS, value.chunk(3))}
        else:
            apart[key] = value
    return apart


def build(state: Mapping[str, Any], **kwargs: Any) -> tuple[MsClapModel, MsClapFeatureExtractor]:
    """A model of the checkpoint's shape; the mel filters that it stores decide the feature extractor's."""
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    table = re.compile(rf"{re.escape(_TOWER)}layers\.(\d+)\.blocks\.(\d+)\.attn\.relative_position_bias_table$")
    heads: dict[int, list[int]] = {}
    for key, shape in shapes.items():
        if found := table.match(key):
            heads.setdefault(int(found[1]), []).append(shape[-1])
    read = {
        "patch_embeds_hidden_size": f"{_TOWER}patch_embed.proj.weight",
        "hidden_size": f"{_TOWER}norm.weight",
        "projection_dim": "audio_encoder.projection.linear1.weight",
    }
    fields: dict[str, Any] = {name: shapes[key][0] for name, key in read.items() if key in shapes}
    if heads:
        fields["depths"] = [len(heads[number]) for number in sorted(heads)]
        fields["num_attention_heads"] = [heads[number][0] for number in sorted(heads)]
    filters = state.get(f"{_TOWER}logmel_extractor.melW")
    extractor = (
        MsClapFeatureExtractor()
        if filters is None
        else MsClapFeatureExtractor.from_mel_filters(filters.float().cpu().numpy())
    )
    return MsClapModel(MsClapConfig(**{**fields, **kwargs})), extractor


class MsClapOrigin(Origin):
    """Joins query, key and value again on the way back."""

    def to_original(self, model: PreTrainedModel) -> dict[str, Tensor]:
        """As in `Origin`; the joined projections are copies."""
        joined: dict[str, Tensor] = {}
        apart = super().to_original(model)
        for key, value in apart.items():
            if ".attn.query." in key:
                parts = [apart[key.replace(".query.", f".{part}.")] for part in _PARTS]
                joined[key.replace(".query.", ".qkv.")] = torch.cat(parts)
            elif not re.search(r"\.attn\.(key|value)\.", key):
                joined[key] = value
        return joined


ORIGIN = MsClapOrigin(
    name="msclap",
    model_type=MsClapConfig.model_type,
    build=build,
    rules=(
        (rf"{_BLOCK}attention\.self\.", rf"{_TOWER}\1.attn."),
        (rf"{_BLOCK}attention\.output\.dense\.", rf"{_TOWER}\1.attn.proj."),
        (rf"{_BLOCK}layernorm_before\.", rf"{_TOWER}\1.norm1."),
        (rf"{_BLOCK}layernorm_after\.", rf"{_TOWER}\1.norm2."),
        (rf"{_BLOCK}intermediate\.dense\.", rf"{_TOWER}\1.mlp.fc1."),
        (rf"{_BLOCK}output\.dense\.", rf"{_TOWER}\1.mlp.fc2."),
        (rf"{_OURS}batch_norm\.", f"{_TOWER}bn0."),
        (_OURS, _TOWER),
        (r"audio_projection\.", "audio_encoder.projection."),
    ),
    # The front end (which the feature extractor replaces), the classifier, masks that are computed, and the text side.
    ignored=(
        r"caption_encoder\.|logit_scale$|"
        rf"{re.escape(_TOWER)}(spectrogram_extractor|logmel_extractor|tscam_conv|head)\.|"
        rf"{re.escape(_TOWER)}layers\.\d+\.blocks\.\d+\.attn_mask$"
    ),
    fixed=r"\.relative_position_index$",
    normalise=normalise,
)

__all__ = ["ORIGIN"]
