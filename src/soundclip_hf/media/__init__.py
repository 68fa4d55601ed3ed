"""Reads media files, URLs, bytes and arrays as mono float32 waveforms and upright RGB pictures.

PyAV decodes and soxr resamples. Each call opens its decoder and closes it before it returns, so that a forked process
inherits none.
"""

from .clips import Clip, read_clip
from .errors import MediaError
from .frames import UPRIGHT
from .limits import (
    GAP_SECONDS,
    MAX_CHANNELS,
    MAX_FLOAT_PEAK,
    MAX_GAP_SECONDS,
    MAX_PICTURE_PIXELS,
    TRUNCATION_SECONDS,
    URL_TIMEOUT_SECONDS,
)
from .opening import open_media
from .pictures import load_picture, load_pictures
from .sounds import load_sound
from .waveforms import resample, split_windows, to_mono

__all__ = [
    "GAP_SECONDS",
    "MAX_CHANNELS",
    "MAX_FLOAT_PEAK",
    "MAX_GAP_SECONDS",
    "MAX_PICTURE_PIXELS",
    "TRUNCATION_SECONDS",
    "UPRIGHT",
    "URL_TIMEOUT_SECONDS",
    "Clip",
    "MediaError",
    "load_picture",
    "load_pictures",
    "load_sound",
    "open_media",
    "read_clip",
    "resample",
    "split_windows",
    "to_mono",
]
