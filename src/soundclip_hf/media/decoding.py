"""Decodes a container's whole sound and a table of its frames. No duration in the file has to be right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import av.container
import numpy as np

from . import limits
from .errors import MediaError
from .junk import Junk
from .opening import check_decoder, check_sound_format, choose_streams, is_still, open_decoder
from .waveforms import mix_channels

# Containers that state their duration. For the others there is only FFmpeg's estimate.
DECLARES_DURATION = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "flac", "wav"}
# Streams of frames without an index: whatever follows the last frame is no damage of one.
TAIL_CONTAINERS = {"mp3", "aac", "ac3", "eac3", "dts", "truehd", "mlp", "mpeg", "mpegts", "loas", "amr", "sbc", "gsm"}
# With this many planes PyAV 18.1 reads past the end of FFmpeg's array of plane pointers, and crashes.
PLANES = 8


@dataclass
class SoundBlocks:
    """The decoded blocks of one audio stream, mixed to mono; times are on the file's own clock."""

    samples: bytearray = field(default_factory=bytearray)  # float32; grows in place, so a long sound is held once
    rate: int = 0
    start: float = 0.0
    block: int = 0  # number of samples in the last block
    silence: float = 0.0  # seconds that were filled in
    packer: av.AudioResampler | None = None

    def __len__(self) -> int:
        return len(self.samples) // 4

    def add(self, block: av.AudioFrame) -> None:
        """Append a block, after silence where its timestamp leaves a gap."""
        if not self.samples:
            check_sound_format(block.layout.nb_channels, block.sample_rate)
            self.rate, self.start = block.sample_rate, block.time or 0.0
        elif block.sample_rate != self.rate:
            raise MediaError(
                f"its sampling rate changes from {self.rate} to {block.sample_rate} Hz; encode it again at one rate"
            )
        elif block.time is not None:
            hole = block.time - self.start - len(self) / self.rate
            if hole > limits.GAP_SECONDS:
                self.samples += self._silence(hole, "the timestamps of its sound jump by")
        count, samples = block.layout.nb_channels, block.samples
        if block.format.is_planar and count >= PLANES:
            self.packer = self.packer or av.AudioResampler(block.format.packed, block.layout, block.sample_rate)
            (block,) = self.packer.resample(block)
        self._check_length(samples)
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
        if (lead := self.start - start) > 0:
            self.samples[:0] = self._silence(lead, "its sound starts later than its picture, by")
        return np.frombuffer(self.samples, np.float32)

    def _silence(self, seconds: float, what: str) -> bytes:
        self.silence += seconds
        if self.silence > limits.MAX_GAP_SECONDS:
            most = f"more than {limits.MAX_GAP_SECONDS:g} s of silence"
            raise MediaError(
                f"{what} {seconds:.0f} s ({most} in all); remux or encode it again, or "
                f"{limits.raised('MAX_GAP_SECONDS')}"
            )
        count = round(seconds * self.rate)
        self._check_length(count)
        return bytes(4 * count)

    def _check_length(self, more: int) -> None:
        if len(self) + more > (most := limits.MAX_SOUND_SAMPLES):
            raise MediaError(
                f"its sound is longer than {most} samples ({most / self.rate:.0f} s at {self.rate} Hz); cut it into "
                f"parts, or {limits.raised('MAX_SOUND_SAMPLES')}"
            )


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
    untimed: bool = False  # the file has no timestamps: a frame's stamp is its number
    still: bool = False  # the file is a picture, which `pictures` reads
    has_audio: bool = False
    warning: str = ""  # what of the file was left out

    def seconds(self, stamp: int) -> float:
        """A timestamp, in seconds from the start of the clip."""
        return float(stamp * self.time_base) - self.start


def decode(media: str | bytes, pictures: bool = True) -> Decoded:
    """Decode the whole sound, and list the frames without decoding them.

    Args:
        media: A local path, or the file's bytes.
        pictures: Whether the frames will be asked for; otherwise a picture that cannot be decoded is no error.

    Raises:
        MediaError: There is no stream, or none with content; it cannot be decoded; the file is truncated or corrupt; or
            the sound is larger than `limits` allow.
        av.FFmpegError: It cannot be opened.
    """
    empty: set[int] = set()
    while True:
        with open_decoder(media) as container:
            if is_still(container):
                return Decoded(still=True)
            video, audio = choose_streams(container, empty)
            if video is None and audio is None:
                raise MediaError(
                    "holds no sound and no picture: its streams are empty; fetch or encode it again"
                    if empty
                    else "has neither an audio nor a video stream; pass a media file"
                )
            check_decoder(audio)
            if pictures:
                check_decoder(video)
            reading = _Reading(container, video, audio)
            found = reading.decode()
            # A track without a single packet: perhaps another one has some.
            hollow = {stream.index for stream in (video, audio) if stream is not None} - set(reading.packets)
            if not hollow:
                return found
            empty |= hollow


