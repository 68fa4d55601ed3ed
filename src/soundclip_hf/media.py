"""Media files, URLs, bytes and arrays in; a mono float32 waveform at the asked rate and an upright RGB frame out.

PyAV decodes and soxr resamples; a decoder is opened inside each call and closed before it returns, so nothing is
inherited over a fork.
"""

from __future__ import annotations

import http.client
import io
import math
import numbers
import sys
import urllib.error
import urllib.parse
import urllib.request
import warnings
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.container
import av.stream
import numpy as np
import soxr
from av.sidedata.sidedata import Type
from PIL import Image

# Tags are often in other encodings than UTF-8. From PyAV 19 on they are never an error, and the argument is gone.
_FOREIGN_TAGS: dict[str, Any] = {"metadata_errors": "ignore"} if int(av.__version__.split(".")[0]) < 19 else {}
# Files that begin so are read as what they are. FFmpeg guesses by what follows as well, and may take plain samples for
# another container: FFmpeg 9 a wav for MPEG-TS, where a byte of 0x47 comes again and again.
_BEGINNINGS = (
    (b"RIFF", b"WAVE", "wav"),
    (b"RF64", b"WAVE", "wav"),
    (b"FORM", b"AIFF", "aiff"),
    (b"FORM", b"AIFC", "aiff"),
    (b"caff", b"", "caf"),
    (b".snd", b"", "au"),
)
URL_TIMEOUT_SECONDS = 30.0
MAX_CHANNELS = 64
# Lossy codecs overshoot 1.0 a little; samples in int16 units pass this even when the sound is very quiet.
MAX_FLOAT_PEAK = 32.0
# Smaller holes between packets are rounding of timestamps, not missing sound.
GAP_SECONDS, MAX_GAP_SECONDS = 0.02, 3600.0
TRUNCATION_SECONDS = 0.5
# Containers that write their duration down; the others only have FFmpeg's estimate.
DECLARES_DURATION = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "flac", "wav"}
# With this many planes PyAV 18.1 reads past the end of FFmpeg's array of plane pointers, and crashes.
PLANES = 8
INTEGER_SAMPLES = {"uint8": (128, 2**7), "int16": (0, 2**15), "int32": (0, 2**31)}  # zero level, full scale
# (a, b, c, d) of x' = ax + cy, y' = bx + dy, y pointing down, as MP4 and FFmpeg store it.
UPRIGHT = {
    (0, 1, -1, 0): Image.Transpose.ROTATE_270,
    (-1, 0, 0, -1): Image.Transpose.ROTATE_180,
    (0, -1, 1, 0): Image.Transpose.ROTATE_90,
    (-1, 0, 0, 1): Image.Transpose.FLIP_LEFT_RIGHT,
    (1, 0, 0, -1): Image.Transpose.FLIP_TOP_BOTTOM,
    (0, 1, 1, 0): Image.Transpose.TRANSPOSE,
    (0, -1, -1, 0): Image.Transpose.TRANSVERSE,
}


class MediaError(ValueError):
    """Unusable media; the message names the source, what is wrong with it, and the fix."""


