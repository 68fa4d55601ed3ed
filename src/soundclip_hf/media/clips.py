"""Reads a media file's sound and frames, on one clock."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .decoding import decode
from .errors import MediaError, about
from .frames import frame_stamps, frames_at
from .pictures import load_picture
from .sources import resolve
from .urls import without_password
from .waveforms import check_rate, check_samples, is_time, resample


@dataclass(frozen=True, eq=False)
class Clip:
    """Sound and picture of one file, on one clock: 0 is where the earlier of the two starts.

    Unpacks as `waveform, frame = clip`.

    Attributes:
        waveform: `(samples,)` float32 mono, nominally in [-1, 1]; None if the file has no audio stream. Silence fills
            the time before a sound that starts late, and gaps between packets. Nothing is appended where the picture
            lasts longer than the sound.
        frame: RGB, upright, with square pixels (others are stretched); None if the file has no video stream (cover art
            is not one).
        sampling_rate: Of `waveform`, in Hz; None without one.
        frame_time: When `frame` appears, in seconds.
        duration: Of the longer of the two streams, in seconds.
        path: The source as it was given, without a URL's password; for bytes, a description such as "<1024 bytes>".
        frames: The evenly spaced frames, in order; `(frame,)` if one was asked for, empty without video.
        frame_times: When each of `frames` appears, in seconds.
    """

    waveform: np.ndarray | None
    frame: Image.Image | None
    sampling_rate: int | None
    frame_time: float | None
    duration: float
    path: str
    frames: tuple[Image.Image, ...] = ()
    frame_times: tuple[float, ...] = ()

    def __iter__(self) -> Iterator[Any]:
        yield self.waveform
        yield self.frame


def read_clip(
    path: str | Path | bytes, *, frame: str | float = "middle", sampling_rate: int | None = None, frames: int = 1
) -> Clip:
    """Read the sound and a frame of a media file (mp4, webm, mkv, m4a, wav, flac, mp3, ogg, or another FFmpeg format).

    Args:
        path: A file, an http(s) or file URL, or the file's bytes.
        frame: "middle" (on screen at half of the video), "first", or seconds: the frame that is on screen then.
        sampling_rate: Of the returned waveform, in Hz; None keeps the file's own.
        frames: With n > 1, `Clip.frames` holds the frames at the centres of n equal parts of the video. `Clip.frame`
            is still the one that `frame` names.

    Raises:
        MediaError: The file is missing, empty, corrupt or truncated, it has no stream, or a stream without a decoder;
            it is larger than `limits` allow; `frame` lies outside the video; an argument is not valid.

    A picture (JPEG, PNG, TIFF and others that are no film) is read as `load_picture` does: a frame at 0 s, no sound.
    """
    if sampling_rate is not None:
        check_rate(sampling_rate, "sampling_rate")
    if isinstance(frames, bool) or not isinstance(frames, numbers.Integral) or frames < 1:
        raise MediaError(f"frames={frames!r}: pass how many frames to take, an integer >= 1")
    if frame not in ("middle", "first") if isinstance(frame, str) else not is_time(frame):
        raise MediaError(f'frame={frame!r}: pass "middle", "first" or seconds >= 0')
    media, name = resolve(path)
    given = name if isinstance(path, (bytes, bytearray, memoryview)) else without_password(str(path))
    with about(name):
        reading = decode(media)
        if reading.warning:
            warnings.warn(f"{name}: {reading.warning}", UserWarning, stacklevel=3)
        if reading.still:
            if not isinstance(frame, str) and frame > 0:
                raise MediaError(f"frame={frame} s is past the end of a picture, which has no length")
            return _still(media, given)
        pictures = frames_at(media, reading, frame_stamps(reading, frame, frames))
        waveform, rate = reading.sound, reading.rate or None
        if waveform is not None:
            waveform = check_samples(waveform)
            if sampling_rate is not None:
                waveform, rate = resample(waveform, reading.rate, sampling_rate), int(sampling_rate)
                if not len(waveform):
                    raise MediaError(f"its sound has no sample at {sampling_rate} Hz; pass a longer one")
    if not pictures:
        return Clip(waveform, None, rate, None, reading.duration, given)
    (picture, when), *spread = pictures
    images, times = zip(*(spread or pictures))
    return Clip(waveform, picture, rate, when, reading.duration, given, images, times)


def _still(media: str | bytes, path: str) -> Clip:
    picture = load_picture(media, name="the picture")
    return Clip(None, picture, None, 0.0, 0.0, path, (picture,), (0.0,))
