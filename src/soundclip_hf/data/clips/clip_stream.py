"""Writes the clips of one video while its stream is read, and records why others were rejected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...media import MediaError
from ..ave2.schema import sample_id
from .clip_writer import ClipError, ClipWriter
from .cuts import Cut, Cutting, Job, Reject, Segment
from .transcoding import LEAD_SECONDS, packets, transcoded
from .video_source import Source, half_frame

# A header may round its duration.
TRUNCATION_SECONDS = 0.5
# Clips that are open at once, because one stream is ahead of the other; beyond, that one has no more to give.
MAX_OPEN = 16


class ClipStream:
    """The clips of one video while it streams by."""

    def __init__(self, job: Job, folder: Path, cutting: Cutting, source: Source) -> None:
        self.job, self.folder, self.cutting, self.source = job, folder, cutting, source
        span = None if job.end is None else job.end - job.start + half_frame(source)
        self.most = None if span is None else int(span // cutting.seconds)
        self.open: dict[int, ClipWriter] = {}
        self.done = self.showing = 0
        self.segments: list[Segment] = []
        self.rejects: list[Reject] = []
        self.shown = self.heard = 0.0  # seconds that have streamed by

    def cut(self, ffmpeg: str | None) -> Cut:
        job, length = self.job, self.cutting.seconds
        fault = ""
        try:
            with transcoded(self.source, length, job.start, self.cutting.encoding, ffmpeg) as stream:
                for packet in packets(stream):
                    self._take(packet, stream.streams.video[0])
                    if self.most is not None and self.done >= self.most:
                        break
        except MediaError as error:
            fault = str(error).partition(": ")[2]
        except BaseException:
            for writer in self.open.values():
                writer.discard()
            raise
        ended, reached = min(self.shown, self.heard), max(self.shown, self.heard) + job.start
        declared = self.source.duration if self.most is None else None
        if not fault and declared and reached < declared - TRUNCATION_SECONDS:
            fault = f"truncated at {reached:.2f} of {declared:.2f} s"
        for number in sorted(self.open):
            # One stream may end a frame before the other.
            whole = ended > (number + 1) * length - 2 * half_frame(self.source)
            self._finish(number, keep=whole)
        if fault:
            self.rejects.append(Reject(job.video_id, None, "decode_error", fault))
        elif self.done < (self.most or 1):
            detail = f"has {ended:.2f} s of picture with sound for {self.most or 1} clips of {length:g} s"
            self.rejects.append(Reject(job.video_id, None, "too_short", detail))
        left = max(ended - self.done * length, 0.0) if self.most is None else 0.0
        return Cut(job, tuple(self.segments), tuple(self.rejects), round(left, 3))

    def _take(self, packet: Any, video: Any) -> None:
        length = self.cutting.seconds
        if packet.stream.type == "video":
            if packet.pts is None:
                return
            time = float(packet.pts * packet.time_base) - LEAD_SECONDS
            step = packet.duration or round(1 / (self.source.fps * packet.time_base))
            self.shown = max(self.shown, time + float(step * packet.time_base))
            number = int((time + half_frame(self.source)) // length)
            # Frames come in decoding order, but those of one clip all come before those of the next.
            self.showing = max(self.showing, number)
            if (writer := self._writer(number, video)) is not None:
                writer.show(packet)
        else:
            for block in packet.decode():
                samples = block.to_ndarray().reshape(-1, block.layout.nb_channels).T
                first = round(self.heard * self.source.rate)
                while samples.shape[1]:
                    number = first // round(length * self.source.rate)
                    room = (number + 1) * round(length * self.source.rate) - first
                    if (writer := self._writer(number, video)) is not None:
                        writer.hear(samples[:, :room])
                    first += min(room, samples.shape[1])
                    samples = samples[:, room:]
                self.heard = first / self.source.rate
        heard = int((self.heard + 0.5 / self.source.rate) // length)
        while self.done < min(self.showing, heard) or self.done + MAX_OPEN < max(self.showing, heard):
            self._finish(self.done)

    def _writer(self, number: int, video: Any) -> ClipWriter | None:
        if number < self.done or (self.most is not None and number >= self.most):
            return None
        if number not in self.open:
            path = self.folder / f"{sample_id(self.job.video_id, number + 1)}.mp4"
            self.open[number] = ClipWriter(
                path, video, self.source.rate, self.source.layout, self.cutting.seconds, self.source.fps
            )
        return self.open[number]

    def _finish(self, number: int, keep: bool = True) -> None:
        writer = self.open.pop(number, None)
        if not keep:
            if writer is not None:
                writer.discard()
            return
        self.done = number + 1
        job, length = self.job, self.cutting.seconds
        try:
            if writer is None:
                raise ClipError("decode_error", "has neither frames nor sound")
            written = writer.finish()
        except ClipError as error:
            self.rejects.append(Reject(job.video_id, number + 1, error.reason, str(error)))
            return
        start = job.start + number * length
        self.segments.append(
            Segment(sample_id(job.video_id, number + 1), number + 1, writer.path.name, start, start + length, written)
        )


__all__ = ["ClipStream"]
