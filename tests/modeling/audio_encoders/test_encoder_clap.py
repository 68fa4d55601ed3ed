"""CLAP behind our interface: golden vectors of both checkpoints, determinism, windows, loading, bad input."""

import json

import numpy as np
import pytest
import torch
from encoder_checks import check_loaded
from golden import assert_close, assert_stages, load_golden
from rounding import assert_equal_to_rounding
from safetensors.torch import save_file
from transformers import (
    AutoFeatureExtractor,
    AutoModel,
    ClapAudioModelWithProjection,
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
)

import soundclip_hf  # noqa: F401  registers the Auto classes
from soundclip_hf.modeling.audio_encoders.clap.configuration_clap import SoundClapConfig
from soundclip_hf.modeling.audio_encoders.clap.feature_extraction_clap import SoundClapFeatureExtractor
from soundclip_hf.modeling.audio_encoders.clap.modeling_clap import SoundClapModel

RATE = 48000
TINY = {
    "spec_size": 64,
    "num_mel_bins": 16,
    "window_size": 4,
    "depths": [2, 1],
    "num_attention_heads": [2, 4],
    "patch_embeds_hidden_size": 8,
    "hidden_size": 16,
    "projection_dim": 12,
    "initializer_factor": 3.0,
}


def tiny(**kwargs):
    """A model and an extractor with windows of one second."""
    model = SoundClapModel(SoundClapConfig(**{**TINY, **kwargs})).eval()
    return model, SoundClapFeatureExtractor(feature_size=16, max_length_s=1)


def sound(seconds, seed=0):
    return (0.1 * np.random.RandomState(seed).randn(round(RATE * seconds))).astype(np.float32)


@torch.no_grad()
def embed(model, extractor, sounds):
    return model(**extractor(sounds, sampling_rate=RATE, return_tensors="pt")).pooler_output


@pytest.mark.parametrize("name", ["clap_htsat_unfused", "clap_larger_general"])
def test_golden(name, tmp_path):
    golden = load_golden(name)
    text = {"text_model.pooler.dense.bias": torch.ones(4), "logit_scale_a": torch.ones(())}
    save_file({**golden.state_dict, **text}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    config = {"model_type": "clap", "audio_config": golden.spec["config"], "projection_dim": 512}
    (tmp_path / "config.json").write_text(json.dumps(config))
    settings = {"feature_extractor_type": "ClapFeatureExtractor", **golden.spec["feature_extractor"]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))

    model, info = SoundClapModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["unexpected_keys"]
    assert all(key.endswith("relative_position_index") for key in info["missing_keys"])
    extractor = SoundClapFeatureExtractor.from_pretrained(tmp_path)
    assert extractor(golden.sounds(), RATE)["input_features"].shape == (2, 1, 1001, 64)
    assert_stages(golden, model.eval(), extractor)
    assert (golden["audio_embeds"][0] - golden["audio_embeds"][1]).abs().max() > 1e-3


def stock_clap():
    text = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    audio = {key: value for key, value in TINY.items() if key != "projection_dim"}
    return ClapConfig(text_config={**text, "vocab_size": 10}, audio_config=audio, projection_dim=12)


@pytest.mark.parametrize("layout", [ClapModel, ClapAudioModelWithProjection])
def test_loads_stock_layouts_without_warning(layout, tmp_path, monkeypatch):
    config = stock_clap()
    stock = layout(config if layout is ClapModel else config.audio_config).eval()
    stock.save_pretrained(tmp_path)
    warned = []
    monkeypatch.setattr("transformers.configuration_utils.logger.warning", lambda *args: warned.append(args))
    monkeypatch.setattr("transformers.modeling_utils.logger.warning", lambda *args: warned.append(args))
    model, info = SoundClapModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values()), info
    assert warned == []
    extractor = SoundClapFeatureExtractor(feature_size=16, max_length_s=1)
    inputs = extractor(sound(0.4), RATE, return_tensors="pt")
    with torch.no_grad():
        if layout is ClapModel:
            theirs = stock.get_audio_features(inputs["input_features"]).pooler_output
            ours = torch.nn.functional.normalize(model(**inputs).pooler_output, dim=-1)
        else:
            theirs, ours = stock(inputs["input_features"]).audio_embeds, model(**inputs).pooler_output
    assert_close(ours, theirs, 1e-6, "embedding")


def test_round_trip_through_auto_classes(tmp_path):
    model, extractor = tiny()
    model.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    again, features = AutoModel.from_pretrained(tmp_path), AutoFeatureExtractor.from_pretrained(tmp_path)
    assert type(again) is SoundClapModel
    assert type(features) is SoundClapFeatureExtractor
    assert again.config.embedding_dim == 12
    check_loaded(again, features, model, extractor, sound(0.5))


