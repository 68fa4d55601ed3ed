"""Reads media files, URLs, bytes and arrays as mono float32 waveforms and upright RGB pictures.

PyAV decodes and soxr resamples. Each call opens its decoder and closes it before it returns, so that a forked process
inherits none.
"""

from .clips import Clip, read_clip
from .errors import MediaError, about, shown
from .frames import pixel_ratio, turn_of
from .limits import (
    GAP_SECONDS,
    MAX_CHANNELS,
    MAX_FLOAT_PEAK,
    MAX_GAP_SECONDS,
    MAX_PICTURE_PIXELS,
    TRUNCATION_SECONDS,
    URL_TIMEOUT_SECONDS,
)
from .opening import FORMAT_WHITELIST, PROTOCOL_WHITELIST, bound_decoder, check_decoder, choose_streams, open_media
from .pictures import load_picture, load_pictures
from .sounds import load_sound, warn_of_silence
from .sources import check_source, local_videos
from .urls import typed_by_user, without_password
from .waveforms import resample, split_windows, to_mono

__all__ = [
    "FORMAT_WHITELIST",
    "GAP_SECONDS",
    "MAX_CHANNELS",
    "MAX_FLOAT_PEAK",
    "MAX_GAP_SECONDS",
    "MAX_PICTURE_PIXELS",
    "PROTOCOL_WHITELIST",
    "TRUNCATION_SECONDS",
    "URL_TIMEOUT_SECONDS",
    "Clip",
    "MediaError",
    "about",
    "bound_decoder",
    "check_decoder",
    "check_source",
    "choose_streams",
    "load_picture",
    "load_pictures",
    "load_sound",
    "local_videos",
    "open_media",
    "pixel_ratio",
    "read_clip",
    "resample",
    "shown",
    "split_windows",
    "to_mono",
    "turn_of",
    "typed_by_user",
    "warn_of_silence",
    "without_password",
]
