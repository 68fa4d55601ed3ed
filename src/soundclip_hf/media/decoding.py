"""Decodes a container's whole sound and a table of its frames. No duration in the file has to be right."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import av.container
import av.stream
import numpy as np

from . import limits
from .errors import MediaError
from .opening import open_decoder
from .waveforms import mix_channels

# Containers that state their duration. For the others there is only FFmpeg's estimate.
DECLARES_DURATION = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "flac", "wav"}
# With this many planes PyAV 18.1 reads past the end of FFmpeg's array of plane pointers, and crashes.
PLANES = 8


@dataclass
class SoundBlocks:
    """The decoded blocks of one audio stream, mixed to mono; times are on the file's own clock."""

    samples: bytearray = field(default_factory=bytearray)  # float32; grows in place, so a long sound is held once
    rate: int = 0
    start: float = 0.0
    block: int = 0  # number of samples in the last block
    packer: av.AudioResampler | None = None

    def __len__(self) -> int:
        return len(self.samples) // 4

    def add(self, block: av.AudioFrame) -> None:
        """Append a block, after silence where its timestamp leaves a gap."""
        if not self.samples:
            self.rate, self.start = block.sample_rate, block.time or 0.0
        elif block.sample_rate != self.rate:
            raise MediaError(
                f"its sampling rate changes from {self.rate} to {block.sample_rate} Hz; encode it again at one rate"
            )
        elif block.time is not None:
            hole = block.time - self.start - len(self) / self.rate
            if hole > limits.MAX_GAP_SECONDS:
                raise MediaError(f"the timestamps of its sound jump by {hole:.0f} s; remux or encode it again")
            if hole > limits.GAP_SECONDS:
                self.samples += bytes(4 * round(hole * self.rate))
        count, samples = block.layout.nb_channels, block.samples
        if block.format.is_planar and count >= PLANES:
            self.packer = self.packer or av.AudioResampler(block.format.packed, block.layout, block.sample_rate)
            (block,) = self.packer.resample(block)
        values = block.to_ndarray()  # (channels, samples) if planar, otherwise (1, samples * channels) interleaved
        channels = values if block.format.is_planar else values.reshape(-1, count).T
        self.samples += mix_channels(channels).tobytes()
        self.block = samples

    def finish(self, end: float, start: float) -> np.ndarray:
        """The waveform: without the padding of the encoder's last block, which is after `end`, and with silence from
        `start` to the first sample. Both are seconds on the file's own clock.
        """
        padding = len(self) - round((end - self.start) * self.rate)
        if 0 < padding < self.block:
            del self.samples[-4 * padding :]
        self.samples[:0] = bytes(4 * round((self.start - start) * self.rate))
        return np.frombuffer(self.samples, np.float32)


@dataclass
class Decoded:
    """A file's sound, and the timestamps of its frames: ticks of `time_base`, on the file's own clock."""

    sound: np.ndarray | None = None
    rate: int = 0
    start: float = 0.0  # of the clip, in seconds of the file's own clock
    duration: float = 0.0
    video: int = -1  # index of the video stream
    time_base: Fraction = Fraction(1)
    stamps: list[int] = field(default_factory=list)  # of all frames, ascending
    keys: list[int] = field(default_factory=list)  # of the keyframes, ascending
    end: int = 0  # of the last frame

    def seconds(self, stamp: int) -> float:
        """A timestamp, in seconds from the start of the clip."""
        return float(stamp * self.time_base) - self.start


def decode(media: str | bytes) -> Decoded:
    """Decode the whole sound, and list the frames without decoding them.

    Args:
        media: A local path, or the file's bytes.

    Raises:
        MediaError: There is no stream, or the file is truncated or corrupt.
        av.FFmpegError: It cannot be opened.
    """
    found, sound = Decoded(), SoundBlocks()
    ends: dict[int, float] = {}  # seconds at which the last packet of each stream ends
    with open_decoder(media) as container:
        video, audio = _streams(container)
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
                    found.stamps.append(stamp)
                    found.keys += [stamp] * packet.is_keyframe
                    found.end = max(found.end, end)
        except av.FFmpegError as error:
            reached, whole = max(ends.values(), default=0.0), (container.duration or 0) / av.time_base
            raise MediaError(
                f"decoding fails at {reached:.2f} of {whole:.2f} s ({error.strerror}); it is truncated or corrupt: "
                "fetch or encode it again"
            ) from error
        _check_complete(container, [stream for stream in (audio, video) if stream is not None], ends)
        if video is not None and found.stamps:
            _finish_frames(found, video)
        starts = [sound.start] if sound.samples else []
        starts += [float(found.stamps[0] * found.time_base)] if found.stamps else []
        found.start = min(starts, default=0.0)
        if audio is not None:
            # A clock coarser than a sample, as in Matroska, cannot tell where the sound ends.
            coarse = audio.time_base * sound.rate > 1
            heard = sound.start + len(sound) / (sound.rate or 1) if coarse else ends.get(audio.index, 0.0)
            found.sound, found.rate = sound.finish(heard, found.start), sound.rate
            found.duration = len(sound) / (sound.rate or 1)
        if found.stamps:
            found.duration = max(found.duration, found.seconds(found.end))
    return found


def _streams(container: Any) -> tuple[Any, Any]:
    """The video stream that is not cover art, and the best audio stream; None where there is none."""
    covers = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    video = next((stream for stream in container.streams.video if not stream.disposition & covers), None)
    audio = container.streams.best("audio")
    if video is None and audio is None:
        raise MediaError("has neither an audio nor a video stream; pass a media file")
    return video, audio


def _finish_frames(found: Decoded, video: Any) -> None:
    found.video, found.time_base = video.index, video.time_base or Fraction(1, av.time_base)
    found.stamps.sort()
    found.keys.sort()
    first, last = found.stamps[0], found.stamps[-1]
    if found.end == last:  # the last frame has no duration: assume the average one
        found.end += (last - first) // max(len(found.stamps) - 1, 1) or 1


def _check_complete(container: Any, streams: list[Any], ends: dict[int, float]) -> None:
    """Raise if the packets end well before the declared end: FFmpeg does not notice a cut between two packets."""
    if container.format.name not in DECLARES_DURATION:
        return
    spans = [(float(s.duration * s.time_base), ends.get(s.index, 0.0)) for s in streams if s.duration]
    for declared, reached in spans or [((container.duration or 0) / av.time_base, max(ends.values(), default=0.0))]:
        if reached < declared - limits.TRUNCATION_SECONDS:
            raise MediaError(f"truncated at {reached:.2f} of {declared:.2f} s; fetch or write it again")
