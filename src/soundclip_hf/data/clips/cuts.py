"""What to cut, how, and what came of it: the record that `segment` writes beside the clips of a video."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..ave2.schema import SECONDS, complete
from .clip_writer import Written
from .video_source import Encoding

REASONS = ("too_short", "no_audio", "no_video", "silent", "decode_error", "crashed")


@dataclass(frozen=True)
class Job:
    """One video to cut.

    Attributes:
        path: Of the file.
        video_id: Names the clips: `<video_id>_01.mp4` and so on. No slashes.
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
    """What was not kept. `segment` counts from 1 and is None for a whole video; `reason` is one of `REASONS`."""

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


def read_record(path: Path, key: dict[str, Any] | None = None) -> Cut | None:
    """The record of a video; None if there is none, if it was made from something else, or if a clip is gone."""
    try:
        record = json.loads(path.read_text())
        made = Cut(
            Job(**record["job"]),
            tuple(Segment(**segment | {"written": Written(**segment["written"])}) for segment in record["segments"]),
            tuple(Reject(**reject) for reject in record["rejects"]),
            record["left_over"],
        )
        same = key is None or record["key"] == key
        whole = all((path.parent / s.path).stat().st_size == s.written.bytes for s in made.segments)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return made if same and whole else None


def records(out: str | Path) -> Iterator[Cut]:
    """All records of an output folder, by name."""
    for path in sorted(Path(out).glob("*.json")):
        if (made := read_record(path)) is not None:
            yield made


__all__ = ["REASONS", "Cut", "Cutting", "Job", "Reject", "Segment", "read_record", "records"]
