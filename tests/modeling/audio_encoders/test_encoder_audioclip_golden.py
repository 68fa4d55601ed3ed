"""AudioCLIP's audio head against its golden vectors and a naive transcription with other weights."""

import math

import numpy as np
import pytest
import timm
import torch
from encoder_checks import embed
from golden import assert_close, assert_golden, assert_stages, fill, load_golden
from torch import nn

from soundclip_hf.conversion import from_original
from soundclip_hf.modeling.audio_encoders.audioclip.fbsp import sampling_points
from soundclip_hf.modeling.audio_encoders.audioclip.modeling_audioclip import adaptive_max_pool

RATE = 44100


@pytest.fixture(scope="module")
def golden():
    return load_golden("audioclip")


@pytest.fixture(scope="module")
def official(golden):
    return from_original("audioclip", golden.state_dict)


def straightforward(state, samples):
    """The published architecture from the original names, one sound `(samples,)` in int16 units: `(1024,)`."""
    m, fb, fc = (state[f"audio.fbsp.{name}"][:, None] for name in ("m", "fb", "fc"))
    t = math.pi * sampling_points(2048)[None] + 1e-8
    x = fb * t / (m + 1e-8)
    sinc = (x.sin() / x).to(torch.complex64)
    kernels = fb.sqrt() * sinc**m * torch.exp(-1j * fc * t) / math.sqrt(2048)
    samples = (samples + 32768) * 2 / 65535 - 1
    frames = 1 + math.ceil((len(samples) - 1654) / 561)
    missing = 1654 + 561 * (frames - 1) - len(samples)
    samples = torch.cat([torch.zeros(missing // 2), samples, torch.zeros(missing - missing // 2)])
    window = state["audio.window"]
    cut = torch.stack([samples[561 * n : 561 * n + 1654] * window for n in range(frames)])
    cut = nn.functional.pad(cut, (197, 197))[:, None]  # (frames, 1, 2048)
    power = sum(nn.functional.conv1d(cut, part[:, None])[:, :1023, 0] ** 2 for part in (kernels.real, kernels.imag))
    x = (10 * power.clamp(min=1e-18).log10()).T.reshape(1, 3, 341, frames)

    net = timm.create_model("resnext50_32x4d", pretrained=False, num_classes=1024).eval()
    own = {k.removeprefix("audio."): v for k, v in state.items()}
    net.load_state_dict({k: v for k, v in own.items() if not k.startswith(("att", "fbsp", "window"))})

    def attention(number, x, size, kernel):
        x = nn.functional.adaptive_max_pool2d(x, size)
        weight = {k.removeprefix(f"att{number}."): v for k, v in own.items() if k.startswith(f"att{number}.")}
        padding = (kernel[0] // 2, kernel[1] // 2)
        x = nn.functional.conv2d(
            x, weight["conv_depth.weight"], weight["conv_depth.bias"], padding=padding, groups=x.shape[1]
        )
        x = nn.functional.conv2d(x, weight["conv_point.weight"], weight["conv_point.bias"])
        x = (x - weight["bn.running_mean"][:, None, None]) / (weight["bn.running_var"][:, None, None] + 1e-5).sqrt()
        return (x * weight["bn.weight"][:, None, None] + weight["bn.bias"][:, None, None]).sigmoid()

    x = net.maxpool(net.act1(net.bn1(net.conv1(x))))
    for number, kernel in enumerate([(3, 1), (1, 5), (3, 1), (1, 5)], start=1):
        y = getattr(net, f"layer{number}")(x)
        x = y * attention(number, x, y.shape[-2:], kernel)
    x = x.mean((-2, -1), keepdim=True) * attention(5, x, (1, 1), (3, 5))
    return net.fc(x.flatten(1))[0]


# ---- golden ----


def test_golden_stages(golden, official):
    assert_stages(golden, *official)
    # Another cosine may move a value to the next fp32 number, which is 6e-8 away.
    assert_golden(golden, "const/audio.window", official[0].fbsp.window, 1e-7)
    assert float((golden["embedding"][0] - golden["embedding"][1]).abs().max()) > 1e-3, "the items do not differ"


def test_golden_units_and_channels(golden, official):
    model, extractor = official
    with torch.no_grad():
        sounds = extractor(golden.sounds(), sampling_rate=RATE, return_tensors="pt")["input_features"]
        stereo = model(sounds[:, 0].transpose(0, 1)).pooler_output
        z = model(golden["audio_pcm"][:1, None]).pooler_output
    assert_golden(golden, "embedding_stereo", stereo, 1e-4)
    assert_golden(golden, "embedding", z, 1e-5, expected=golden["embedding"][:1], part="of int16")


# ---- against independent paths ----


@pytest.mark.parametrize("salt", ["one", *(pytest.param(salt, marks=pytest.mark.slow) for salt in ("two", "three"))])
def test_other_weights_and_sounds(golden, salt):
    state = {**golden.salted(salt), "audio.window": golden["const/audio.window"]}
    model, extractor = from_original("audioclip", state)
    sounds = fill().audio("other", RATE, 0.8, 2, salt)
    pair = [sounds[0].astype(np.float32) / 32768, sounds[1, :20000].astype(np.float32) / 32768]
    z = embed(model, extractor, pair)
    with torch.no_grad():
        for index, sound in enumerate(pair):
            expected = straightforward(state, torch.from_numpy(sound) * 32768)
            assert_close(z[index], expected, 1e-5, f"sound {index}")


@pytest.mark.parametrize("length", [7, 8, 20, 21])
def test_pooling_of_padded_maps(length):
    x = torch.randn(2, 3, 11, 24)
    frames = torch.tensor([length, 24])
    kept = (frames + 1) // 2
    pooled = adaptive_max_pool(x, (6, 12), frames, kept)
    for row, count, out in zip(x, frames, kept, strict=True):
        expected = nn.functional.adaptive_max_pool2d(row[None, ..., :count], (6, int(out)))
        position = int((frames == count).nonzero()[0])
        assert torch.equal(pooled[position, ..., :out], expected[0])
