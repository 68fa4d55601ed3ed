"""Transcodes a video to one stream of H.264 and PCM, with a keyframe wherever a clip begins.

The file is decoded and encoded once, by ffmpeg or by PyAV, into a NUT stream on a pipe: exact timestamps that start at
the asked moment, frames upright and of even size, sound without gaps.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import av

from ...media import FORMAT_WHITELIST, PROTOCOL_WHITELIST, MediaError
from .transcoding_pyav import SEEK_MARGIN, transcode
from .video_source import Encoding, Source, half_frame, size_filter, sound_filter

# Of all timestamps in the stream. The decoding times of the first frames lie before 0, and NUT would shift everything
# by as much as they do.
LEAD_SECONDS = 10


def find_ffmpeg() -> str | None:
    """The ffmpeg on PATH, if any."""
    return shutil.which("ffmpeg")


def check_backend(backend: str) -> None:
    """
    Raises:
        ValueError: It is "ffmpeg", and there is none. "auto" and "pyav" need none: PyAV brings its own libraries.
    """
    if backend == "ffmpeg" and find_ffmpeg() is None:
        raise ValueError(
            'backend "ffmpeg": there is no ffmpeg on PATH; install it (apt install ffmpeg, conda install ffmpeg), or '
            'take "pyav", which needs none'
        )


@contextmanager
def transcoded(
    source: Source, seconds: float, start: float, encoding: Encoding, ffmpeg: str | None
) -> Iterator[av.container.InputContainer]:
    """The NUT stream: time `LEAD_SECONDS` is `start` seconds after the source's origin, and nothing comes before it.

    Leaving early stops the work. What went wrong is raised at the end.

    Args:
        seconds: Length of a clip; the first frame of each is a keyframe. A frame belongs to the clip whose start it is
            nearest to, or after: half a frame before a boundary counts as on it.
        ffmpeg: The program; None for PyAV.

    Raises:
        MediaError: "decode_error: …".
    """
    producer = _with_pyav if ffmpeg is None else _with_ffmpeg
    with producer(source, seconds, start, encoding, ffmpeg) as pipe:
        try:
            with av.open(pipe, "r", format="nut") as container:
                yield container
        except av.FFmpegError as error:
            raise MediaError(f"decode_error: cannot be read ({error.strerror})") from error


@contextmanager
def _with_ffmpeg(source: Source, seconds: float, start: float, encoding: Encoding, ffmpeg: str | None) -> Iterator[Any]:
    zero = source.origin + Fraction(start)
    # ffmpeg turns frames upright by itself, before the first filter.
    pictures = [f"setpts=PTS-({round(zero / source.time_base)})", f"select=gte(t\\,{-half_frame(source):.9f})"]
    sound = [f"asetpts=PTS-({round(zero * source.file_rate)})", sound_filter(source)]
    graph = f"[0:{source.video}]{','.join([*pictures, *size_filter(source, encoding), 'format=yuv420p'])}[v];"
    graph += f"[0:{source.audio}]{','.join(sound)}[a]"
    command = [str(ffmpeg), "-nostdin", "-v", "error", "-copyts", "-threads", str(encoding.threads)]
    command += ["-ss", f"{float(zero) - SEEK_MARGIN:.6f}"] if start > SEEK_MARGIN else []
    command += ["-format_whitelist", FORMAT_WHITELIST, "-protocol_whitelist", PROTOCOL_WHITELIST]
    command += ["-i", f"file:{source.path}", "-filter_complex", graph, "-map", "[v]", "-map", "[a]"]
    command += ["-c:v", "libx264", "-preset", encoding.preset, "-crf", str(encoding.crf)]
    command += ["-threads:v", str(encoding.threads), "-fps_mode", "passthrough"]
    command += ["-enc_time_base:v", f"{source.time_base.numerator}/{source.time_base.denominator}"]
    command += ["-force_key_frames", f"expr:gte(t+{half_frame(source):.9f},n_forced*{seconds:g})"]
    command += ["-c:a", "pcm_f32le", "-output_ts_offset", str(LEAD_SECONDS), "-f", "nut", "pipe:1"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
        assert process.stdout is not None
        try:
            yield process.stdout
        except BaseException:
            process.kill()
            raise
        finally:
            left = process.stdout.read(1)
            process.stdout.close()
            if left:  # whoever reads has enough
                process.kill()
            process.wait()
        log.seek(0)
        said = log.read().decode(errors="replace").strip().splitlines()
        if not left and (process.returncode or said):
            raise MediaError(f"decode_error: ffmpeg says {said[0] if said else process.returncode!r}")


@contextmanager
def _with_pyav(source: Source, seconds: float, start: float, encoding: Encoding, ffmpeg: str | None) -> Iterator[Any]:
    reading, writing = os.pipe()
    failure: list[BaseException] = []

    def produce() -> None:
        options = {"output_ts_offset": str(LEAD_SECONDS)}
        try:
            with os.fdopen(writing, "wb") as pipe, av.open(pipe, "w", "nut", options) as container:
                transcode(source, seconds, start, encoding, container)
        except (av.FFmpegError, MediaError, OSError) as error:
            failure.append(error)

    thread = threading.Thread(target=produce, daemon=True)
    thread.start()
    enough = False
    try:
        with os.fdopen(reading, "rb") as pipe:
            yield pipe
            enough = bool(pipe.read(1))
    finally:
        thread.join()
        # Where the reader stopped with an error, as on a full disk, the pipe broke for that reason, and no other.
        if failure and not enough and not isinstance(failure[0], BrokenPipeError):
            reason = failure[0].strerror if isinstance(failure[0], av.FFmpegError) else failure[0]
            raise MediaError(f"decode_error: {reason}")


__all__ = ["LEAD_SECONDS", "check_backend", "find_ffmpeg", "transcoded"]