@dataclass(frozen=True, eq=False)
class Clip:
    """Sound and picture of one file, on one clock: 0 is where the earlier of the two starts.

    Unpacks as `waveform, frame = clip`.

    Attributes:
        waveform: `(samples,)` float32 mono, nominally in [-1, 1]; None if the file has no audio stream. Silence fills
            the time before a late sound and holes between packets; nothing is appended where the picture lasts longer.
        frame: RGB, upright; None if the file has no video stream (cover art is none).
        sampling_rate: Of `waveform`, in Hz; None without one.
        frame_time: Seconds at which `frame` comes on.
        duration: Seconds, of the longer of the two streams.
        path: The source as given; bytes are described.
        frames: The evenly spaced frames, in order; `(frame,)` if one was asked for, empty without video.
        frame_times: Seconds at which each of `frames` comes on.
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
    """Read the sound and a frame of a media file (mp4, webm, mkv, m4a, wav, flac, mp3, ogg and what else FFmpeg reads).

    Args:
        path: A file, an http(s) or file URL, or the file's bytes.
        frame: "middle" (on screen at half of the video), "first", or seconds: the frame that is on screen then.
        sampling_rate: Of the waveform, in Hz; None keeps the file's.
        frames: With n > 1, `Clip.frames` holds the frames at the centres of n equal parts of the video. `Clip.frame`
            stays the one that `frame` names.

    Raises:
        MediaError: A missing, empty, corrupt or truncated file, no stream, a time outside the video, a bad argument.
    """
    if sampling_rate is not None:
        _check_rate(sampling_rate, "sampling_rate")
    if isinstance(frames, bool) or not isinstance(frames, numbers.Integral) or frames < 1:
        raise MediaError(f"frames={frames!r}: pass how many frames to take, an integer >= 1")
    if frame not in ("middle", "first") if isinstance(frame, str) else not _is_time(frame):
        raise MediaError(f'frame={frame!r}: pass "middle", "first" or seconds >= 0')
    media, name = _resolve(path)
    with _about(name):
        reading = _read(media)
        pictures = _pictures(media, reading, _targets(reading, frame, frames))
        waveform, rate = reading.sound, reading.rate or None
        if waveform is not None:
            waveform = _checked(waveform)
            if sampling_rate is not None:
                waveform, rate = resample(waveform, reading.rate, sampling_rate), int(sampling_rate)
    if not pictures:
        return Clip(waveform, None, rate, None, reading.duration, name)
    (picture, when), *spread = pictures
    images, times = zip(*(spread or pictures))
    return Clip(waveform, picture, rate, when, reading.duration, name, images, times)


def load_sound(source: Any, *, sampling_rate: int, source_rate: int | None = None) -> np.ndarray:
    """Turn any of the accepted kinds of sound into one mono waveform.

    Args:
        source: A file path, an http(s) or file URL, a file's bytes; a NumPy array, list or torch tensor with
            `source_rate`; an `(array, rate)` or `(rate, array)` tuple; a datasets-style dict (`array` and
            `sampling_rate`, or `bytes` and/or `path`); a torchcodec `AudioDecoder`, also datasets' own. Arrays as in
            `to_mono`.
        sampling_rate: Of the result, in Hz.
        source_rate: Of a bare array, list or tensor, in Hz. Every other source knows its own rate, which counts.

    Returns:
        `(samples,)` float32, nominally in [-1, 1]: slight overshoot, as lossy codecs make it, is kept. May share memory
        with `source` if nothing had to change. All zeros are allowed, with a `UserWarning`.

    Raises:
        MediaError: Anything that cannot be read as sound: file errors as in `read_clip`, no audio stream, a missing or
            bad rate, no samples, NaN or Inf, an unsupported type, dtype or shape, samples beyond any float scale.
    """
    rate = _check_rate(sampling_rate, "sampling_rate")
    name, waveform, own_rate = _waveform(source, source_rate)
    if not waveform.any():
        warnings.warn(f"{name}: all {len(waveform)} samples are zero: a silent sound", UserWarning, stacklevel=2)
    heard = resample(waveform, own_rate, rate)
    if not len(heard):
        raise MediaError(f"{name}: {len(waveform)} samples at {own_rate} Hz are none at {rate} Hz; pass a longer sound")
    return heard


def to_mono(samples: np.ndarray) -> np.ndarray:
    """Scale to float32 and average the channels.

    Args:
        samples: `(samples,)`, `(channels, samples)` or `(samples, channels)`: the shorter axis is the channels (at most
            64). Float in [-1, 1]; int16 and int32 are divided by 2**15 and 2**31, uint8 is centred on 128.

    Returns:
        `(samples,)` float32; shares memory with a 1-d float32 input.

    Raises:
        MediaError: Another dtype; another shape; as many channels as samples, where the layout cannot be told.
    """
    if samples.ndim not in (1, 2):
        raise MediaError(f"sound of shape {samples.shape}: pass one sound, (samples,) or (channels, samples)")
    if samples.ndim == 1:
        return _mix(samples[None])
    few, many = sorted(samples.shape)
    if few == many > 1:
        raise MediaError(f"sound of shape {samples.shape}: channels and samples cannot be told apart; pass (samples,)")
    if few > MAX_CHANNELS:
        raise MediaError(f"sound of shape {samples.shape}: more than {MAX_CHANNELS} channels; pass (channels, samples)")
    return _mix(samples if samples.shape[0] == few else samples.T)


def resample(waveform: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """`(samples,)` at `rate` Hz to `(round(samples * new_rate / rate),)` at `new_rate`; equal rates change nothing."""
    return waveform if rate == new_rate else soxr.resample(waveform, rate, new_rate, quality="HQ")


def split_windows(waveform: np.ndarray, sampling_rate: int, seconds: float = 3.0) -> list[np.ndarray]:
    """Cut a sound into windows of exactly `seconds` that cover all of it.

    They follow each other without overlap; the last one ends where the sound ends, and so overlaps its neighbour
    instead of being short. A sound shorter than one window is its only, shorter, window.

    Args:
        waveform: `(samples,)`.
        sampling_rate: In Hz.

    Returns:
        Views of `waveform`, in order.
    """
    rate = _check_rate(sampling_rate, "sampling_rate")
    if not _is_time(seconds) or round(seconds * rate) < 1:
        raise MediaError(f"seconds={seconds!r}: pass a window length of at least one sample")
    size, total = round(seconds * rate), len(waveform)
    if waveform.ndim != 1 or not total:
        raise MediaError(f"sound of shape {waveform.shape}: pass one mono sound, (samples,), that is not empty")
    starts = [min(start, max(total - size, 0)) for start in range(0, total, size)]
    return [waveform[start : start + size] for start in starts]


def _waveform(source: Any, rate: Any) -> tuple[str, np.ndarray, int]:
    """`(name for messages, waveform, its rate)` of any accepted source; `rate` is that of a bare array."""
    if isinstance(source, dict):
        content = next((source[key] for key in ("array", "bytes", "path") if source.get(key) is not None), None)
        if content is None:
            raise MediaError(f"sound dict with keys {list(source)}: needs array and sampling_rate, bytes, or path")
        return _waveform(content, source.get("sampling_rate"))
    if isinstance(source, tuple) and sum(isinstance(part, numbers.Number) for part in source) == 1 == len(source) - 1:
        rate, samples = source if isinstance(source[0], numbers.Number) else source[::-1]
        return _waveform(samples, rate)
    if isinstance(source, (str, Path, bytes, bytearray, memoryview)):
        media, name = _resolve(source)
        with _about(name):
            reading = _read(media)
            if reading.sound is None:
                raise MediaError("has no audio stream; pass a file with sound, or use its frame alone")
            return name, _checked(reading.sound), reading.rate
    if callable(getattr(source, "get_all_samples", None)):
        name = f"sound decoder {type(source).__name__}"
        with _about(name):
            try:
                decoded = source.get_all_samples()
            except (RuntimeError, ValueError, OSError) as error:
                raise MediaError(f"cannot be decoded ({error}); check the file behind it") from error
            channels = np.atleast_2d(decoded.data.cpu().numpy())
            return name, _checked(_mix(channels)), _check_rate(decoded.sample_rate, "sample_rate")
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
    with _about(name):
        if rate is None:
            raise MediaError("its sampling rate is missing; pass it, in Hz, with the array")
        return name, _checked(to_mono(array)), _check_rate(rate, "sampling rate")


def _resolve(source: str | Path | bytes | bytearray | memoryview) -> tuple[str | bytes, str]:
    """`(local path or content, name for messages)`; fetches URLs."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        media, name = bytes(source), f"<{len(source)} bytes>"
    else:
        name = str(source)
        scheme = name.partition("://")[0].lower() if "://" in name and isinstance(source, str) else "file"
        if scheme in ("http", "https"):
            media = _fetch(name)
        elif scheme == "file":
            path = Path(urllib.parse.unquote(name[7:]) if name[:7].lower() == "file://" else name).expanduser()
            if path.is_dir() or not path.exists():
                raise MediaError(f"{name}: {'is a folder' if path.is_dir() else 'no such file'}; pass a media file")
            if path.stat().st_size:
                return str(path), name
            media = b""
        else:
            raise MediaError(f"{name}: {scheme}:// is not supported; pass a file, an http(s) URL or bytes")
    if not media:
        raise MediaError(f"{name}: is empty (0 bytes); fetch or write it again")
    return media, name


