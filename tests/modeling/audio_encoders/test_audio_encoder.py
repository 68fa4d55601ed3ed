"""The base class: windows axis, padding windows, mean over windows, wrong shapes."""

import numpy as np
import pytest
import torch
from torch import nn
from transformers import PreTrainedConfig

from soundclip_hf.modeling.audio_encoders.feature_extraction_base import check_sounds, split_windows, stack_windows
from soundclip_hf.modeling.audio_encoders.modeling_base import AudioEncoderPreTrainedModel


class CountingConfig(PreTrainedConfig):
    model_type = "counting"
    embedding_dim: int = 3


class CountingEncoder(AudioEncoderPreTrainedModel):
    """`z_a` of a window (mels, frames) is a linear map of its mean over the real frames."""

    config: CountingConfig
    window_ndim = 2

    def __init__(self, config):
        super().__init__(config)
        self.linear = nn.Linear(4, 3)
        self.windows = 0
        self.post_init()

    def encode_windows(self, features, mask, **kwargs):
        self.windows += features.shape[0]
        weight = torch.ones_like(features[:, 0]) if mask is None else mask.to(features.dtype)
        mean = (features * weight[:, None]).sum(-1) / weight.sum(-1, keepdim=True)
        return self.linear(mean)


@pytest.fixture
def encoder():
    return CountingEncoder(CountingConfig()).eval()


def test_windows_axis_is_optional(encoder):
    features = torch.randn(2, 4, 5)
    flat, one = encoder(features).pooler_output, encoder(features[:, None]).pooler_output
    assert flat.shape == (2, 3)
    torch.testing.assert_close(flat, one)


def test_mean_over_real_windows_only(encoder):
    features = torch.randn(2, 3, 4, 5)
    mask = torch.ones(2, 3, 5, dtype=torch.long)
    mask[0, 1:] = 0
    mask[1, 2, 3:] = 0
    features[0, 1:] = float("nan")
    z = encoder(features, mask).pooler_output
    assert encoder.windows == 4, "padding windows were computed"
    alone = encoder(features[0, :1], mask[0, :1]).pooler_output
    windows = encoder(features[1], mask[1]).pooler_output
    torch.testing.assert_close(z[0], alone[0])
    torch.testing.assert_close(z[1], windows.mean(0))
    assert torch.equal(encoder(features[1:], mask[1:]).pooler_output, encoder(features[1:], mask[1:]).pooler_output)


def test_compiled_graph_leaves_padding_windows_out(encoder):
    features, mask = torch.randn(2, 3, 4, 5), torch.ones(2, 3, 5)
    mask[0, 1:] = 0
    features[0, 1:] = 1e4
    expected = encoder(features, mask).pooler_output
    compiled = torch.compile(encoder, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(features, mask).pooler_output, expected)


def test_half_precision_is_averaged_in_fp32(encoder):
    encoder = encoder.to(torch.bfloat16)
    features = torch.randn(1, 64, 4, 5, dtype=torch.bfloat16)
    z = encoder(features).pooler_output
    windows = encoder(features[0]).pooler_output
    assert z.dtype == torch.bfloat16
    # The mean is rounded once, by half a unit in the last of bfloat16's eight bits at most.
    torch.testing.assert_close(z[0].float(), windows.float().mean(0), rtol=2**-8, atol=1e-6)


def test_gradient_reaches_every_real_window(encoder):
    features = torch.randn(2, 3, 4, 5, requires_grad=True)
    mask = torch.ones(2, 3, 5)
    mask[0, 1:] = 0
    encoder(features, mask).pooler_output.sum().backward()
    touched = features.grad.abs().sum((-1, -2)) > 0
    assert torch.equal(touched, mask.any(-1))


@pytest.mark.parametrize("shape", [(4, 5), (1, 2, 3, 4, 5)])
def test_wrong_number_of_axes(encoder, shape):
    with pytest.raises(ValueError, match=r"expects \(batch, \*window\).*got"):
        encoder(torch.zeros(shape))


def test_mask_of_other_sounds(encoder):
    with pytest.raises(ValueError, match=r"shape \(2, 5\): expected \(3, frames\)"):
        encoder(torch.zeros(3, 4, 5), torch.ones(2, 5))
    with pytest.raises(ValueError, match="no real frame in sound 1 of 2"):
        encoder(torch.zeros(2, 1, 4, 5), torch.tensor([[[1, 1, 1, 1, 1]], [[0, 0, 0, 0, 0]]]))


def test_tuple_output(encoder):
    features = torch.ones(1, 4, 5)
    assert torch.equal(encoder(features, return_dict=False)[0], encoder(features).pooler_output)


def test_frozen_encoder_stays_in_eval_mode(encoder):
    parent = nn.ModuleList([encoder])
    assert parent.train()[0].training
    encoder.requires_grad_(False)
    assert not parent.train()[0].training
    assert parent.training


# ---- sound_input ----


def check(raw, rate=16000):
    return check_sounds(raw, rate, expected_rate=16000, shortest=400, name="Extractor")


def test_one_sound_or_several_in_any_container():
    sound = np.linspace(-0.5, 0.5, 800, dtype=np.float32)
    for one in (sound, sound.astype(np.float64), torch.from_numpy(sound), sound.tolist()):
        assert [s.shape for s in check(one)] == [(800,)]
    for two in (np.stack([sound, sound]), [sound, sound.tolist()], (torch.from_numpy(sound), sound)):
        sounds = check(two)
        assert [s.dtype for s in sounds] == [np.float32, np.float32]
        np.testing.assert_allclose(sounds[0], sounds[1], atol=1e-7)


@pytest.mark.parametrize(
    ("raw", "rate", "message"),
    [
        (np.ones(800), None, "sampling_rate is missing.*16000 Hz"),
        (np.ones(800), 44100, "sampling_rate=44100.*16000 Hz"),
        (np.array([1.0, np.nan] * 400), 16000, "NaN or Inf"),
        (np.array([1.0, np.inf] * 400), 16000, "NaN or Inf"),
        ([], 16000, "empty"),
        ([np.ones(800), np.zeros(0)], 16000, "sound 1 is empty"),
        (np.ones(399), 16000, "399 samples.*shorter than one frame of 400"),
        (np.ones(800, dtype=np.int16), 16000, "dtype int16.*divide"),
        ([np.ones((2, 800))], 16000, r"shape \(2, 800\): expected mono"),
    ],
)
def test_bad_sound_has_one_clear_error(raw, rate, message):
    with pytest.raises(ValueError, match=message):
        check(raw, rate)


def test_silence_warns():
    with pytest.warns(UserWarning, match="sound 0 is all zeros"):
        check(np.zeros(800))


@pytest.mark.parametrize(
    ("samples", "lengths"),
    [(10, [10]), (1000, [1000]), (1009, [1000]), (1010, [1000, 10]), (2500, [1000, 1000, 500]), (2000, [1000, 1000])],
)
def test_split_windows(samples, lengths):
    assert [len(window) for window in split_windows(np.ones(samples), 1000, 10)] == lengths


def test_stack_windows_pads_both_axes():
    features, mask = stack_windows([[np.ones((4, 5))], [np.ones((4, 3)), np.ones((4, 2))]], [[5], [3, 2]])
    assert features.shape == (2, 2, 4, 5)
    assert mask.sum(-1).tolist() == [[5, 0], [3, 2]]
    np.testing.assert_array_equal(features.sum((-1, -2)), 4 * mask.sum(-1))
