"""ImageBind's audio trunk against its golden vectors, and against nn.MultiheadAttention with other weights."""

import warnings

import numpy as np
import pytest
import torch
from encoder_checks import (
    embed,
    noise,
)
from golden import assert_close, assert_golden, assert_stages, fill, load_golden
from torch import nn
from transformers.audio_utils import spectrogram, window_function

from soundclip_hf.conversion import from_original
from soundclip_hf.modeling.audio_encoders.imagebind.feature_extraction_imagebind import (
    ImageBindFeatureExtractor,
    log_mel,
    mel_filters,
)

RATE = 16000


@pytest.fixture(scope="module")
def golden():
    return load_golden("imagebind")


@pytest.fixture(scope="module")
def official(golden):
    return from_original("imagebind", golden.state_dict)


def features(sounds, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        made = ImageBindFeatureExtractor(**kwargs)(sounds, sampling_rate=RATE, return_tensors="pt")
    return made["input_features"]


def straightforward(state, features):
    """The published architecture from the original names, with torch's own attention module: `(clips, 1024)`."""
    pre, head = "modality_preprocessors.audio.", "modality_heads.audio."
    x = nn.functional.conv2d(features, state[f"{pre}rgbt_stem.proj.weight"], stride=10).flatten(2).transpose(1, 2)
    norm = (state[f"{pre}rgbt_stem.norm_layer.weight"], state[f"{pre}rgbt_stem.norm_layer.bias"])
    x = nn.functional.layer_norm(x, (768,), *norm, eps=1e-5)
    x = torch.cat([state[f"{pre}cls_token"].expand(len(x), -1, -1), x], 1)
    x = x + state[f"{pre}pos_embedding_helper.pos_embed"]
    for number in range(12):
        prefix = f"modality_trunks.audio.blocks.{number}."
        own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        attention = nn.MultiheadAttention(768, 12, add_bias_kv=True, batch_first=True).eval()
        attention.load_state_dict({k.removeprefix("attn."): v for k, v in own.items() if k.startswith("attn.")})
        y = nn.functional.layer_norm(x, (768,), own["norm_1.weight"], own["norm_1.bias"], eps=1e-6)
        x = x + attention(y, y, y, need_weights=False)[0]
        y = nn.functional.layer_norm(x, (768,), own["norm_2.weight"], own["norm_2.bias"], eps=1e-6)
        y = nn.functional.gelu(y @ own["mlp.fc1.weight"].T + own["mlp.fc1.bias"])
        x = x + y @ own["mlp.fc2.weight"].T + own["mlp.fc2.bias"]
    x = nn.functional.layer_norm(x[:, 0], (768,), state[f"{head}0.weight"], state[f"{head}0.bias"], eps=1e-6)
    x = x @ state[f"{head}2.weight"].T
    return x / x.norm(dim=-1, keepdim=True) * state["modality_postprocessors.audio.1.log_logit_scale"].exp()


# ---- golden ----


def test_golden_front_end(golden):
    independent = golden["audio_input"] + golden["input_independent_minus_official"].float()
    made = features(golden.sounds())
    assert_golden(golden, "input_independent_minus_official", made, 1e-3, expected=independent, part="+ audio_input")
    for name, part in (("short", np.s_[:]), ("long", np.s_[..., ::4, ::3])):
        made = features(golden.sounds(f"{name}_pcm"), clip_mean="in_place")[part]
        assert_golden(golden, f"{name}_input_sub", made, 1e-3)


def test_golden_filter_bank(golden):
    sound = golden.sounds()[0][:32000].astype(np.float64)
    for bins, name in ((128, "fbank_torchaudio"), (80, "fbank80_kaldi_native")):
        bank = log_mel(sound - sound.mean(), mel_filters(bins, RATE))
        assert_golden(golden, name, torch.from_numpy(bank), 5e-3)
    bank = log_mel(sound - sound.mean(), mel_filters(128, RATE))
    assert (bank[:, 3] == np.log(2.0**-23)).all(), "the empty triangle has the floor's value"


def test_golden_clips(golden):
    extractor = ImageBindFeatureExtractor()
    lengths = golden.arrays["clip_samples"][::3, 0].tolist()
    made = [(length, *clip) for length in lengths for clip in extractor.clip_samples(length)]
    assert_golden(golden, "clip_samples", torch.tensor(made), 0)


def test_golden_stages(golden, official):
    assert_stages(golden, *official)
    model, _ = official
    # Neither trunk_cls nor anything behind it can tell these two apart.
    assert {block.norm1.eps for block in model.blocks} == {block.norm2.eps for block in model.blocks} == {1e-6}


def test_golden_embedding(golden, official):
    model, _ = official
    z = embed(model, ImageBindFeatureExtractor(clip_mean="in_place"), golden.sounds())
    assert_golden(golden, "embedding", z, 1e-5)
    independent = golden["embedding_independent_clips"]
    alone = embed(*official, golden.sounds()[1])
    assert_golden(golden, "embedding_independent_clips", alone, 1e-4, expected=independent[1:], part="item 1 alone")
    assert float((independent[0] - independent[1]).abs().max()) > 1e-2, "the items do not differ"
    assert float((z - independent).abs().max()) > 2e-5, "the two ways to subtract the mean do not differ"


# ---- against independent paths ----


@pytest.mark.parametrize("salt", ["one", *(pytest.param(salt, marks=pytest.mark.slow) for salt in ("two", "three"))])
def test_other_weights_and_sounds(golden, salt):
    state = golden.salted(salt)
    model, extractor = from_original("imagebind", state)
    sound = fill().audio("other", RATE, 2.7, 1, salt)[0].astype(np.float32) / 32768
    clips = features(sound)[0]
    with torch.no_grad():
        expected = straightforward(state, clips)
        assert_close(embed(model, extractor, sound)[0], expected.mean(0), 1e-5, "embedding")


def test_filter_bank_is_that_of_transformers():
    sound = noise(0.5, RATE).astype(np.float64)
    expected = spectrogram(
        sound,
        window_function(400, "hann", periodic=False),
        frame_length=400,
        hop_length=160,
        fft_length=512,
        power=2.0,
        center=False,
        preemphasis=0.97,
        mel_filters=mel_filters(128, RATE),
        mel_floor=1.192092955078125e-07,
        log_mel="log",
        remove_dc_offset=True,
    ).T
    np.testing.assert_allclose(log_mel(sound, mel_filters(128, RATE)), expected, rtol=0, atol=2e-3)
