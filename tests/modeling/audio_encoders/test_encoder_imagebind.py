"""ImageBind's audio trunk: clips, padding, backends, dtypes, bad input."""

import warnings

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
    noise,
    randomise,
)
from golden import assert_close

from soundclip_hf.modeling.audio_encoders.imagebind.configuration_imagebind import ImageBindAudioConfig
from soundclip_hf.modeling.audio_encoders.imagebind.feature_extraction_imagebind import ImageBindFeatureExtractor
from soundclip_hf.modeling.audio_encoders.imagebind.modeling_imagebind import ImageBindAudioModel

RATE = 16000
LENGTHS = [noise(3.0, RATE, 1), noise(2.4, RATE, 2), noise(5.0, RATE, 3)]


@pytest.fixture
def tiny():
    config = ImageBindAudioConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, projection_dim=24
    )
    return randomise(ImageBindAudioModel(config))


@pytest.fixture
def extractor():
    return ImageBindFeatureExtractor()


def features(sounds, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        made = ImageBindFeatureExtractor(**kwargs)(sounds, sampling_rate=RATE, return_tensors="pt")
    return made["input_features"]


# ---- clips ----


def test_three_clips_at_any_length(extractor):
    sound = noise(7.0, RATE)
    with pytest.warns(UserWarning, match="sound 0 has 7.0 s, of which 3 clips of 2 s are heard"):
        inputs = extractor(sound, sampling_rate=RATE, return_tensors="pt")
    for number, start in enumerate((0.0, 2.5, 5.0)):
        cut = sound[round(start * RATE) : round((start + 2) * RATE)]
        assert_close(inputs["input_features"][0, number], features(cut)[0, 0], 1e-5, f"clip {number}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        extractor(noise(6.0, RATE), sampling_rate=RATE)
        extractor(noise(2.0, RATE), sampling_rate=RATE)


def test_short_sound_is_padded_before_the_normalisation(extractor):
    with pytest.warns(UserWarning, match="sound 0 has 0.70 s: padded"):
        inputs = extractor(noise(0.7, RATE), sampling_rate=RATE, return_tensors="pt")
    clips, mask = inputs["input_features"][0], inputs["input_features_mask"][0]
    assert clips.shape == (3, 1, 128, 204)
    assert mask.sum(-1).tolist() == [68, 68, 68]
    torch.testing.assert_close(clips[0], clips[1])
    assert torch.allclose(clips[..., 68:], torch.tensor(4.268 / 9.138))


def test_clip_mean_is_subtracted():
    sound = noise(2.0, RATE)
    assert_close(features(sound + 0.25), features(sound), 1e-3, "offset")


def test_sound_is_not_changed(extractor):
    sound = noise(3.0, RATE).astype(np.float64) + 0.1
    before = sound.copy()
    ImageBindFeatureExtractor(clip_mean="in_place")(sound, sampling_rate=RATE)
    np.testing.assert_array_equal(sound, before)


# ---- what every encoder must hold ----


def test_batch_equals_single(tiny, extractor):
    check_batch_equals_single(tiny, extractor, LENGTHS)


def test_backends_agree(tiny, extractor):
    inputs = extractor(LENGTHS, sampling_rate=RATE, return_tensors="pt")
    assert tiny.config._attn_implementation == "sdpa"
    with torch.no_grad():
        expected = tiny(**inputs).pooler_output
        tiny.set_attn_implementation("eager")
        output = tiny(**inputs, output_attentions=True)
    assert_close(output.pooler_output, expected, 1e-5, "eager")
    assert len(output.attentions) == 2
    assert output.attentions[0].shape == (9, 2, 229, 230)
    assert torch.allclose(output.attentions[0].sum(-1), torch.ones(9, 2, 229))


def test_saves_and_loads(tiny, tmp_path):
    with torch.no_grad():
        tiny.scaled_normalize.log_logit_scale.fill_(1.5)
    check_saves_and_loads(tiny, ImageBindFeatureExtractor(clip_mean="in_place", num_clips=2), LENGTHS, tmp_path)


def test_fresh_weights(tiny):
    check_fresh_weights_are_finite(tiny)
    assert abs(float(tiny.scaled_normalize.log_logit_scale.exp()) - 20) < 1e-4


@pytest.mark.parametrize(("dtype", "closeness"), [(torch.bfloat16, 0.999), (torch.float16, 0.9999)])
def test_half_precision(tiny, extractor, tmp_path, dtype, closeness):
    check_half_precision(tiny, extractor, LENGTHS, tmp_path, dtype, closeness)


def test_scale_survives_half_precision(tiny):
    scale = tiny.scaled_normalize.log_logit_scale.clone()
    for cast in (tiny.to(torch.bfloat16), tiny.half()):
        assert cast.scaled_normalize.log_logit_scale.dtype == torch.float32
        assert torch.equal(cast.scaled_normalize.log_logit_scale, scale)
    assert tiny.double().scaled_normalize.log_logit_scale.dtype == torch.float64


def test_scale_has_a_limit(tiny, extractor):
    with torch.no_grad():
        tiny.scaled_normalize.log_logit_scale.fill_(9.0)
        inputs = extractor(LENGTHS[0], sampling_rate=RATE, return_tensors="pt")
        z = tiny(inputs["input_features"][:, 0]).pooler_output
    assert abs(float(z.norm()) - 100) < 1e-3


def test_compiles_without_graph_breaks(tiny, extractor):
    check_compiles(tiny, extractor, LENGTHS)


def test_gradient_checkpointing(tiny, extractor):
    check_gradient_checkpointing(tiny, extractor, LENGTHS[:2])


def test_bad_sounds(extractor):
    check_bad_sounds(extractor, 400)


def test_bad_settings():
    with pytest.raises(ValueError, match="clip_mean='both'"):
        ImageBindFeatureExtractor(clip_mean="both")
    with pytest.raises(ValueError, match="not a multiple of num_attention_heads=5"):
        ImageBindAudioConfig(num_attention_heads=5)
    with pytest.raises(ValueError, match="smaller than one patch"):
        ImageBindAudioConfig(num_frames=10)


def test_wrong_shape(tiny):
    check_wrong_shape(tiny, torch.zeros(1, 1, 128, 198), None, r"\(1, 128, 198\), expected \(1, 128, 204\)")
    check_wrong_shape(tiny, torch.zeros(128, 204), None, "window having 3 axes")
