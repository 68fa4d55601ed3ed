"""AudioCLIP's audio head: units, lengths, padded batches, dtypes, kernels kept between calls, bad input."""

import copy
from fractions import Fraction

import numpy as np
import pytest
import torch
from encoder_checks import (
    check_bad_sounds,
    check_batch_equals_single,
    check_compiles,
    check_fresh_weights_are_finite,
    check_gradient_checkpointing,
    check_half_precision,
    check_saves_and_loads,
    check_wrong_shape,
    embed,
    noise,
    randomise,
)
from golden import assert_close, load_golden
from rounding import assert_equal_to_rounding

from soundclip_hf.conversion import from_original
from soundclip_hf.modeling.audio_encoders.audioclip.configuration_audioclip import AudioClipConfig
from soundclip_hf.modeling.audio_encoders.audioclip.fbsp import sampling_points
from soundclip_hf.modeling.audio_encoders.audioclip.feature_extraction_audioclip import AudioClipFeatureExtractor
from soundclip_hf.modeling.audio_encoders.audioclip.modeling_audioclip import AudioClipModel

RATE = 44100
LENGTHS = [noise(0.2, RATE, 1), noise(0.1, RATE, 2), noise(0.1737, RATE, 3), noise(0.005, RATE, 4)]
# As in the released model, two bins of the bank make no whole third.
SHORT = {"win_length": 200, "hop_length": 80}


@pytest.fixture(scope="module")
def golden():
    return load_golden("audioclip")


@pytest.fixture(scope="module")
def official(golden):
    return from_original("audioclip", golden.state_dict)


@pytest.fixture
def tiny():
    small = {"depths": (1, 1, 1, 2), "channels": (4, 6, 8, 10), "cardinality": 2, "base_width": 32}
    config = AudioClipConfig(**small, n_fft=260, projection_dim=20, **SHORT)
    model = randomise(AudioClipModel(config))
    with torch.no_grad():
        model.backbone.conv1.weight.mul_(0.03)
        model.fbsp.m.uniform_(0.1, 1.0)
        model.fbsp.fc.add_(0.2 * torch.rand(131))
    return model


@pytest.fixture
def extractor():
    return AudioClipFeatureExtractor(**SHORT)


# ---- units, lengths ----


def test_samples_survive_a_cast_of_the_features():
    quiet = noise(0.2, RATE) * 1e-4
    inputs = AudioClipFeatureExtractor()(quiet, sampling_rate=RATE, return_tensors="pt").to(torch.bfloat16)
    samples = inputs["input_features"][0, 0, 0]
    assert samples.dtype == torch.int32
    assert inputs["input_features_mask"].shape == (1, 1, 14)
    assert len(samples) == 1654 + 561 * 13
    before = (len(samples) - len(quiet)) // 2
    np.testing.assert_allclose(samples[before : before + len(quiet)] / 2**27, quiet, atol=2**-28)
    assert (torch.cat([samples[:before], samples[before + len(quiet) :]]) == -2048).all()


def test_int16_samples_as_floats_are_refused(extractor):
    with pytest.raises(ValueError, match="peak of 6000: expected floats"):
        extractor(np.full(3000, 6000.0, dtype=np.float32), sampling_rate=RATE)


def test_long_sound_is_the_mean_of_its_windows(tiny, extractor):
    sound = noise(0.14, RATE)
    windows = AudioClipFeatureExtractor(max_length_s=0.06, **SHORT)
    inputs = windows(sound, sampling_rate=RATE, return_tensors="pt")
    assert inputs["input_features_mask"].sum(-1).tolist() == [[32, 32, 10]]
    cut = [sound[:2646], sound[2646:5292], sound[5292:]]
    each = torch.cat([embed(tiny, extractor, part) for part in cut])
    assert_close(embed(tiny, windows, sound)[0], each.mean(0), 1e-5, "mean")


# ---- what every encoder must hold ----


def test_batch_equals_single(tiny, extractor):
    check_batch_equals_single(tiny, extractor, LENGTHS)


def test_batch_equals_single_at_full_size(official):
    check_batch_equals_single(*official, [noise(0.6, RATE, 1), noise(0.43, RATE, 2)])


