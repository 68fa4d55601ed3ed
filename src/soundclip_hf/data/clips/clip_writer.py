"""Writes one mp4 file for each clip of a stream: packets of video are copied, sound is cut to the sample."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from ...files import partial_name, sha256

# Below this root mean square a clip counts as silent: -80 dB of full scale, under the noise floor of 16-bit recordings
# that were made with any microphone.
SILENCE_RMS = 1e-4
MIN_FRAMES_SHARE = 0.9
AUDIO_BIT_RATE = 128_000
# The default coder took 2.5 of 7 CPU seconds for 20 clips of stereo noise at 320x240, this one 0.7 of 5.
AAC_OPTIONS = {"aac_coder": "fast"}


class ClipError(ValueError):
    """A clip that is not kept; `reason` is "too_short", "silent" or "decode_error"."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True)
class Written:
    """A finished clip.

    Attributes:
        sha256: Of the file.
        bytes: Its size.
        frames: Number of frames.
        width, height: In pixels.
        samples: Of sound, per channel: exactly the clip's length times `sampling_rate`.
        sampling_rate: In Hz.
        rms: Root mean square of the sound, in [0, 1].
    """

    sha256: str
    bytes: int
    frames: int
    width: int
    height: int
    samples: int
    sampling_rate: int
    rms: float


class ClipWriter:
    """One clip on its way to a file that appears, whole, at `path` when it is finished.

    Args:
        path: Of the mp4 file.
        video: Stream of H.264 packets that are copied.
        rate: Of the sound, in Hz.
        layout: Of its channels.
        seconds: Length of the clip.
        fps: Of the video.
    """

    def __init__(self, path: Path, video: Any, rate: int, layout: str, seconds: float, fps: Fraction) -> None:
        self.path, self.rate, self.seconds, self.fps = path, rate, seconds, fps
        self.partial = partial_name(path)
        self.wanted = round(seconds * rate)
        self.sound = np.zeros((av.AudioLayout(layout).nb_channels, self.wanted), np.float32)
        self.heard = self.frames = 0
        self.first: int | None = None
        self.undated: list[Any] = []
        self.end = 0.0  # seconds, of the last frame
        self.fault = ""
        with self._writing():
            # With "file:" in front, FFmpeg does not take a name with a colon for a protocol.
            target = f"file:{self.partial}"
            self.container = av.open(target, "w", format="mp4", options={"movflags": "+faststart"})
            self.video = self.container.add_stream_from_template(video)
            self.audio: Any = self.container.add_stream("aac", rate=rate, layout=layout, options=AAC_OPTIONS)
            self.audio.bit_rate = AUDIO_BIT_RATE * max(1, len(self.sound) // 2)
        self.size = (video.codec_context.width, video.codec_context.height)

    def show(self, packet: Any) -> None:
        """Append a video packet, in decoding order; the first must be a keyframe."""
        if self.first is None:
            self.first = packet.pts
            if not packet.is_keyframe:
                self.fault = "its first frame is no keyframe"
        assert self.first is not None
        packet.pts -= self.first
        length = packet.duration or round(1 / (self.fps * packet.time_base))
        self.frames += 1
        self.end = max(self.end, float((packet.pts + length) * packet.time_base))
        packet.stream = self.video
        if packet.dts is None:
            self.undated.append(packet)
            return
        packet.dts -= self.first
        # NUT does not say when the frames before the first one that is shown in order are decoded.
        for earlier, undated in enumerate(reversed(self.undated), 1):
            undated.dts = packet.dts - earlier * length
        self._mux([*self.undated, packet])
        self.undated = []

    def hear(self, block: np.ndarray) -> None:
        """Append `(channels, samples)` float32; what goes beyond the clip is an error of the caller."""
        self.sound[:, self.heard : self.heard + block.shape[1]] = block
        self.heard += block.shape[1]

    def finish(self) -> Written:
        """Write the sound, check the clip, and give it its name.

        Up to one frame may be missing at the end of a video; that much sound is filled with silence.

        Raises:
            ClipError: The clip is not kept, and no file is left.
        """
        try:
            self._check()
            self._write_sound()
            with self._writing():
                self.container.close()
            found = sha256(self.partial), self.partial.stat().st_size
            os.replace(self.partial, self.path)
        finally:
            self.discard()
        return Written(*found, self.frames, *self.size, self.wanted, self.rate, self.rms)

    def discard(self) -> None:
        """Close and remove what is not finished."""
        with contextlib.suppress(av.FFmpegError, OSError):
            self.container.close()
        with contextlib.suppress(OSError):  # as the folder is gone: the error that brought us here says so
            self.partial.unlink(missing_ok=True)

    @property
    def rms(self) -> float:
        return float(np.sqrt(np.mean(np.square(self.sound, dtype=np.float64))))

    def _check(self) -> None:
        frame = 1 / float(self.fps)
        missing = (self.wanted - self.heard) / self.rate
        if self.fault:
            raise ClipError("decode_error", self.fault)
        if missing > frame:
            raise ClipError("too_short", f"has {self.heard / self.rate:.3f} of {self.seconds:g} s of sound")
        least = math.floor(MIN_FRAMES_SHARE * self.seconds * float(self.fps))
        if self.frames < least or abs(self.end - self.seconds) > frame:
            detail = (
                f"has {self.frames} frames up to {self.end:.3f} of {self.seconds:g} s, at {float(self.fps):.3f} fps"
            )
            raise ClipError("too_short", detail)
        if self.rms < SILENCE_RMS:
            raise ClipError("silent", f"the root mean square of its sound is {self.rms:.2g}")

    def _mux(self, packets: Any) -> None:
        with self._writing():
            self.container.mux(packets)

    def _encode(self, *frame: Any) -> None:
        with self._writing():
            self.container.mux(self.audio.encode(*frame))

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """A full disk is no fault of the video."""
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            raise OSError(error.errno, f"cannot be written ({error.strerror})", str(self.path)) from error

    def _write_sound(self) -> None:
        size = self.audio.codec_context.frame_size or 1024
        for start in range(0, self.wanted, size):
            part = np.ascontiguousarray(self.sound[:, start : start + size])
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=self.audio.layout.name)
            frame.sample_rate, frame.time_base, frame.pts = self.rate, Fraction(1, self.rate), start
            self._encode(frame)
        self._encode()


__all__ = ["SILENCE_RMS", "ClipError", "ClipWriter", "Written"]