class _Reading:
    """One pass over an open container."""

    def __init__(self, container: Any, video: Any, audio: Any) -> None:
        self.container, self.video, self.audio = container, video, audio
        self.found, self.sound, self.junk = Decoded(has_audio=audio is not None), SoundBlocks(), Junk()
        self.ends: dict[int, float] = {}  # seconds at which the last packet of each stream ends
        self.packets: dict[int, int] = {}  # how many each stream has
        self.failure: MediaError | None = None  # what could not be decoded, while nothing that can be comes after it

    def decode(self) -> Decoded:
        found, sound, video, audio = self.found, self.sound, self.video, self.audio
        for packet in self._demuxed():
            stream: Any = packet.stream
            if stream is audio and not self._hear(packet):
                continue
            if not packet.size:  # the packet that flushes a decoder
                continue
            self.packets[stream.index] = self.packets.get(stream.index, 0) + 1
            stamp = packet.dts if packet.pts is None else packet.pts
            if stamp is None:
                continue
            end = stamp + (packet.duration or 0)
            self.ends[stream.index] = max(self.ends.get(stream.index, 0.0), float(end * stream.time_base))
            if stream is video and not packet.is_discard:
                found.stamps.append(stamp)
                found.keys += [stamp] * packet.is_keyframe
                found.end = max(found.end, end)
        self._check_tail()
        _check_complete(self.container, [stream for stream in (audio, video) if stream is not None], self.ends)
        if audio is not None and self.packets.get(audio.index) and not sound.samples:
            raise MediaError("its sound cannot be decoded; encode it again")
        if video is not None and self.packets.get(video.index):
            self._finish_frames()
        starts = [sound.start] if sound.samples else []
        starts += [float(found.stamps[0] * found.time_base)] if found.stamps else []
        found.start = min(starts, default=0.0)
        if audio is not None and sound.samples:
            length = len(sound) / sound.rate
            # A clock coarser than a sample, as in Matroska, cannot tell where the sound ends.
            coarse = audio.time_base * sound.rate > 1 or audio.index not in self.ends
            heard = sound.start + length if coarse else self.ends[audio.index]
            found.sound, found.rate = sound.finish(heard, found.start), sound.rate
            found.duration = len(sound) / sound.rate
        if found.stamps:
            found.duration = max(found.duration, found.seconds(found.end))
        return found

    def _demuxed(self) -> Iterator[Any]:
        """All packets; what cannot be demuxed is a failure, after which the next packet is looked for."""
        failures, packets = 0, self.container.demux()
        while True:
            try:
                packet = next(packets, None)
            except av.EOFError:
                return
            except av.FFmpegError as error:
                self._fail(error)
                packets, failures = self.container.demux(), failures + 1
                if failures > 100:
                    return
                continue
            if packet is None:
                return
            if packet.size and packet.stream is self.video:
                self._check_failure()
            yield packet

    def _hear(self, packet: Any) -> bool:
        """Decode a packet of sound; False if it is none."""
        try:
            blocks = self.audio.decode(packet)
        except av.FFmpegError as error:
            content = bytes(packet)
            rest = self.junk.without_tags(content)
            if rest is None:
                self._fail(error, len(content))
                return False
            try:  # the first frame after a tag comes in one packet with it
                blocks = self.audio.decode(av.Packet(rest)) if rest else []
            except av.FFmpegError as again:
                self._fail(again, len(rest))
                return False
        for block in blocks:
            self._check_failure()
            self.sound.add(block)
        return True

    def _fail(self, error: av.FFmpegError, size: int = 0) -> None:
        self.junk.size += size
        if self.failure is None:
            reached, whole = max(self.ends.values(), default=0.0), (self.container.duration or 0) / av.time_base
            self.failure = MediaError(
                f"decoding fails at {reached:.2f} of {whole:.2f} s ({error.strerror}); it is truncated or corrupt: "
                "fetch or encode it again"
            )
            self.failure.__cause__ = error

    def _check_failure(self) -> None:
        """Raise what failed before: it lies in the middle, or before the first sound."""
        if self.failure is not None:
            raise self.failure

    def _check_tail(self) -> None:
        """Only what follows the last frame failed. Every player leaves such a tail out, but in a container with an
        index it is a damaged frame.
        """
        if self.failure is None:
            return
        heard = self.sound.samples or (self.audio is None and self.packets)
        if self.container.format.name not in TAIL_CONTAINERS or not heard:
            raise self.failure
        reached = max(self.ends.values(), default=0.0)
        size = f"the {self.junk.size} bytes" if self.junk.size else "what comes"
        self.found.warning = f"{size} after its end, at {reached:.2f} s, cannot be decoded and are left out"

    def _finish_frames(self) -> None:
        found, video = self.found, self.video
        count = self.packets[video.index]
        found.video, found.time_base = video.index, video.time_base or Fraction(1, av.time_base)
        # Raw streams have no timestamps, or one for the first frame.
        if 2 * len(found.stamps) < count:
            found.untimed, found.time_base = True, 1 / (video.average_rate or video.guessed_rate or Fraction(25))
            found.stamps, found.keys, found.end = list(range(count)), [0], count
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