def test_checkpoint_of_another_encoder_is_refused(tmp_path):
    model, _ = tiny()
    save_file({"encoder.conv1.weight": torch.ones(2)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    model.config.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"lacks \d+ weights of SoundClapModel \(first: audio_model"):
        SoundClapModel.from_pretrained(tmp_path)


def test_batch_equals_single_with_mixed_lengths():
    model, extractor = tiny()
    sounds = [sound(s, i) for i, s in enumerate((0.3, 0.0214, 1.0, 2.4, 0.9))]
    together = embed(model, extractor, sounds)
    for i, one in enumerate(sounds):
        assert_close(together[i : i + 1], embed(model, extractor, one), 1e-5, f"sound {i}")


def test_long_sound_is_deterministic_and_the_mean_over_its_windows():
    model, extractor = tiny()
    long = sound(2.4)
    parts = torch.cat([embed(model, extractor, long[start : start + RATE]) for start in (0, RATE, 2 * RATE)])
    np.random.seed(1)
    first = embed(model, extractor, long)
    np.random.seed(2)
    assert_equal_to_rounding(embed(model, extractor, long), first)
    assert_close(first, parts.mean(0, keepdim=True), 1e-5, "mean over windows")


def test_short_sound_is_repeated_as_in_the_original():
    extractor = SoundClapFeatureExtractor(feature_size=16, max_length_s=1)
    stock = ClapFeatureExtractor(feature_size=16, max_length_s=1, frequency_min=50, truncation="rand_trunc")
    for seconds in (0.1, 0.3, 1.0):
        theirs = stock(sound(seconds), sampling_rate=RATE, return_tensors="pt")["input_features"]
        ours = extractor(sound(seconds), RATE, return_tensors="pt")
        assert_close(ours["input_features"], theirs, 1e-5, f"{seconds} s")
    batch = extractor([sound(0.3), sound(1.5)], RATE)
    assert batch["input_features_mask"].sum(-1).tolist() == [[91, 0], [101, 101]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    model, extractor = tiny()
    expected = embed(model, extractor, sound(0.5))
    z = embed(model.to(dtype), extractor, sound(0.5))
    assert z.dtype == dtype
    assert_close(z, expected, 0.05 * float(expected.abs().max()), str(dtype))


def test_compiles_without_graph_breaks():
    model, extractor = tiny()
    inputs = extractor([sound(0.5), sound(1.4)], RATE, return_tensors="pt")
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.no_grad():
        assert_close(compiled(**inputs).pooler_output, model(**inputs).pooler_output, 1e-5, "compiled")


def test_training_leaves_batch_norm_alone():
    model, extractor = tiny(hidden_dropout_prob=0.0)
    inputs = extractor([sound(0.5), sound(0.9, 1)], RATE, return_tensors="pt")
    mean, expected = model.audio_model.audio_encoder.batch_norm.running_mean.clone(), model(**inputs).pooler_output
    assert_equal_to_rounding(model.train()(**inputs).pooler_output, expected)
    assert torch.equal(model.audio_model.audio_encoder.batch_norm.running_mean, mean)


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing_enable")
def test_gradient_checkpointing_gives_the_same_gradients():
    model, extractor = tiny(hidden_dropout_prob=0.0)
    inputs = extractor([sound(0.5)], RATE, return_tensors="pt")
    model.train()
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            model.gradient_checkpointing_enable()
        model.zero_grad()
        model(**inputs).pooler_output.square().sum().backward()
        gradients.append(model.audio_model.audio_encoder.patch_embed.proj.weight.grad.clone())
    assert gradients[0].abs().sum() > 0
    assert_close(gradients[1], gradients[0], 1e-6, "gradients")


def test_hidden_states_on_request():
    model, extractor = tiny()
    inputs = extractor(sound(0.5), RATE, return_tensors="pt")
    output = model(**inputs, output_hidden_states=True, output_attentions=True)
    assert len(output.hidden_states) == 3
    assert len(output.attentions) == 2


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 101, 64), "101 frames of 64 mel bins, expected 1..256 frames of num_mel_bins=16"),
        ((1, 257, 16), "257 frames of 16 mel bins"),
        ((1, 1, 1, 101, 16), r"expects \(batch, \*window\)"),
    ],
)
def test_wrong_features(shape, message):
    with pytest.raises(ValueError, match=message):
        tiny()[0](torch.zeros(shape))


def test_fusion_is_refused():
    with pytest.raises(ValueError, match="enable_fusion=True"):
        SoundClapConfig(enable_fusion=True)
    with pytest.raises(ValueError, match="truncation='fusion'"):
        SoundClapFeatureExtractor(truncation="fusion")


def test_extractor_refuses_bad_sound():
    extractor = SoundClapFeatureExtractor(feature_size=16)
    with pytest.raises(ValueError, match="sampling_rate is missing: SoundClapFeatureExtractor"):
        extractor(sound(1))
    with pytest.raises(ValueError, match=r"sampling_rate=16000.*48000"):
        extractor(sound(1), sampling_rate=16000)
    with pytest.raises(ValueError, match="shorter than one frame of 1024 samples"):
        extractor(sound(0.02), sampling_rate=RATE)
