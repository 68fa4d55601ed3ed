"""AudioCLIP's audio head against its golden vectors and a naive filter bank; lengths, units, dtypes, bad input."""

import copy
import math

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
from golden import assert_close, fill, load_golden
from torch import nn

from soundclip_hf.conversion import from_original
from soundclip_hf.modeling.configuration_audioclip import AudioClipConfig
from soundclip_hf.modeling.encoder_audioclip import AudioClipModel, adaptive_max_pool
from soundclip_hf.modeling.feature_extraction_audioclip import AudioClipFeatureExtractor

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


def straightforward(state, samples):
    """The published architecture from the original names, one sound `(samples,)` in int16 units: `(1024,)`."""
    m, fb, fc = (state[f"audio.fbsp.{name}"][:, None] for name in ("m", "fb", "fc"))
    t = math.pi * torch.linspace(-1, 1, 2048)[None] + 1e-8
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


def test_golden_filter_bank(golden, official):
    bank = official[0].fbsp
    with torch.no_grad():
        frames = nn.functional.pad(bank.frames(golden["audio_pcm"].float()), (197, 197))
        assert_close(frames[:, ::39, ::16], golden["frames_sub"], 1e-6, "frames")
        kernels = torch.stack(bank.kernels(), -1)
        assert_close(kernels[::41, ::64], golden["fbsp_weights_sub"], 1e-6, "kernels")
        response = torch.einsum("ntk,bkc->ntbc", frames[:, ::13], kernels[::16])
        assert_close(response, golden["spectrogram_sub"], 1e-5, "spectrogram")
        assert_close(bank(golden["audio_pcm"].float())[..., ::4, ::3], golden["db"], 1e-2, "db")
        assert torch.equal(bank.window, golden["const/audio.window"])


def test_golden_stages(golden, official):
    model, extractor = official
    net, seen = model.backbone, {}
    handles = [net.maxpool.register_forward_hook(lambda _m, _i, out: seen.update(stem=out))]
    for number, attention in enumerate(model.attention, start=1):
        handles.append(
            attention.register_forward_pre_hook(
                lambda _m, args, name=f"layer{number}": seen.update({name: args[1].clone()})
            )
        )
        handles.append(
            attention.bn.register_forward_hook(
                lambda _m, _i, out, name=f"att{number}": seen.update({name: out.sigmoid()})
            )
        )
    handles.append(net.fc.register_forward_pre_hook(lambda _m, args: seen.update(pooled=args[0])))
    z = embed(model, extractor, golden.sounds())
    for handle in handles:
        handle.remove()
    assert_close(seen["stem"][:, ::8, ::8, ::8], golden["stem_sub"], 1e-3, "stem")
    for number, (c, s) in enumerate([(16, 8), (32, 4), (64, 3), (64, 2)], start=1):
        for name in (f"layer{number}", f"att{number}"):
            assert_close(seen[name][:, ::c, ::s, ::s], golden[f"{name}_sub"], 1e-4, name)
    assert_close(seen["att5"].flatten(1), golden["att5"], 1e-4, "att5")
    assert_close(seen["pooled"], golden["pooled"], 1e-4, "pooled")
    assert_close(z, golden["embedding"], 1e-5, "embedding")
    assert_close(z, golden["embedding_float64"], 1e-5, "embedding_float64")
    normalised = nn.functional.normalize(z, dim=-1)
    assert_close(normalised, golden["embedding_normalized"], 1e-5, "embedding_normalized")
    assert float((z[0] - golden["embedding"][1]).abs().max()) > 1e-3, "the items do not differ"


def test_golden_units_and_channels(golden, official):
    model, extractor = official
    pcm = golden["audio_pcm"]
    with torch.no_grad():
        decibels = model.fbsp(pcm.float() / 32768)[..., ::8, ::6]
        z = model(pcm[:, None].float() / 32768).pooler_output
        sounds = extractor(golden.sounds(), sampling_rate=RATE, return_tensors="pt")["input_features"]
        stereo = model(sounds[:, 0].transpose(0, 1)).pooler_output
        assert_close(model(pcm[:1, None]).pooler_output[0], golden["embedding"][0], 1e-5, "int16")
    # At -197 dB a bin holds nothing but the rounding of fp32 (0.04 dB between two orders of summation).
    expected = golden["db_unit_scale_sub"]
    assert_close(decibels[expected > -195], expected[expected > -195], 1e-2, "db_unit_scale")
    assert_close(decibels, expected, 0.1, "db_unit_scale")
    assert_close(z, golden["embedding_unit_scale"], 1e-4, "embedding_unit_scale")
    assert_close(stereo, golden["embedding_stereo"], 1e-4, "embedding_stereo")


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
            assert torch.equal(model.fbsp(samples), expected)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(tiny.fbsp(samples), expected)


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
