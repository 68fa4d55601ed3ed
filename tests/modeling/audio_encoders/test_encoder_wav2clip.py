"""Wav2CLIP against its golden vectors, timm's own forward, and torch.stft; batches, dtypes, long and short sound."""

import numpy as np
import pytest
import timm
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
from golden import assert_close, assert_golden, assert_stages, fill, load_golden
from rounding import assert_equal_to_rounding

from soundclip_hf.conversion import from_original
from soundclip_hf.modeling.audio_encoders.wav2clip.configuration_wav2clip import Wav2ClipConfig
from soundclip_hf.modeling.audio_encoders.wav2clip.feature_extraction_wav2clip import Wav2ClipFeatureExtractor
from soundclip_hf.modeling.audio_encoders.wav2clip.modeling_wav2clip import Wav2ClipModel

RATE = 16000
LENGTHS = [noise(1.0, RATE, 1), noise(0.4, RATE, 2), noise(0.733, RATE, 3), noise(0.04, RATE, 4)]


@pytest.fixture(scope="module")
def golden():
    return load_golden("wav2clip")


@pytest.fixture(scope="module")
def official(golden):
    return from_original("wav2clip", golden.state_dict)


@pytest.fixture
def tiny():
    torch.manual_seed(0)
    config = Wav2ClipConfig(depths=(1, 1, 1, 2), channels=(64, 16, 24, 32), projection_dim=20)
    return randomise(Wav2ClipModel(config))


@pytest.fixture
def extractor():
    return Wav2ClipFeatureExtractor()


def features(golden, statistics, **kwargs):
    extractor = Wav2ClipFeatureExtractor(statistics=statistics, **kwargs)
    return extractor(golden.sounds(), sampling_rate=RATE, return_tensors="pt")


# ---- golden ----


def test_golden_stages(golden, official):
    assert_stages(golden, *official)
    single = golden["embedding_single"]
    assert float((single[0] - single[1]).abs().max()) > 1e-3, "the items do not differ"
    assert float((single - golden["embedding_batch"]).abs().max()) > 1e-3, "the statistics do not differ"
    alone = embed(*official, golden.sounds()[1])
    assert_golden(golden, "embedding_single", alone, 1e-4, expected=single[1:], part="item 1 alone")


def test_golden_frames(golden, official):
    """The original's frame mode: one second per frame, normalised together."""
    model, _ = official
    windows = features(golden, "item", max_length_s=1.0)["input_features"]
    assert windows.shape[:2] == (2, 3)
    with torch.no_grad():
        frames = model(windows[0]).pooler_output
        mean = model(windows[:1]).pooler_output
    assert_golden(golden, "frames_item0", frames.T[None], 1e-4)
    assert_close(mean[0], frames.mean(0), 1e-6, "mean over windows")


# ---- against independent paths ----


@pytest.mark.parametrize("salt", ["one", "two", "three"])
def test_other_weights_and_sounds(golden, salt):
    state = golden.salted(salt)
    model, extractor = from_original("wav2clip", state)
    sounds = fill().audio("other", RATE, 1.3, 2, salt).astype(np.float32) / 32768
    net = timm.create_model("resnet18", pretrained=False, in_chans=1, num_classes=0).eval()
    net.load_state_dict({k.removeprefix("audio_encoder."): v for k, v in state.items() if "audio_encoder" in k})
    prefix = "audio_transform.sequential."
    for sound, z in zip(sounds, embed(model, extractor, list(sounds)), strict=True):
        spectrum = torch.stft(torch.from_numpy(sound), 512, 353, window=torch.hann_window(512), return_complex=True)
        x = (spectrum.abs() ** 2 + 1e-7).log()
        with torch.no_grad():
            x = net(((x - x.mean()) / (x.std() + 1e-9))[None, None])
            x = torch.relu(x @ state[f"{prefix}0.weight"].T + state[f"{prefix}0.bias"])
            x = x @ state[f"{prefix}3.weight"].T + state[f"{prefix}3.bias"]
        assert_close(z, x[0], 2e-5, "embedding")


