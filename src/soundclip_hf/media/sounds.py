"""Reads any kind of sound (file, URL, bytes, array, tensor, dict, decoder) as a mono float32 waveform."""

from __future__ import annotations

import numbers
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from .decoding import decode
from .errors import MediaError, about
from .sources import resolve
from .waveforms import check_rate, check_samples, mix_channels, resample, to_mono


def load_sound(source: Any, *, sampling_rate: int, source_rate: int | None = None) -> np.ndarray:
    """Read a sound of any accepted kind as one mono waveform.

    Args:
        source: A file path, an http(s) or file URL, a file's bytes; a NumPy array, list or torch tensor with
            `source_rate`; an `(array, rate)` or `(rate, array)` tuple; a datasets-style dict (`array` and
            `sampling_rate`, or `bytes` and/or `path`); a torchcodec `AudioDecoder`, also datasets' own. Arrays as in
            `to_mono`.
        sampling_rate: Of the result, in Hz.
        source_rate: Of an array, list or tensor without a rate, in Hz. Other sources have their own rate, which is
            used.

    Returns:
        `(samples,)` float32, nominally in [-1, 1]; the slight overshoot of lossy codecs is kept. May share memory with
        `source` if nothing had to change. A sound of zeros only is allowed, with a `UserWarning`.

    Raises:
        MediaError: The source cannot be read as sound: errors of a file as in `read_clip`, no audio stream, a missing
            or invalid rate, no samples, NaN or Inf, an unsupported type, dtype or shape, or samples far outside
            [-1, 1].
    """
    rate = check_rate(sampling_rate, "sampling_rate")
    name, waveform, own_rate = _waveform(source, source_rate)
    warn_of_silence(name, waveform, stacklevel=3)
    with about(name):
        heard = resample(waveform, own_rate, rate)
    if not len(heard):
        raise MediaError(f"{name}: {len(waveform)} samples at {own_rate} Hz are none at {rate} Hz; pass a longer sound")
    return heard


def warn_of_silence(name: str, waveform: np.ndarray | None, stacklevel: int = 2) -> None:
    """Warn of a sound of zeros only, such as that of a muted clip, which `read_clip` gives without a word."""
    if waveform is not None and not waveform.any():
        warnings.warn(f"{name}: all {len(waveform)} samples are zero: a silent sound", UserWarning, stacklevel)


def _waveform(source: Any, rate: Any) -> tuple[str, np.ndarray, int]:
    """`(name for messages, waveform, its rate)` of any accepted source; `rate` is that of an array without one."""
    if isinstance(source, dict):
        content = next((source[key] for key in ("array", "bytes", "path") if source.get(key) is not None), None)
        if content is None:
            raise MediaError(f"sound dict with keys {list(source)}: needs array and sampling_rate, bytes, or path")
        return _waveform(content, source.get("sampling_rate"))
    if isinstance(source, tuple) and sum(isinstance(part, numbers.Number) for part in source) == 1 == len(source) - 1:
        rate, samples = source if isinstance(source[0], numbers.Number) else source[::-1]
        return _waveform(samples, rate)
    if isinstance(source, (str, Path, bytes, bytearray, memoryview)):
        media, name = resolve(source)
        with about(name):
            reading = decode(media, pictures=False)
            if reading.warning:
                warnings.warn(f"{name}: {reading.warning}", UserWarning, stacklevel=3)
            if reading.sound is None:
                raise MediaError("has no audio stream; pass a file with sound, or use its frame alone")
            return name, check_samples(reading.sound), reading.rate
    if callable(getattr(source, "get_all_samples", None)):
        name = f"sound decoder {type(source).__name__}"
        with about(name):
            try:
                decoded = source.get_all_samples()
            except (RuntimeError, ValueError, OSError) as error:
                raise MediaError(f"cannot be decoded ({error}); check the file behind it") from error
            channels = np.atleast_2d(decoded.data.cpu().numpy())
            return name, check_samples(mix_channels(channels)), check_rate(decoded.sample_rate, "sample_rate")
    torch = sys.modules.get("torch")  # a tensor can only come from a torch that is already imported
    if torch is not None and isinstance(source, torch.Tensor):
        source = source.detach().cpu()
        source = (source.float() if source.is_floating_point() else source).numpy()
    if not isinstance(source, (np.ndarray, list)):
        raise MediaError(
            f"sound of type {type(source).__name__}: pass a path, URL, bytes, an array or tensor with its sampling "
            "rate, a dict, or a torchcodec AudioDecoder"
        )
    try:
        array = np.asarray(source)
    except ValueError as error:
        raise MediaError(f"list of {len(source)} items is not one sound ({error}); pass an array") from error
    name = f"{array.dtype} array of shape {array.shape}"
    with about(name):
        if rate is None:
            raise MediaError("its sampling rate is missing; pass it, in Hz, with the array")
        return name, check_samples(to_mono(array)), check_rate(rate, "sampling rate")
