"""Channels, resampling and windows of arrays."""

from __future__ import annotations

import numpy as np
import pytest

from soundclip_hf.media import MediaError, resample, split_windows, to_mono


def test_short_axis_is_the_channels() -> None:
    stereo = np.array([[0.5, 0.25, 0], [-0.5, 0.25, 1]], np.float32)
    np.testing.assert_array_equal(to_mono(stereo), np.float32([0, 0.25, 0.5]))
    np.testing.assert_array_equal(to_mono(stereo.T), np.float32([0, 0.25, 0.5]))
    np.testing.assert_array_equal(to_mono(np.ones((1, 1), np.float32)), np.ones(1, np.float32))
    for shape in ((2, 2), (100, 200), (2, 3, 4), ()):
        with pytest.raises(MediaError, match="pass"):
            to_mono(np.zeros(shape, np.float32))


@pytest.mark.parametrize(("rate", "samples"), [(44100, 132301), (48000, 7), (8000, 3), (11025, 1000), (22050, 12345)])
def test_length_after_resampling(rate: int, samples: int) -> None:
    assert len(resample(np.ones(samples, np.float32), rate, 16000)) == round(samples * 16000 / rate)


def test_resampling_keeps_what_fits_and_removes_what_does_not() -> None:
    seconds = np.arange(48000) / 48000
    low, high = np.sin(2 * np.pi * 1000 * seconds), np.sin(2 * np.pi * 15000 * seconds)
    heard = resample((low + high).astype(np.float32), 48000, 16000)
    np.testing.assert_allclose(
        heard[500:-500], np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)[500:-500], atol=1e-3
    )


def test_windows_cover_everything_at_full_length() -> None:
    wave = np.arange(10, dtype=np.float32)
    assert [list(window) for window in split_windows(wave, 1, 4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [6, 7, 8, 9]]
    assert [list(window) for window in split_windows(wave, 1, 5)] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    assert [list(window) for window in split_windows(wave[:2], 1)] == [[0, 1]]
    assert len(split_windows(np.zeros(132300, np.float32), 44100)) == 1
    assert all(np.shares_memory(window, wave) for window in split_windows(wave, 1))
    for arguments in ((wave[:0], 1), (wave[None], 1), (wave, 0), (wave, 1, 0), (wave, 1, float("nan"))):
        with pytest.raises(MediaError, match="pass"):
            split_windows(*arguments)
