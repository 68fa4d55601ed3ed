"""Reads a video's header and first frames: what is needed to decode it, and how its clips are encoded."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av

from ...media import (
    GAP_SECONDS,
    MediaError,
    bound_decoder,
    check_decoder,
    choose_streams,
    open_media,
    pixel_ratio,
    turn_of,
)

AAC_RATES = (7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
AAC_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
# Pillow's name of a turn -> FFmpeg's filter.
TURNS = {
    "ROTATE_270": "transpose=clock",
    "ROTATE_180": "hflip,vflip",
    "ROTATE_90": "transpose=cclock",
    "FLIP_LEFT_RIGHT": "hflip",
    "FLIP_TOP_BOTTOM": "vflip",
    "TRANSPOSE": "transpose=cclock_flip",
    "TRANSVERSE": "transpose=clock_flip",
}


@dataclass(frozen=True)
class Source:
    """What a file's header and first frames say.

    Attributes:
        path: Of the file.
        video, audio: Stream indices.
        origin: Seconds on the file's own clock at which the earlier of the two streams starts.
        fps: Average frame rate.
        time_base: Of the video.
        size: `(width, height)` of the upright frames.
        ratio: Width of a pixel of the upright frames by its height.
        turn: Filter that makes the frames upright; empty if they are.
        file_rate: Sampling rate of the sound, in Hz.
        rate: Of the sound that comes out: the same, or 48000 where AAC does not have it.
        layout: Of the channels that come out.
        duration: Seconds that the header declares; None if it does not.
    """

    path: str
    video: int
    audio: int
    origin: Fraction
    fps: Fraction
    time_base: Fraction
    size: tuple[int, int]
    ratio: Fraction
    turn: str
    file_rate: int
    rate: int
    layout: str
    duration: float | None


@dataclass(frozen=True)
class Encoding:
    """How clips are encoded. `max_side` limits the longer side, in pixels; None keeps the original size."""

    crf: int = 23
    preset: str = "veryfast"
    max_side: int | None = None
    threads: int = 1


def read_source(path: str | Path) -> Source:
    """Open a file and decode its first frame and first block of sound.

    Raises:
        MediaError: "no_video", "no_audio" or "decode_error" as the first word, then details.
    """
    if not Path(path).is_file():
        reason = "is a pipe or a device, which cannot be read twice; write it to a file" if Path(path).exists() else ""
        raise MediaError(f"decode_error: {reason or 'no such file'}")
    try:
        with open_media(path) as container:
            video, audio = _streams(container)
            first: dict[int, Any] = {}
            for packet in container.demux(video, audio):
                for frame in packet.decode():
                    if frame.pts is not None:
                        first.setdefault(packet.stream.index, frame)
                if len(first) == 2:
                    break
            if video.index not in first or audio.index not in first:
                raise MediaError(f"decode_error: its {'sound' if video.index in first else 'video'} cannot be decoded")
            picture, sound = first[video.index], first[audio.index]
            fps = video.average_rate or video.guessed_rate
            if not fps or not video.time_base:
                raise MediaError("decode_error: its video has no frame rate")
            channels = sound.layout.nb_channels
            turn, ratio = _turn(picture), pixel_ratio(video.sample_aspect_ratio)
            size = (picture.width, picture.height)
            return Source(
                path=str(path),
                video=video.index,
                audio=audio.index,
                origin=min(frame.pts * frame.time_base for frame in (picture, sound)),
                fps=fps,
                time_base=video.time_base,
                size=size[::-1] if "transpose" in turn else size,
                ratio=1 / ratio if "transpose" in turn else ratio,
                turn=turn,
                file_rate=sound.sample_rate,
                rate=sound.sample_rate if sound.sample_rate in AAC_RATES else 48000,
                layout=AAC_LAYOUTS.get(channels, "stereo"),
                duration=container.duration / av.time_base if container.duration else None,
            )
    except MediaError as error:
        known = str(error).partition(":")[0] in ("no_video", "no_audio", "decode_error")
        raise error if known else MediaError(f"decode_error: {error}") from error.__cause__
    except (av.FFmpegError, OSError) as error:
        raise MediaError(f"decode_error: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # of PyAV, on what nobody foresaw
        raise MediaError(f"decode_error: cannot be read ({type(error).__name__}: {error})") from error


def _streams(container: Any) -> tuple[Any, Any]:
    """The streams that are cut; their decoders are bounded as those of `media` are."""
    video, audio = choose_streams(container)
    if video is None:
        raise MediaError("no_video: has no video stream")
    if audio is None:
        raise MediaError("no_audio: has no audio stream")
    for stream in (video, audio):
        check_decoder(stream)
        bound_decoder(stream)
    return video, audio


def half_frame(source: Source) -> float:
    return 0.5 / float(source.fps)


def output_size(source: Source, encoding: Encoding) -> tuple[int, int]:
    """`(width, height)` of the clips: the source's, or scaled to `max_side`; 4:2:0 needs even numbers."""
    width, height = source.size
    scale = min(1.0, (encoding.max_side or max(width, height)) / max(width, height))
    return max(int(width * scale) // 2 * 2, 2), max(int(height * scale) // 2 * 2, 2)


def size_filter(source: Source, encoding: Encoding) -> list[str]:
    """What makes frames of the clips' size; the shape of their pixels stays."""
    width, height = output_size(source, encoding)
    ratio = [f"setsar={source.ratio.numerator}/{source.ratio.denominator}"]
    if (width, height) == source.size:
        return ratio
    # An odd row or column is cut off: scaling by one pixel would blur the whole picture.
    cut = source.size[0] - width < 2 and source.size[1] - height < 2
    return [f"crop={width}:{height}:0:0" if cut else f"scale={width}:{height}", *ratio]


def sound_filter(source: Source) -> str:
    # Silence fills holes and the time before a late sound, as `media.read_clip` does.
    resample = f"aresample={source.rate}:async=1:min_hard_comp={GAP_SECONDS}:first_pts=0"
    return f"{resample},aformat=sample_fmts=flt:channel_layouts={source.layout}"


def x264_options(encoding: Encoding) -> dict[str, str]:
    return {"preset": encoding.preset, "crf": str(encoding.crf), **_same_bytes()}


@cache
def _same_bytes() -> dict[str, str]:
    """Settings with which the same frames, encoded by the same number of threads, give the same bytes at each run.

    With its code for AVX-512, x264 gives other bytes at each run. x264 does not check whether the processor supports
    what `asm` names, so AVX2 is requested only where the processor has AVX-512.
    """
    try:
        processor = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return {}
    return {"x264-params": "asm=avx2"} if "avx512f" in processor else {}


def _turn(frame: Any) -> str:
    turn = turn_of(frame)
    return "" if turn is None else TURNS[turn.name]


__all__ = [
    "Encoding",
    "Source",
    "half_frame",
    "output_size",
    "read_source",
    "size_filter",
    "sound_filter",
    "x264_options",
]
