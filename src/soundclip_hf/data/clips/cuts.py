"""What to cut, how, and what came of it: the record that `segment` writes beside the clips of a video."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ...files import NAME_BYTES
from ..ave2.schema import SECONDS, complete
from .clip_writer import Written
from .video_source import Encoding

REASONS = ("too_short", "no_audio", "no_video", "silent", "decode_error", "unreadable", "crashed")
# These say nothing about what is in the video: they are not recorded, so that it is tried again next time.
NOT_RECORDED = ("unreadable", "crashed")
# Goes up when records of before hold faults that were not those of their videos. Up to 1, a run that was interrupted
# could leave "decode_error".
RECORD_VERSION = 2
MAX_ID_BYTES = NAME_BYTES - len("_1000.mp4")


@dataclass(frozen=True)
class Job:
    """One video to cut.

    Attributes:
        path: Of the file.
        video_id: Names the clips: `<video_id>_01.mp4` and so on; see [`id_fault`].
        start, end: Seconds of the file between which clips are cut, one after the other; `end` None is its end.
    """

    path: str
    video_id: str
    start: float = 0.0
    end: float | None = None


@dataclass(frozen=True)
class Cutting:
    """How videos are cut.

    Attributes:
        encoding: Of the clips.
        seconds: Length of a clip.
        backend: "ffmpeg", "pyav", or "auto": ffmpeg if it is on PATH, and PyAV for what it fails on.
    """

    encoding: Encoding = field(default_factory=Encoding)
    seconds: float = SECONDS
    backend: str = "auto"


@dataclass(frozen=True)
class Segment:
    """A clip: `path` is relative to the output folder, `start` and `end` are seconds of the source file."""

    sample_id: str
    segment: int
    path: str
    start: float
    end: float
    written: Written


@dataclass(frozen=True)
class Reject:
    """What was not kept. `segment` counts from 1 and is None for a whole video; `reason` is one of `REASONS`.

    "unreadable" is a file that is gone or whose bytes cannot be read, "crashed" one over which processes die or run out
    of memory.
    """

    video_id: str
    segment: int | None
    reason: str
    detail: str


@dataclass(frozen=True)
class Cut:
    """All that came out of one video. `left_over` are the seconds after its last clip that make no whole one."""

    job: Job
    segments: tuple[Segment, ...]
    rejects: tuple[Reject, ...]
    left_over: float = 0.0

    @property
    def lost(self) -> Reject | None:
        """Why the video could not be judged, and is tried again next time; None if it could."""
        return next((reject for reject in self.rejects if reject.reason in NOT_RECORDED), None)

    def rows(self, source_dataset: str | None = None, split: str | None = None) -> Iterator[dict[str, Any]]:
        """The clips as rows of AVE-2, without captions and scores. Offsets are those of the job in the source file."""
        for clip in self.segments:
            yield complete(
                {
                    "youtube_id": self.job.video_id,
                    "segment": clip.segment,
                    "source_dataset": source_dataset,
                    "split": split,
                    "clip_start_time": self.job.start,
                    "segment_start_time": clip.start - self.job.start,
                    "segment_end_time": clip.end - self.job.start,
                    "media_sha256": clip.written.sha256,
                    "media_status": "ok",
                    "builder_version": f"soundclip-hf {version('soundclip-hf')}",
                }
            )


def id_fault(video_id: str) -> str:
    """Why an id cannot be the name of clips and of a record; empty if it can."""
    try:
        size = len(video_id.encode())
    except UnicodeEncodeError:
        return "is not UTF-8, and no table can hold it"
    if not video_id or "/" in video_id or "\0" in video_id or video_id.startswith("."):
        return "cannot be a file name; leave out slashes and leading dots"
    if size > MAX_ID_BYTES:
        return f"has {size} bytes, and with the number of a clip it can have {MAX_ID_BYTES} in a file name; shorten it"
    return ""


def read_record(path: Path, key: dict[str, Any] | None = None) -> Cut | None:
    """
    The record of a video; None if there is none, or a clip is gone. With a key, also if it was made from something
    else, or holds a fault that may not be that of the video (see `RECORD_VERSION`).
    """
    try:
        record = json.loads(path.read_text())
        made = Cut(
            Job(**record["job"]),
            tuple(Segment(**segment | {"written": Written(**segment["written"])}) for segment in record["segments"]),
            tuple(Reject(**reject) for reject in record["rejects"]),
            record["left_over"],
        )
        same = key is None or record["key"] == key
        if key is not None and record.get("record_version", 1) < RECORD_VERSION:
            same = same and not any(reject.reason == "decode_error" for reject in made.rejects)
        whole = all((path.parent / s.path).stat().st_size == s.written.bytes for s in made.segments)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return made if same and whole else None


def records(out: str | Path) -> Iterator[Cut]:
    """All records of an output folder, by name."""
    for path in sorted(Path(out).glob("*.json")):
        if (made := read_record(path)) is not None:
            yield made


__all__ = [
    "REASONS",
    "RECORD_VERSION",
    "Cut",
    "Cutting",
    "Job",
    "Reject",
    "Segment",
    "id_fault",
    "read_record",
    "records",
]