def test_power_spectrogram_is_a_fourier_transform(extractor):
    sound = noise(0.1, RATE)
    padded = np.pad(sound.astype(np.float64), 256, mode="reflect")
    n = np.arange(512)
    frame = padded[353 * 2 : 353 * 2 + 512] * np.hanning(513)[:-1]
    expected = np.abs(np.exp(-2j * np.pi * np.outer(np.arange(257), n) / 512) @ frame) ** 2
    np.testing.assert_allclose(extractor.power_spectrogram(sound)[:, 2], expected, rtol=1e-3, atol=1e-5)


# ---- what every encoder must hold ----


def test_batch_equals_single(tiny, extractor):
    check_batch_equals_single(tiny, extractor, LENGTHS)


def test_batch_equals_single_at_full_size(official):
    check_batch_equals_single(*official, [noise(1.0, RATE, 1), noise(0.7, RATE, 2)])


def test_padding_may_hold_anything(tiny, extractor):
    inputs = extractor(LENGTHS, sampling_rate=RATE, return_tensors="pt")
    poisoned = inputs["input_features"].masked_fill(inputs["input_features_mask"][:, :, None] == 0, float("nan"))
    with torch.no_grad():
        z = tiny(poisoned, inputs["input_features_mask"]).pooler_output
        assert_equal_to_rounding(z, tiny(**inputs).pooler_output)


def test_long_sound_is_the_mean_of_its_windows(tiny):
    sound = noise(2.3, RATE)
    extractor = Wav2ClipFeatureExtractor(max_length_s=1.0)
    inputs = extractor(sound, sampling_rate=RATE, return_tensors="pt")
    assert inputs["input_features_mask"].sum(-1).tolist() == [[46, 46, 14]]
    values = inputs["input_features"][0].transpose(1, 2)[inputs["input_features_mask"][0] == 1]
    assert abs(float(values.mean())) < 1e-5
    assert abs(float(values.std()) - 1) < 1e-5
    with torch.no_grad():
        each = [
            tiny(window[None, :, :count]).pooler_output
            for window, count in zip(inputs["input_features"][0], (46, 46, 14), strict=True)
        ]
    assert_close(embed(tiny, extractor, sound)[0], torch.cat(each).mean(0), 1e-5, "mean")
    other = embed(tiny, extractor, [noise(0.5, RATE, 5), sound])[1]
    assert_close(other, embed(tiny, extractor, sound)[0], 1e-5, "in a batch")


def test_saves_and_loads(tiny, tmp_path):
    check_saves_and_loads(tiny, Wav2ClipFeatureExtractor(statistics="batch", max_length_s=0.8), LENGTHS, tmp_path)


def test_fresh_weights(tiny):
    check_fresh_weights_are_finite(tiny)


@pytest.mark.parametrize(("dtype", "closeness"), [(torch.bfloat16, 0.999), (torch.float16, 0.9999)])
def test_half_precision(tiny, extractor, tmp_path, dtype, closeness):
    check_half_precision(tiny, extractor, LENGTHS, tmp_path, dtype, closeness)


@pytest.mark.parametrize("with_mask", [True, False])
def test_compiles_without_graph_breaks(tiny, extractor, with_mask):
    check_compiles(tiny, extractor, LENGTHS, with_mask)


def test_gradient_checkpointing(tiny, extractor):
    check_gradient_checkpointing(tiny, extractor, LENGTHS[:2])


def test_batch_norm_stays_as_it_was_in_training(tiny, extractor):
    before = {name: buffer.clone() for name, buffer in tiny.named_buffers()}
    expected = embed(tiny, extractor, LENGTHS)
    assert_equal_to_rounding(embed(torch.nn.Sequential(tiny).train()[0], extractor, LENGTHS), expected)
    assert all(torch.equal(buffer, before[name]) for name, buffer in tiny.named_buffers())


def test_bad_sounds(extractor):
    check_bad_sounds(extractor, 512)


def test_bad_settings():
    with pytest.raises(ValueError, match="statistics='both'"):
        Wav2ClipFeatureExtractor(statistics="both")
    with pytest.raises(ValueError, match="n_fft=400 gives 201"):
        Wav2ClipFeatureExtractor(n_fft=400)
    with pytest.raises(ValueError, match="there are four stages"):
        Wav2ClipConfig(depths=(1, 2))


def test_wrong_shape(tiny):
    check_wrong_shape(tiny, torch.zeros(1, 128, 50), None, "128 frequency bins.*expected.*257")
    check_wrong_shape(tiny, torch.zeros(1, 257, 50), torch.ones(1, 51), "51 frames.*50")