def _fetch(url: str) -> bytes:
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "soundclip-hf"})
        with urllib.request.urlopen(request, timeout=URL_TIMEOUT_SECONDS) as response:
            return response.read()
    except urllib.error.HTTPError as error:
        raise MediaError(f"{url}: the server answered {error.code} {error.reason}; check the address") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            reason = f"no answer within {URL_TIMEOUT_SECONDS:g} s"
        raise MediaError(f"{url}: cannot be fetched ({reason}); check the address and the network") from error


@contextmanager
def _about(name: str) -> Iterator[None]:
    """Put the source's name in front of what goes wrong with it."""
    try:
        yield
    except MediaError as error:
        raise MediaError(f"{name}: {error}") from error.__cause__
    except av.FFmpegError as error:
        raise MediaError(f"{name}: cannot be read ({error.strerror}); it is corrupt, truncated or not media") from error


@dataclass
class _Sound:
    """Decoded mono blocks of one audio stream, on the file's own clock."""

    samples: bytearray = field(default_factory=bytearray)  # float32; grows in place: one copy, however long the sound
    rate: int = 0
    start: float = 0.0
    block: int = 0  # samples in the last block
    packer: av.AudioResampler | None = None

    def __len__(self) -> int:
        return len(self.samples) // 4

    def add(self, block: av.AudioFrame) -> None:
        if not self.samples:
            self.rate, self.start = block.sample_rate, block.time or 0.0
        elif block.sample_rate != self.rate:
            raise MediaError(
                f"its sampling rate changes from {self.rate} to {block.sample_rate} Hz; encode it again at one rate"
            )
        elif block.time is not None:
            hole = block.time - self.start - len(self) / self.rate
            if hole > MAX_GAP_SECONDS:
                raise MediaError(f"the timestamps of its sound jump by {hole:.0f} s; remux or encode it again")
            if hole > GAP_SECONDS:
                self.samples += bytes(4 * round(hole * self.rate))
        count, samples = block.layout.nb_channels, block.samples
        if block.format.is_planar and count >= PLANES:
            self.packer = self.packer or av.AudioResampler(block.format.packed, block.layout, block.sample_rate)
            (block,) = self.packer.resample(block)
        values = block.to_ndarray()  # (channels, samples) if planar, otherwise (1, samples * channels) interleaved
        channels = values if block.format.is_planar else values.reshape(-1, count).T
        self.samples += _mix(channels).tobytes()
        self.block = samples

    def finish(self, end: float, start: float) -> np.ndarray:
        """The waveform, without what only fills the encoder's last block after `end`, led by silence from `start`."""
        padding = len(self) - round((end - self.start) * self.rate)
        if 0 < padding < self.block:
            del self.samples[-4 * padding :]
        self.samples[:0] = bytes(4 * round((self.start - start) * self.rate))
        return np.frombuffer(self.samples, np.float32)


