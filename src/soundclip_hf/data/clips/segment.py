"""Cuts long videos into clips of 3 seconds, and records which clips were rejected and why.

One pass per video: it is decoded and encoded once, and the encoded frames are handed out to the clips. Paper, section
2.1 (A); the original size, frame rate and sampling rate stay.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from ...files import remove_leftovers, write_text
from ...media import MediaError
from ..pool import Crashed, run
from .clip_stream import ClipStream
from .cuts import REASONS, RECORD_VERSION, Cut, Cutting, Job, Reject, Segment, id_fault, read_record, records
from .failures import KilledError, ProgramError, raise_if_not_of_the_video, read_fault
from .transcoding import check_backend, find_ffmpeg
from .video_source import Encoding, read_source

# Goes up when the same video would be cut differently; clips of another version are cut again.
VERSION = 1


def cut(job: Job, out: str | Path, cutting: Cutting | None = None) -> Cut:
    """Cut one video; a video that was cut before with the same settings is not touched.

    Clips and `<video_id>.json`, the record, appear whole or not at all, the record last.

    Args:
        out: Folder of the clips; it is made.

    Raises:
        ValueError: The video's id cannot be a file name.
        OSError: The folder cannot be written, the disk is full, or ffmpeg does not work. Bad media are no error: they
            are in the record. A video that is gone or unreadable is no error either, and gets no record.
    """
    cutting, folder = cutting or Cutting(), Path(out)
    if fault := id_fault(job.video_id):
        raise ValueError(f"video_id={job.video_id!r} {fault}")
    folder.mkdir(parents=True, exist_ok=True)
    key = _key(job, cutting)
    found = read_record(folder / f"{job.video_id}.json", key)
    begun = folder / f".{job.video_id}.begun"
    if found is not None:
        begun.unlink(missing_ok=True)
        return found
    # An earlier run was stopped while it cut this video, and may have left temporary files. Otherwise they are not
    # searched for: the folder may hold too many clips to be listed for each video.
    if begun.exists():
        remove_leftovers(folder)
    begun.touch()
    try:
        made = _cut(job, folder, cutting)
        if made.lost is None:
            record = {"record_version": RECORD_VERSION, "key": key} | asdict(made)
            write_text(folder / f"{job.video_id}.json", json.dumps(record, indent=1) + "\n")
    finally:
        with suppress(OSError):  # as the folder is gone: the error that brought us here says so
            begun.unlink()
    return made


def cut_all(
    jobs: Iterable[Job], out: str | Path, cutting: Cutting | None = None, workers: int | None = None
) -> Iterator[Cut]:
    """Cut many videos in worker processes; what was cut before is only read.

    A video on which worker processes keep dying is rejected as "crashed", and one that cannot be read as "unreadable";
    neither gets a record, so that it is tried again next time.

    Args:
        jobs: Their `video_id`s must differ.
        workers: Processes; None means one per core. Each video is cut by one process with `encoding.threads` threads.

    Returns:
        Cuts in the order in which they are done.

    Raises:
        ValueError: Two jobs with one `video_id`, one that cannot be a file name, or no ffmpeg where `cutting` asks for
            it.
        OSError: As `cut`.
    """
    check_backend((cutting or Cutting()).backend)
    asked = list(jobs)
    repeated = [name for name, count in Counter(job.video_id for job in asked).items() if count > 1]
    if repeated:
        raise ValueError(f"video_id {repeated[0]!r} comes more than once: its clips would overwrite each other")
    for job in asked:
        if fault := id_fault(job.video_id):
            raise ValueError(f"video_id={job.video_id!r} {fault}")
    for job, made in run(partial(cut, out=out, cutting=cutting), asked, workers):
        if isinstance(made, Crashed):
            made = _without_clips(job, "crashed", made.detail)
        yield made


def _key(job: Job, cutting: Cutting) -> dict[str, Any]:
    """What decides the clips, besides the machine: backends are interchangeable, and so is the number of threads."""
    try:
        state = os.stat(job.path)
        source = [state.st_size, state.st_mtime_ns]
    except OSError:
        source = []
    encoding = {name: value for name, value in asdict(cutting.encoding).items() if name != "threads"}
    return {"version": VERSION, "source": source, "job": asdict(job), "seconds": cutting.seconds, **encoding}


def _cut(job: Job, folder: Path, cutting: Cutting) -> Cut:
    try:
        if fault := read_fault(job.path):
            return _without_clips(job, "unreadable", fault)
        made = _cut_readable(job, folder, cutting)
        # What cannot be read at some place looks like damage there.
        damaged = any(reject.reason == "decode_error" for reject in made.rejects)
        if damaged and (fault := read_fault(job.path, whole=True)):
            return _without_clips(job, "unreadable", fault)
        return made
    except (MemoryError, KilledError) as error:
        return _without_clips(job, "crashed", str(error) or "there is not enough memory for it")


def _cut_readable(job: Job, folder: Path, cutting: Cutting) -> Cut:
    try:
        source = read_source(job.path)
    except MediaError as error:
        raise_if_not_of_the_video(error)
        reason, _, detail = str(error).partition(": ")
        return _without_clips(job, reason, detail)
    check_backend(cutting.backend)
    ffmpeg = None if cutting.backend == "pyav" else find_ffmpeg()
    if ffmpeg:
        try:
            made = ClipStream(job, folder, cutting, source).cut(ffmpeg)
        except (ProgramError, KilledError):
            if cutting.backend != "auto":
                raise
        else:
            if cutting.backend != "auto" or all(reject.reason != "decode_error" for reject in made.rejects):
                return made
    return ClipStream(job, folder, cutting, source).cut(None)


def _without_clips(job: Job, reason: str, detail: str) -> Cut:
    return Cut(job, (), (Reject(job.video_id, None, reason, detail),))


__all__ = [
    "REASONS",
    "Cut",
    "Cutting",
    "Encoding",
    "Job",
    "Reject",
    "Segment",
    "cut",
    "cut_all",
    "read_record",
    "records",
]
