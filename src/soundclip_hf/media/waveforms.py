"""Checks arrays of samples, and mixes and resamples them to mono float32 waveforms."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np
import soxr

from . import limits
from .errors import MediaError

# Between two rates. The resampler's filter grows with it: at 1 Hz to 48 kHz it takes more memory than there is.
MAX_RATIO = 1000
INTEGER_SAMPLES = {"uint8": (128, 2**7), "int16": (0, 2**15), "int32": (0, 2**31)}  # zero level, full scale


def to_mono(samples: np.ndarray) -> np.ndarray:
    """Scale to float32 and average the channels.

    Args:
        samples: `(samples,)`, `(channels, samples)` or `(samples, channels)`: the shorter axis is the channels (at most
            64). Float in [-1, 1]; int16 and int32 are divided by 2**15 and 2**31, uint8 is centred on 128.

    Returns:
        `(samples,)` float32; shares memory with `samples` if that is one-dimensional float32.

    Raises:
        MediaError: Another dtype or shape; or as many channels as samples, so that the two cannot be told apart.
    """
    if samples.ndim not in (1, 2):
        raise MediaError(f"sound of shape {samples.shape}: pass one sound, (samples,) or (channels, samples)")
    if samples.ndim == 1:
        return mix_channels(samples[None])
    few, many = sorted(samples.shape)
    if few == many > 1:
        raise MediaError(f"sound of shape {samples.shape}: channels and samples cannot be told apart; pass (samples,)")
    if few > (most := limits.MAX_CHANNELS):
        raise MediaError(f"sound of shape {samples.shape}: more than {most} channels; pass (channels, samples)")
    return mix_channels(samples if samples.shape[0] == few else samples.T)


def resample(waveform: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Turn `(samples,)` at `rate` Hz into `(round(samples * new_rate / rate),)` at `new_rate` Hz.

    With equal rates, `waveform` itself is returned.

    Raises:
        MediaError: The result would be longer than `limits.MAX_SOUND_SAMPLES`, or the rates are too far apart.
    """
    if rate == new_rate:
        return waveform
    if (length := round(len(waveform) * new_rate / rate)) > (most := limits.MAX_SOUND_SAMPLES):
        raise MediaError(
            f"{len(waveform)} samples at {rate} Hz are {length} at {new_rate} Hz, more than {most}; cut the sound into "
            f"parts, or {limits.raised('MAX_SOUND_SAMPLES')}"
        )
    if max(rate, new_rate) > MAX_RATIO * min(rate, new_rate):
        raise MediaError(f"sound at {rate} Hz cannot be turned into {new_rate} Hz; pass sound at a usual rate")
    return soxr.resample(waveform, rate, new_rate, quality="HQ")


def split_windows(waveform: np.ndarray, sampling_rate: int, seconds: float = 3.0) -> list[np.ndarray]:
    """Cut a sound into windows of exactly `seconds` that cover all of it.

    The windows follow each other without overlap, except for the last one: it ends where the sound ends, and overlaps
    the window before it if the sound is not a multiple of `seconds` long. A sound shorter than `seconds` gives one
    window, of its own length.

    Args:
        waveform: `(samples,)`.
        sampling_rate: In Hz.

    Returns:
        Views of `waveform`, in order.

    Raises:
        MediaError: An argument is not valid, or the sound is empty or not one-dimensional.
    """
    rate = check_rate(sampling_rate, "sampling_rate")
    if not is_time(seconds) or round(seconds * rate) < 1:
        raise MediaError(f"seconds={seconds!r}: pass a window length of at least one sample")
    size, total = round(seconds * rate), len(waveform)
    if waveform.ndim != 1 or not total:
        raise MediaError(f"sound of shape {waveform.shape}: pass one mono sound, (samples,), that is not empty")
    starts = [min(start, max(total - size, 0)) for start in range(0, total, size)]
    return [waveform[start : start + size] for start in starts]


def mix_channels(channels: np.ndarray) -> np.ndarray:
    """Average `(channels, samples)` of any accepted dtype to `(samples,)` float32."""
    dtype = str(channels.dtype)
    if dtype in INTEGER_SAMPLES:
        zero, scale = INTEGER_SAMPLES[dtype]
    elif channels.dtype.kind == "f":
        zero, scale = 0, 1
    else:
        raise MediaError(f"sound of dtype {dtype}: pass float in [-1, 1], int16, int32 or uint8")

    def scaled(channel: np.ndarray) -> np.ndarray:
        channel = np.ascontiguousarray(channel, np.float32)
        return channel if scale == 1 else (channel - np.float32(zero)) / np.float32(scale)

    mono = scaled(channels[0])
    # One channel after the other, so that the order of the additions does not depend on the memory layout.
    for channel in channels[1:]:
        mono = mono + scaled(channel)
    return mono if len(channels) == 1 else mono / np.float32(len(channels))


def check_samples(waveform: np.ndarray) -> np.ndarray:
    """Return `waveform`, or raise a `MediaError` if it is empty, not finite, or not on a float scale."""
    if not len(waveform):
        raise MediaError("the sound is empty (0 samples); pass at least one sample")
    low, high = float(waveform.min()), float(waveform.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        bad = np.flatnonzero(~np.isfinite(waveform))
        raise MediaError(
            f"{len(bad)} of {len(waveform)} samples are NaN or Inf, the first at index {bad[0]}; "
            "repair or drop this sound"
        )
    if (peak := max(-low, high)) > limits.MAX_FLOAT_PEAK:
        raise MediaError(
            f"samples reach {peak:g}, but float sound lies in [-1, 1]; it looks like int16 units: "
            "divide by 32768 or pass the integer array"
        )
    return waveform


def check_rate(rate: Any, what: str) -> int:
    """Return `rate` as int, or raise a `MediaError` about `what` if it is not a positive integer."""
    if isinstance(rate, (bool, np.bool_)) or not isinstance(rate, numbers.Integral) or rate <= 0:
        raise MediaError(f"{what}={rate!r}: pass a positive integer, in Hz, such as 16000")
    return int(rate)


def is_time(seconds: Any) -> bool:
    """Whether this is a finite number of seconds, 0 or more."""
    return isinstance(seconds, numbers.Real) and not isinstance(seconds, bool) and 0 <= float(seconds) < math.inf