@dataclass
class _Reading:
    """A file's sound and the timetable of its frames; stamps are ticks of `time_base` on the file's own clock."""

    sound: np.ndarray | None = None
    rate: int = 0
    start: float = 0.0  # of the clip, in seconds of the file's own clock
    duration: float = 0.0
    video: int = -1  # stream index
    time_base: Fraction = Fraction(1)
    stamps: list[int] = field(default_factory=list)  # of all frames, ascending, and those of the keyframes
    keys: list[int] = field(default_factory=list)
    end: int = 0

    def seconds(self, stamp: int) -> float:
        return float(stamp * self.time_base) - self.start


def open_media(media: str | Path | bytes) -> av.container.InputContainer:
    """
    Open a media file, or its bytes, for reading.

    Raises:
        av.FFmpegError: It is no media file, or cannot be read.
    """
    # "file:" keeps FFmpeg from reading a name with a colon as a protocol.
    target = io.BytesIO(media) if isinstance(media, bytes) else f"file:{media}"
    return av.open(target, "r", format=_container_of(media), **_FOREIGN_TAGS)


def _container_of(media: str | Path | bytes) -> str | None:
    head = b""
    if isinstance(media, bytes):
        head = media[:12]
    elif Path(media).is_file():  # of a pipe, what is read here would be missing
        with Path(media).open("rb") as file:
            head = file.read(12)
    return next((name for start, kind, name in _BEGINNINGS if head[:4] == start and head[8:12].startswith(kind)), None)


