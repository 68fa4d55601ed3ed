"""Microsoft's CLAP: its projection and front end against independent transcriptions, windows, loading, bad input."""

import numpy as np
import pytest
import torch
from encoder_checks import check_loaded
from golden import assert_close
from transformers import AutoFeatureExtractor, AutoModel

import soundclip_hf  # noqa: F401  registers the Auto classes
from soundclip_hf.modeling.audio_encoders.clap.modeling_clap import SoundClapModel
from soundclip_hf.modeling.audio_encoders.msclap.configuration_msclap import MsClapConfig
from soundclip_hf.modeling.audio_encoders.msclap.feature_extraction_msclap import MsClapFeatureExtractor
from soundclip_hf.modeling.audio_encoders.msclap.modeling_msclap import MsClapModel

RATE = 44100
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


def tiny():
    """A model and an extractor with windows of one second."""
    return MsClapModel(MsClapConfig(**TINY)).eval(), MsClapFeatureExtractor(feature_size=16, max_length_s=1)


def sound(seconds, seed=0):
    return (0.1 * np.random.RandomState(seed).randn(round(RATE * seconds))).astype(np.float32)


@torch.no_grad()
def embed(model, extractor, sounds):
    return model(**extractor(sounds, sampling_rate=RATE, return_tensors="pt")).pooler_output


def test_shape_of_the_released_network():
    with torch.device("meta"):
        model = MsClapModel(MsClapConfig())
    assert model.config.embedding_dim == 1024
    # HTSAT-tiny, then 768 * 1024 + 1024 * 1024 + a LayerNorm of 1024
    trunk = sum(p.numel() for p in model.audio_model.parameters())
    assert sum(p.numel() for p in model.parameters()) == trunk + 768 * 1024 + 1024 * 1024 + 2048
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 1) == 29.4


def test_projection_by_hand():
    model, _ = tiny()
    weights = dict(model.audio_projection.named_parameters())
    assert set(weights) == {"linear1.weight", "linear2.weight", "layer_norm.weight", "layer_norm.bias"}
    x = torch.randn(3, 16)
    a = x @ weights["linear1.weight"].T
    b = a + (0.5 * a * (1 + torch.erf(a / 2**0.5))) @ weights["linear2.weight"].T
    expected = (b - b.mean(-1, keepdim=True)) / (b.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
    assert_close(model.audio_projection(x), expected, 1e-5, "projection")


def slaney_mel(frequency):
    return np.where(
        frequency < 1000, frequency * 3 / 200, 15 + np.log(np.maximum(frequency, 1) / 1000) * 27 / np.log(6.4)
    )


def test_front_end_by_hand():
    """Power of a centred STFT with a periodic Hann window, Slaney's triangles, 10 log10 of at least 1e-10."""
    one = sound(7, 1)
    features = MsClapFeatureExtractor()(one, RATE, return_tensors="pt")["input_features"][0, 0]
    assert features.shape == (965, 64)
    window = torch.hann_window(1024, dtype=torch.float64)
    stft = torch.stft(torch.from_numpy(one).double(), 1024, 320, window=window, center=True, return_complex=True)
    frequencies = np.linspace(0, 16000, 513)  # the original's filters are built for 32 kHz
    edges = np.linspace(slaney_mel(50.0), slaney_mel(14000.0), 66)
    grid = np.linspace(0, 16000, 320001)
    edges = np.interp(edges, slaney_mel(grid), grid)
    filters = np.zeros((513, 64))
    for i in range(64):
        low, middle, high = edges[i : i + 3]
        rise, fall = (frequencies - low) / (middle - low), (high - frequencies) / (high - middle)
        filters[:, i] = np.maximum(0, np.minimum(rise, fall)) * 2 / (high - low)
    mel = (stft.abs() ** 2).T @ torch.from_numpy(filters)
    assert_close(features, 10 * torch.log10(mel.clamp(min=1e-10)), 2e-2, "decibels")


def test_filters_of_the_checkpoint_decide():
    default = MsClapFeatureExtractor()
    assert (default.mel_sampling_rate, default.frequency_max, default.sampling_rate) == (32000, 14000, 44100)
    yaml = MsClapFeatureExtractor(mel_sampling_rate=44100, frequency_max=8000)
    for extractor in (default, yaml):
        found = MsClapFeatureExtractor.from_mel_filters(extractor.mel_filters_slaney.astype(np.float32))
        assert (found.mel_sampling_rate, found.frequency_max) == (extractor.mel_sampling_rate, extractor.frequency_max)
    with pytest.raises(ValueError, match=r"\(513, 64\) are none of those known"):
        MsClapFeatureExtractor.from_mel_filters(np.ones((513, 64)))


def test_short_sound_is_repeated_and_cut():
    extractor = MsClapFeatureExtractor(feature_size=16, max_length_s=1)
    short = sound(0.4)
    whole = np.tile(short, 3)[:RATE]
    ours, expected = (extractor(s, RATE, return_tensors="pt")["input_features"] for s in (short, whole))
    torch.testing.assert_close(ours, expected)
    assert extractor([short, sound(1.3)], RATE)["input_features_mask"].sum(-1).tolist() == [[138, 0], [138, 138]]


def test_round_trip_through_auto_classes(tmp_path):
    model, extractor = tiny()
    extractor = MsClapFeatureExtractor(feature_size=16, max_length_s=1, mel_sampling_rate=44100, frequency_max=8000)
    model.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    again, features = AutoModel.from_pretrained(tmp_path), AutoFeatureExtractor.from_pretrained(tmp_path)
    assert type(again) is MsClapModel
    assert type(features) is MsClapFeatureExtractor
    check_loaded(again, features, model, extractor, sound(0.5))


def test_laions_checkpoint_is_refused(tmp_path):
    tiny()[0].save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="lacks 2 weights of SoundClapModel"):
        SoundClapModel.from_pretrained(tmp_path)


def test_batch_equals_single_and_long_is_the_mean_over_windows():
    model, extractor = tiny()
    sounds = [sound(s, i) for i, s in enumerate((0.3, 0.0233, 1.0, 2.4))]
    together = embed(model, extractor, sounds)
    for i, one in enumerate(sounds):
        assert_close(together[i : i + 1], embed(model, extractor, one), 1e-5, f"sound {i}")
    parts = [embed(model, extractor, sounds[3][start : start + RATE]) for start in (0, RATE, 2 * RATE)]
    assert_close(together[3:], torch.cat(parts).mean(0, keepdim=True), 1e-5, "mean over windows")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    model, extractor = tiny()
    expected = embed(model, extractor, sound(0.5))
    z = embed(model.to(dtype), extractor, sound(0.5))
    assert z.dtype == dtype
    assert_close(z, expected, 0.05 * float(expected.abs().max()), str(dtype))


def test_bad_input():
    extractor = MsClapFeatureExtractor(feature_size=16)
    with pytest.raises(ValueError, match="sampling_rate is missing: MsClapFeatureExtractor"):
        extractor(sound(1))
    with pytest.raises(ValueError, match=r"sampling_rate=48000.*44100"):
        extractor(sound(1), sampling_rate=48000)
    with pytest.raises(ValueError, match=r"expected 1..256 frames of num_mel_bins=16"):
        tiny()[0](torch.zeros(1, 300, 16))
