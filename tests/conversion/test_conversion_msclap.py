"""Microsoft's CLAP: names and joined projections of the original, its stored mel filters, strictness."""

import pytest
import torch

from soundclip_hf.conversion import from_original, to_original
from soundclip_hf.modeling.audio_encoders.msclap.configuration_msclap import MsClapConfig
from soundclip_hf.modeling.audio_encoders.msclap.feature_extraction_msclap import MsClapFeatureExtractor
from soundclip_hf.modeling.audio_encoders.msclap.modeling_msclap import MsClapModel

TOWER = "audio_encoder.base.htsat."
SIZES = {"spec_size": 64, "num_mel_bins": 16, "window_size": 4}


@pytest.fixture
def model():
    shape = {"depths": [2, 1], "num_attention_heads": [2, 4], "patch_embeds_hidden_size": 8, "hidden_size": 16}
    return MsClapModel(MsClapConfig(**SIZES, **shape, projection_dim=12, initializer_factor=3.0)).eval()


@pytest.fixture
def original(model):
    return to_original(model)


def test_names_are_the_originals(model, original):
    block = f"{TOWER}layers.0.blocks.1."
    parts = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    expected = {f"{block}{part}.{kind}" for part in parts for kind in ("weight", "bias")}
    expected |= {f"{block}attn.relative_position_{kind}" for kind in ("bias_table", "index")}
    assert {key for key in original if key.startswith(block)} == expected
    rest = {"bn0.weight", "norm.bias", "patch_embed.proj.weight", "layers.0.downsample.reduction.weight"}
    assert {f"{TOWER}{key}" for key in rest} < set(original)
    assert {"linear1.weight", "linear2.weight", "layer_norm.weight", "layer_norm.bias"} == {
        key.removeprefix("audio_encoder.projection.") for key in original if "projection" in key
    }
    attention = model.audio_model.audio_encoder.layers[0].blocks[1].attention.self
    joined = torch.cat([attention.query.weight, attention.key.weight, attention.value.weight])
    assert torch.equal(original[f"{block}attn.qkv.weight"], joined)


def test_round_trip_with_everything_else_of_the_file(model, original):
    yaml = MsClapFeatureExtractor(mel_sampling_rate=44100, frequency_max=8000)
    inside = ("tscam_conv.weight", "head.bias", "spectrogram_extractor.stft.conv_real.weight")
    names = ["caption_encoder.base.wte.weight", "logit_scale", *(f"{TOWER}{key}" for key in inside)]
    others = dict.fromkeys([*names, f"{TOWER}layers.0.blocks.1.attn_mask"], torch.ones(2))
    filters = {f"{TOWER}logmel_extractor.melW": torch.from_numpy(yaml.mel_filters_slaney).float()}
    again, extractor = from_original("msclap", {**original, **others, **filters}, **SIZES)
    assert (extractor.mel_sampling_rate, extractor.frequency_max) == (44100, 8000)
    assert again.config.depths == [2, 1]
    for key, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key
    assert all(torch.equal(value, original[key]) for key, value in to_original(again).items())


def test_filters_default_to_those_of_the_originals_code(original):
    assert from_original("msclap", original, **SIZES)[1].mel_sampling_rate == 32000


def test_strict(original):
    lacking = {key: value for key, value in original.items() if "fc2" not in key}
    with pytest.raises(ValueError, match=r"msclap checkpoint does not fit.*missing.*mlp\.fc2"):
        from_original("msclap", lacking, **SIZES)
    with pytest.raises(ValueError, match=r"unknown: audio_encoder\.base\.htsat\.extra"):
        from_original("msclap", {**original, f"{TOWER}extra": torch.ones(1)}, **SIZES)
    with pytest.raises(ValueError, match="looks like msclap"):
        from_original("clap", original)
