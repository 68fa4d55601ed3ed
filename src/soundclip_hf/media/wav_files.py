"""Writes waveforms as WAV."""

import wave
from pathlib import Path
from typing import BinaryIO

import numpy as np


def write_wav(target: str | Path | BinaryIO, waveform: np.ndarray, sampling_rate: int) -> None:
    """
    Write a waveform as mono WAV of 16 bits.

    Args:
        target: A file that is replaced, or an open binary file.
        waveform: `(samples,)` float in [-1, 1]; what is outside is cut off.
        sampling_rate: In Hz.

    Raises:
        OSError: If the file cannot be written.
    """
    with wave.open(str(target) if isinstance(target, Path) else target, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sampling_rate)
        file.writeframes((np.clip(waveform, -1, 1) * 32767).round().astype("<i2").tobytes())


__all__ = ["write_wav"]
