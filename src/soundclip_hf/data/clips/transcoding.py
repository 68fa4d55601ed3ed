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
from .failures import KilledError, ProgramError, raise_if_not_of_the_video, raise_if_said
from .transcoding_pyav import SEEK_MARGIN, transcode
from .video_source import Encoding, Source, half_frame, size_filter, sound_filter, x264_options

# Of all timestamps in the stream. The decoding times of the first frames lie before 0, and NUT would shift everything
# by as much as they do.
LEAD_SECONDS = 10
# With which ffmpeg exits after a signal that it has handled, and a shell script after its program got SIGINT, SIGABRT,
# SIGKILL, SIGSEGV or SIGTERM.
STOPPED = (255, *(128 + number for number in (2, 6, 9, 11, 15)))


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
        OSError, MemoryError: This machine has no room for it.
        ProgramError, KilledError: It is not the video that ffmpeg fails on.
    """
    producer = _with_pyav if ffmpeg is None else _with_ffmpeg
    with producer(source, seconds, start, encoding, ffmpeg) as pipe:
        try:
            # Not the Python file: an interrupt while PyAV calls its methods would be lost, and look like the end.
            container = av.open(f"pipe:{pipe.fileno()}", "r", format="nut")
        except av.FFmpegError as error:
            raise MediaError(f"decode_error: cannot be read ({error.strerror})") from error
        with container:
            yield container


def packets(container: av.container.InputContainer) -> Iterator[Any]:
    """The packets of both streams. Errors of whoever uses them are left as they are.

    Raises:
        MediaError: "decode_error: …".
    """
    try:
        yield from container.demux(container.streams.video[0], container.streams.audio[0])
    except (av.FFmpegError, IndexError) as error:
        raise MediaError(f"decode_error: cannot be read ({getattr(error, 'strerror', error)})") from error


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
    command += ["-c:v", "libx264"]
    command += [part for name, value in x264_options(encoding).items() for part in (f"-{name}", value)]
    command += ["-threads:v", str(encoding.threads), "-fps_mode", "passthrough"]
    command += ["-enc_time_base:v", f"{source.time_base.numerator}/{source.time_base.denominator}"]
    command += ["-force_key_frames", f"expr:gte(t+{half_frame(source):.9f},n_forced*{seconds:g})"]
    command += ["-c:a", "pcm_f32le", "-output_ts_offset", str(LEAD_SECONDS), "-f", "nut", "pipe:1"]
    with tempfile.TemporaryFile() as log:
        try:
            # In a session of its own, ffmpeg does not receive a Ctrl-C; it would stop early, as at the end of a video.
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, start_new_session=True)
        except OSError as error:
            raise_if_not_of_the_video(error)
            raise ProgramError(error.errno, error.strerror, str(ffmpeg)) from error
        assert process.stdout is not None
        left, unread = b"", None
        try:
            try:
                yield process.stdout
            except MediaError as error:  # perhaps since ffmpeg ended early; it knows more
                unread = error
            left = process.stdout.read(1)
        except BaseException:
            process.kill()
            raise
        finally:
            process.stdout.close()
            if left:  # the reader has all that it needs
                process.kill()
            process.wait()
        log.seek(0)
        said = log.read().decode(errors="replace").strip().splitlines()
        if not left and (process.returncode or said):
            _explain(str(ffmpeg), process.returncode, said)
        if unread is not None:
            _check_program(str(ffmpeg))
            raise unread


def _explain(ffmpeg: str, code: int, said: list[str]) -> None:
    """Raise what ended ffmpeg early."""
    if code < 0 or (code in STOPPED and not said):
        raise KilledError(
            f"{ffmpeg} was ended by {f'signal {-code}' if code < 0 else 'a signal'}; is there enough memory?"
        )
    raise_if_said("\n".join(said))
    if code:
        _check_program(ffmpeg)
    raise MediaError(f"decode_error: ffmpeg says {said[0] if said else code!r}")


def _check_program(ffmpeg: str) -> None:
    """
    Raises:
        ProgramError: It cannot even encode a black frame.
    """
    command = [ffmpeg, "-v", "error", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", "32x32", "-i", "pipe:0"]
    command += ["-c:v", "libx264", "-f", "nut", "pipe:1"]
    tried = subprocess.run(command, input=bytes(32 * 32 * 3 // 2), capture_output=True, start_new_session=True)
    if tried.returncode or not tried.stdout:
        said = tried.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {tried.returncode}"]
        raise ProgramError(
            f"{ffmpeg}: cannot encode H.264 ({said[0]}); install another ffmpeg, or take the backend pyav"
        )


@contextmanager
def _with_pyav(source: Source, seconds: float, start: float, encoding: Encoding, ffmpeg: str | None) -> Iterator[Any]:
    reading, writing = os.pipe()
    failure: list[BaseException] = []

    def produce() -> None:
        options = {"output_ts_offset": str(LEAD_SECONDS)}
        try:
            with os.fdopen(writing, "wb") as pipe, av.open(pipe, "w", "nut", options) as container:
                transcode(source, seconds, start, encoding, container)
        except BaseException as error:  # which would end in this thread
            failure.append(error)

    thread = threading.Thread(target=produce, daemon=True)
    thread.start()
    enough, unread = False, None
    try:
        with os.fdopen(reading, "rb") as pipe:
            try:
                yield pipe
                enough = bool(pipe.read(1))
            except MediaError as error:  # perhaps since the other thread ended early; it knows more
                unread = error
    finally:
        thread.join()
    # A broken pipe alone is no failure: the reader has closed it.
    if failure and not enough and not isinstance(failure[0], BrokenPipeError):
        raise_if_not_of_the_video(failure[0])
        reason = isinstance(failure[0], (av.FFmpegError, OSError)) and failure[0].strerror
        fault = failure[0] if isinstance(failure[0], MediaError) else f"{type(failure[0]).__name__}: {failure[0]}"
        raise MediaError(f"decode_error: {reason or fault}") from failure[0]
    if unread is not None:
        raise unread


__all__ = ["LEAD_SECONDS", "check_backend", "find_ffmpeg", "packets", "transcoded"]