def test_batch_of_stereo_equals_single(tiny, extractor):
    inputs = extractor(LENGTHS, sampling_rate=RATE, return_tensors="pt")
    stereo = inputs["input_features"].repeat(1, 1, 2, 1)
    stereo[:, :, 1] = stereo[:, :, 1] // 3
    with torch.no_grad():
        together = tiny(stereo, inputs["input_features_mask"]).pooler_output
        for row, sound in enumerate(LENGTHS):
            alone = extractor(sound, sampling_rate=RATE, return_tensors="pt")
            samples = stereo[row : row + 1, ..., : alone["input_features"].shape[-1]]
            assert_close(together[row], tiny(samples, alone["input_features_mask"]).pooler_output[0], 1e-5, "stereo")


def test_saves_and_loads(tiny, tmp_path):
    check_saves_and_loads(tiny, AudioClipFeatureExtractor(max_length_s=0.15, **SHORT), LENGTHS, tmp_path)


def test_fresh_weights(tiny):
    check_fresh_weights_are_finite(tiny)
    fresh = AudioClipModel.from_pretrained(None, config=tiny.config, state_dict={})
    assert torch.equal(fresh.fbsp.fc.detach(), torch.arange(131.0))


@pytest.mark.parametrize(("dtype", "closeness"), [(torch.bfloat16, 0.999), (torch.float16, 0.9999)])
def test_half_precision(tiny, extractor, tmp_path, dtype, closeness):
    check_half_precision(tiny, extractor, LENGTHS, tmp_path, dtype, closeness)


def test_filter_bank_stays_in_single_precision(tiny, extractor):
    inputs = extractor(LENGTHS[0], sampling_rate=RATE, return_tensors="pt")
    samples = inputs["input_features"][:, 0, 0] / 4096
    with torch.no_grad():
        expected = tiny.fbsp(samples)
        for model in (copy.deepcopy(tiny).to(torch.bfloat16), copy.deepcopy(tiny).half()):
            assert model.fbsp.m.dtype == torch.float32
            assert_equal_to_rounding(model.fbsp(samples), expected)
        with torch.autocast("cpu", torch.bfloat16):
            assert_equal_to_rounding(tiny.fbsp(samples), expected)


@pytest.mark.parametrize("count", [2048, 260, 7])
def test_sampling_points_are_rounded_once(count):
    """In exact fractions of the fp32 step, from either end: what a processor with fused multiply-add makes of them."""
    step = Fraction(float(np.float32(2 / (count - 1))))
    exact = [step * i - 1 if i < count // 2 else 1 - step * (count - 1 - i) for i in range(count)]
    # A fraction of 35 bits is a float; NumPy rounds that to fp32 once.
    assert sampling_points(count).tolist() == [float(np.float32(float(point))) for point in exact]


def test_kernels_are_kept_until_the_parameters_change(tiny):
    bank = tiny.fbsp
    with torch.inference_mode():
        first = bank.filters()
        assert bank.filters() is first
    assert not first.is_inference()
    with torch.no_grad():
        bank.fc.add_(0.5)
        assert not torch.equal(bank.filters(), first)
    assert bank.filters().requires_grad, "kernels of an earlier call have no gradient"
    assert copy.deepcopy(bank)._made is None


def test_gradient_reaches_the_filter_bank(tiny, extractor):
    inputs = extractor(LENGTHS[1], sampling_rate=RATE, return_tensors="pt")
    tiny(**inputs).pooler_output.sum().backward()
    for parameter in (tiny.fbsp.m, tiny.fbsp.fb, tiny.fbsp.fc):
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().sum() > 0


@pytest.mark.parametrize("with_mask", [True, False])
def test_compiles_without_graph_breaks(tiny, extractor, with_mask):
    check_compiles(tiny, extractor, LENGTHS, with_mask)


def test_gradient_checkpointing(tiny, extractor):
    check_gradient_checkpointing(tiny, extractor, LENGTHS[:2])


def test_bad_sounds():
    check_bad_sounds(AudioClipFeatureExtractor(), 1654)


def test_bad_settings():
    with pytest.raises(ValueError, match=r"max_length_s=0\.01: shorter than one frame"):
        AudioClipFeatureExtractor(max_length_s=0.01)
    with pytest.raises(ValueError, match="each must be at most the next"):
        AudioClipConfig(n_fft=1024)
    with pytest.raises(ValueError, match="there are four stages"):
        AudioClipConfig(depths=(1, 2))


def test_wrong_shape(tiny):
    check_wrong_shape(tiny, torch.zeros(1, 1, 199), None, "199 samples.*win_length=200")
    check_wrong_shape(tiny, torch.zeros(1, 1, 201), torch.ones(1, 2), "do not end with a frame")
    check_wrong_shape(tiny, torch.zeros(1, 1, 280), torch.ones(1, 3), "3 frames.*have 2")