def _open(media: str | bytes) -> av.container.InputContainer:
    container = open_media(media)
    for stream in (*container.streams.video, *container.streams.audio):
        # A decoder with threads of its own that is collected in a forked process waits for ever for threads that did
        # not come along.
        stream.codec_context.thread_count = 1
    return container


def _read(media: str | bytes) -> _Reading:
    """Decode the sound, and list the frames without decoding them: no declared duration has to be trusted."""
    reading, sound = _Reading(), _Sound()
    ends: dict[int, float] = {}
    with _open(media) as container:
        covers = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
        video = next((stream for stream in container.streams.video if not stream.disposition & covers), None)
        audio: Any = container.streams.best("audio")
        if video is None and audio is None:
            raise MediaError("has neither an audio nor a video stream; pass a media file")
        try:
            for packet in container.demux():
                stream: Any = packet.stream
                if audio is not None and stream is audio:
                    for block in audio.decode(packet):
                        sound.add(block)
                stamp = packet.dts if packet.pts is None else packet.pts
                if stamp is None:  # the packet that flushes a decoder
                    continue
                end = stamp + (packet.duration or 0)
                ends[stream.index] = max(ends.get(stream.index, 0.0), float(end * stream.time_base))
                if stream is video and not packet.is_discard:
                    reading.stamps.append(stamp)
                    reading.keys += [stamp] * packet.is_keyframe
                    reading.end = max(reading.end, end)
        except av.FFmpegError as error:
            reached, whole = max(ends.values(), default=0.0), (container.duration or 0) / av.time_base
            raise MediaError(
                f"decoding fails at {reached:.2f} of {whole:.2f} s ({error.strerror}); it is truncated or corrupt: "
                "fetch or encode it again"
            ) from error
        _check_complete(container, [stream for stream in (audio, video) if stream is not None], ends)
        starts = [sound.start] if sound.samples else []
        if video is not None and reading.stamps:
            reading.video, reading.time_base = video.index, video.time_base or Fraction(1, av.time_base)
            reading.stamps.sort()
            reading.keys.sort()
            first, last = reading.stamps[0], reading.stamps[-1]
            if reading.end == last:  # no duration: the last frame stays for as long as the average one
                reading.end += (last - first) // max(len(reading.stamps) - 1, 1) or 1
            starts.append(float(first * reading.time_base))
        reading.start = min(starts, default=0.0)
        if audio is not None:
            # A clock coarser than a sample, as in Matroska, cannot tell where the sound ends.
            coarse = audio.time_base * sound.rate > 1
            heard = sound.start + len(sound) / (sound.rate or 1) if coarse else ends.get(audio.index, 0.0)
            reading.sound = sound.finish(heard, reading.start)
            reading.rate = sound.rate
            reading.duration = len(sound) / (sound.rate or 1)
        if reading.stamps:
            reading.duration = max(reading.duration, reading.seconds(reading.end))
    return reading


def _check_complete(container: Any, streams: list[Any], ends: dict[int, float]) -> None:
    """Raise if the packets end well before the file says: FFmpeg takes a file cut between packets for a short one."""
    if container.format.name not in DECLARES_DURATION:
        return
    spans = [(float(s.duration * s.time_base), ends.get(s.index, 0.0)) for s in streams if s.duration]
    for declared, reached in spans or [((container.duration or 0) / av.time_base, max(ends.values(), default=0.0))]:
        if reached < declared - TRUNCATION_SECONDS:
            raise MediaError(f"truncated at {reached:.2f} of {declared:.2f} s; fetch or write it again")


