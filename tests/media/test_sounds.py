"""Every kind of sound gives the same waveform, or one clear error."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from media_files import noise, pcm_wav, tone

from soundclip_hf.media import MediaError, load_sound, read_clip, resample


def test_every_source_gives_the_same_sound(folder: Path, site: str) -> None:
    samples = noise(44100, 2)
    path = folder / "noise.wav"
    path.write_bytes(pcm_wav(samples, 44100))
    floats = torch.from_numpy(samples.T.astype(np.float32) / 2**15)
    decoder = SimpleNamespace(get_all_samples=lambda: SimpleNamespace(data=floats, sample_rate=44100))
    expected = load_sound(path, sampling_rate=16000)
    assert (expected.dtype, expected.shape) == (np.float32, (16000,))
    sources = {
        "str": str(path),
        "url": f"{site}/noise.wav",
        "file url": path.as_uri(),
        "bytes": path.read_bytes(),
        "bytearray": bytearray(path.read_bytes()),
        "dict of array": {"array": samples, "sampling_rate": 44100},
        "dict of floats": {"array": floats.numpy(), "sampling_rate": 44100, "path": "gone.wav", "bytes": None},
        "dict of bytes": {"bytes": path.read_bytes(), "path": "gone.wav"},
        "dict of path": {"bytes": None, "path": str(path)},
        "(array, rate)": (samples, 44100),
        "(rate, array)": (44100, samples.T),
        "decoder": decoder,
    }
    for name, source in sources.items():
        np.testing.assert_array_equal(load_sound(source, sampling_rate=16000), expected, err_msg=name)
    for bare in (samples, samples.T, floats, floats.T, floats.double(), floats.tolist(), floats.requires_grad_()):
        np.testing.assert_array_equal(load_sound(bare, sampling_rate=16000, source_rate=44100), expected)
    np.testing.assert_array_equal(read_clip(path, sampling_rate=16000).waveform, expected)
    np.testing.assert_array_equal(read_clip(path.read_bytes(), sampling_rate=16000).waveform, expected)


def test_load_sound_of_a_video_is_its_waveform(mp4: Path) -> None:
    clip = read_clip(mp4, sampling_rate=16000)
    assert clip.sampling_rate == 16000
    assert len(clip.waveform) == 48000
    np.testing.assert_array_equal(load_sound(mp4, sampling_rate=16000), clip.waveform)


def test_integer_and_half_precision_arrays() -> None:
    halves = torch.tensor([0.5, -0.25, 0.125, 0.0], dtype=torch.bfloat16)
    for source in (
        halves,
        halves.half(),
        halves.double(),
        np.array([2**14, -(2**13), 2**12, 0], np.int16),
        np.array([2**30, -(2**29), 2**28, 0], np.int32),
        np.array([192, 96, 144, 128], np.uint8),
    ):
        loaded = load_sound(source, sampling_rate=8000, source_rate=8000)
        np.testing.assert_array_equal(loaded, np.float32([0.5, -0.25, 0.125, 0]))


def test_overshoot_is_kept() -> None:
    loud = np.array([1.5, -1.25, 0], np.float32)
    np.testing.assert_array_equal(load_sound(loud, sampling_rate=8000, source_rate=8000), loud)


def test_equal_rates_are_untouched() -> None:
    wave = tone(1, 16000)[0]
    assert resample(wave, 16000, 16000) is wave
    np.testing.assert_array_equal(load_sound(wave, sampling_rate=16000, source_rate=16000), wave)


def test_bad_sounds() -> None:
    wave = tone(1, 8000)[0]
    broken = wave.copy()
    broken[[7, 9]] = np.nan, np.inf
    cases = [
        (wave, None, "sampling rate is missing"),
        ({"array": wave}, None, "sampling rate is missing"),
        (wave, 0, "sampling rate=0: pass a positive integer"),
        (wave, -8000, "positive integer"),
        (wave, 8000.0, "positive integer"),
        (wave, True, "positive integer"),
        (wave, "8000", "positive integer"),
        (broken, 8000, "2 of 8000 samples are NaN or Inf, the first at index 7"),
        (wave[:0], 8000, "empty"),
        ([], 8000, "empty"),
        (b"", None, "empty"),
        (wave * 32768, 8000, "looks like int16 units"),
        (wave.astype(np.int64), 8000, "dtype int64"),
        (wave.astype(bool), 8000, "dtype bool"),
        (wave.astype(complex), 8000, "dtype complex128"),
        (np.array(["a"]), 8000, "dtype"),
        ([[0.0, 1.0], [0.0]], 8000, "not one sound"),
        (np.zeros((3, 4, 5), np.float32), 8000, r"shape \(3, 4, 5\)"),
        (None, 8000, "type NoneType"),
        (5, 8000, "type int"),
        ((wave, wave), 8000, "type tuple"),
        ({"sampling_rate": 8000}, None, r"keys \['sampling_rate'\]"),
        ({"bytes": None, "path": None}, None, "needs array"),
        ("ftp://127.0.0.1/a.wav", None, "ftp:// is not supported"),
        ("concat:a.wav", None, "no such file"),
    ]
    for source, rate, message in cases:
        with pytest.raises(MediaError, match=message):
            load_sound(source, sampling_rate=16000, source_rate=rate)
    for rate in (0, -1, 16000.0, None, True):
        with pytest.raises(MediaError, match="sampling_rate="):
            load_sound(wave, sampling_rate=rate, source_rate=8000)
    with pytest.raises(MediaError, match="1 samples at 48000 Hz are none at 8000 Hz"):
        load_sound(wave[1:2], sampling_rate=8000, source_rate=48000)


def test_decoder_that_fails() -> None:
    def fail():
        raise RuntimeError("no such codec")

    with pytest.raises(MediaError, match="sound decoder SimpleNamespace: cannot be decoded \\(no such codec\\)"):
        load_sound(SimpleNamespace(get_all_samples=fail), sampling_rate=16000)


def test_silence_warns() -> None:
    with pytest.warns(UserWarning, match=r"\(50,\): all 50 samples are zero"):
        silent = load_sound(np.zeros(50, np.float32), sampling_rate=8000, source_rate=8000)
    assert not silent.any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_sound(tone(1, 8000), sampling_rate=8000, source_rate=8000)
