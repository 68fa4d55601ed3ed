"""What is written is read back, with what is outside of [-1, 1] cut off."""

import io

import numpy as np
import pytest

from soundclip_hf.media import load_sound
from soundclip_hf.media.wav_files import write_wav

WAVEFORM = np.array([0.0, 0.25, -0.5, 1.0, -1.0, 3.0, -3.0] * 100, np.float32)


@pytest.mark.parametrize("opened", [False, True])
def test_a_waveform_comes_back(tmp_path, opened):
    target = io.BytesIO() if opened else tmp_path / "a.wav"
    write_wav(target, WAVEFORM, 8000)
    read = load_sound(target.getvalue() if opened else target, sampling_rate=8000)
    assert np.abs(read - np.clip(WAVEFORM, -1, 1)).max() <= 1 / 32767