def _targets(reading: _Reading, frame: str | float, frames: int) -> list[int]:
    """Stamps of the frame that is asked for and, if there are several, of the evenly spaced ones."""
    if not reading.stamps:
        return []
    first, length = reading.stamps[0], reading.end - reading.stamps[0]
    if isinstance(frame, str):
        moments = [first + length / 2 if frame == "middle" else first]
    else:
        # Stamps are rounded to ticks, of 1 ms in Matroska: 1/3 s is called 0.333 there.
        slack = min(0.5, 0.0005 / float(reading.time_base))
        moments = [(frame + reading.start) / float(reading.time_base) + slack]
        if moments[0] > reading.end + 2 * slack:
            raise MediaError(f"frame={frame} s is past the end of its video, {reading.seconds(reading.end):.3f} s")
    if frames > 1:
        moments += [first + length * (2 * part + 1) / (2 * frames) for part in range(frames)]
    return [reading.stamps[max(bisect_right(reading.stamps, moment) - 1, 0)] for moment in moments]


def _pictures(
    media: str | bytes, reading: _Reading, targets: list[int], seek: bool = True
) -> list[tuple[Image.Image, float]]:
    """`(image, seconds)` per target stamp, decoding from the keyframe before it and no further than needed."""
    shown: dict[int, tuple[Image.Image, float]] = {}
    if not targets:
        return []
    with _open(media) as container:
        stream = next(s for s in container.streams.video if s.index == reading.video)
        frames, current, ahead = container.decode(stream), None, None
        for target in sorted(set(targets)):
            key = reading.keys[max(bisect_right(reading.keys, target) - 1, 0)] if reading.keys else reading.stamps[0]
            if seek and (current is None or _stamp(ahead or current) < key):
                try:
                    container.seek(key, stream=stream)
                except av.FFmpegError:  # not every format can
                    return _pictures(media, reading, targets, seek=False)
                frames, current, ahead = container.decode(stream), None, None
            while current is None or _stamp(current) < target:
                ahead = ahead or next(frames, None)
                if ahead is None or (current is not None and _stamp(ahead) > target):
                    break
                current, ahead = ahead, None
            if seek and (current is None or _stamp(current) > target):  # the file's index led past the target
                return _pictures(media, reading, targets, seek=False)
            if current is None:
                raise MediaError("its video cannot be decoded; encode it again")
            shown[target] = _upright(current), reading.seconds(_stamp(current))
    return [shown[target] for target in targets]


def _stamp(frame: av.VideoFrame) -> int:
    return frame.pts if frame.pts is not None else frame.dts or 0


def _upright(frame: av.VideoFrame) -> Image.Image:
    image = frame.to_image(threads=1)
    side_data: Any = frame.side_data
    matrix = side_data.get(Type.DISPLAYMATRIX)
    if matrix is None:
        return image
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5] / 2**16
    turn = UPRIGHT.get((round(a), round(b), round(c), round(d)))
    return image if turn is None else image.transpose(turn)


def _mix(channels: np.ndarray) -> np.ndarray:
    """`(channels, samples)` of any accepted dtype to `(samples,)` float32."""
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
    # Channel by channel, so that the order of the additions does not depend on the memory layout.
    for channel in channels[1:]:
        mono = mono + scaled(channel)
    return mono if len(channels) == 1 else mono / np.float32(len(channels))


def _checked(waveform: np.ndarray) -> np.ndarray:
    if not len(waveform):
        raise MediaError("the sound is empty (0 samples); pass at least one sample")
    low, high = float(waveform.min()), float(waveform.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        bad = np.flatnonzero(~np.isfinite(waveform))
        raise MediaError(
            f"{len(bad)} of {len(waveform)} samples are NaN or Inf, the first at index {bad[0]}; "
            "repair or drop this sound"
        )
    if (peak := max(-low, high)) > MAX_FLOAT_PEAK:
        raise MediaError(
            f"samples reach {peak:g}, but float sound lies in [-1, 1]; it looks like int16 units: "
            "divide by 32768 or pass the integer array"
        )
    return waveform


def _check_rate(rate: Any, what: str) -> int:
    if isinstance(rate, (bool, np.bool_)) or not isinstance(rate, numbers.Integral) or rate <= 0:
        raise MediaError(f"{what}={rate!r}: pass a positive integer, in Hz, such as 16000")
    return int(rate)


def _is_time(seconds: Any) -> bool:
    return isinstance(seconds, numbers.Real) and not isinstance(seconds, bool) and 0 <= float(seconds) < math.inf
