"""Reads the tables of other audio-visual data sets as an `AVManifest`.

Only tables are read here. `AVManifest.resolve` finds the media that a user has.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...media_kinds import CLIPS, media_files
from ...text_tables import csv_lines, csv_rows, json_value, open_table
from .manifest import AVManifest, Entry, from_entries, probe
from .tvsum import tvsum, tvsum_scores

# AudioCaps, AudioSet and VGGSound are excerpts of 10 seconds.
EXCERPT_SECONDS = 10.0
# Null, in Ego4D's metadata of a video, where it has no sound. A start of 0 s says nothing.
EGO4D_SOUND = ("audio_base_denominator", "audio_duration_sec")
VGGSOUND_FILE = re.compile(r"(?P<id>.+)_(?P<start>\d{6})(\.\w+)?")


def audiocaps(table: str | Path) -> AVManifest:
    """`train.csv`, `val.csv` or `test.csv`: audiocap_id, youtube_id, start_time (s), caption.

    One entry per excerpt: validation and test have five captions each, in five rows. The ids of the rows are in
    `extra["audiocap_ids"]`. The official audio is sound only; the picture comes from the same seconds of the video.
    """
    excerpts: dict[tuple[str, float], list[dict[str, str]]] = {}
    for row in csv_rows(table, ("audiocap_id", "youtube_id", "start_time", "caption")):
        excerpts.setdefault((row["youtube_id"], _seconds(row["start_time"], table)), []).append(row)
    return from_entries(
        "audiocaps",
        (
            Entry(
                _excerpt_id(youtube_id, start),
                youtube_id,
                start,
                start + EXCERPT_SECONDS,
                captions=tuple(row["caption"] for row in rows),
                split=Path(table).stem,
                extra={"audiocap_ids": [int(row["audiocap_id"]) for row in rows]},
            )
            for (youtube_id, start), rows in excerpts.items()
        ),
    )


def audioset(table: str | Path, names: str | Path | None = None) -> AVManifest:
    """A segments CSV: comment lines with #, then YTID, start_seconds, end_seconds, "mid,mid".

    Args:
        table: `balanced_train_segments.csv`, `unbalanced_train_segments.csv` or `eval_segments.csv`.
        names: `class_labels_indices.csv` (index, mid, display_name); labels stay machine ids without it.
    """
    display = {row["mid"]: row["display_name"] for row in csv_rows(names, ("mid", "display_name"))} if names else {}
    entries = []
    for youtube_id, start, end, labels in csv_lines(table, (4,), comment="#"):
        begin = _seconds(start, table)
        mids = labels.split(",")
        entries.append(
            Entry(
                _excerpt_id(youtube_id, begin),
                youtube_id,
                begin,
                _seconds(end, table),
                labels=tuple(display.get(mid, mid) for mid in mids),
                split=Path(table).stem.removesuffix("_segments"),
                extra={"mids": mids},
            )
        )
    return from_entries("audioset", entries)


def vggsound(table: str | Path) -> AVManifest:
    """`vggsound.csv` (YouTube id, start in s, label, split), or `train.csv` / `test.csv` (file name, label)."""
    entries = []
    for row in csv_lines(table, (2, 4)):
        if len(row) == 4:
            youtube_id, start, label, split = row
        elif match := VGGSOUND_FILE.fullmatch(row[0]):
            youtube_id, start, label, split = match["id"], match["start"], row[1], Path(table).stem
        else:
            raise ValueError(f"{table}: {row} is neither id, start, label, split nor file name, label")
        begin = _seconds(start, table)
        name = f"{youtube_id}_{int(begin):06d}"
        entries.append(Entry(name, youtube_id, begin, begin + EXCERPT_SECONDS, labels=(label,), split=split))
    return from_entries("vggsound", entries)


def ave(table: str | Path) -> AVManifest:
    """`Annotations.txt`, `trainSet.txt`, …: Category&VideoID&Quality&Start&End, one event per row.

    The files of this set are excerpts of 10 seconds named by the video's id, and start and end count from the start of
    the file: they become `event`, and `start` is None. A video with two kinds of events has two entries, `<id>_01` and
    `<id>_02`. Some copies have a heading row; it is left out.
    """
    entries = []
    seen: Counter[str] = Counter()
    for category, youtube_id, quality, start, end in csv_lines(table, (5,), delimiter="&"):
        if youtube_id == "VideoID":
            continue
        seen[youtube_id] += 1
        entries.append(
            Entry(
                f"{youtube_id}_{seen[youtube_id]:02d}",
                youtube_id,
                None,
                None,
                labels=(category,),
                event=(_seconds(start, table), _seconds(end, table)),
                split=Path(table).stem.removesuffix("Set"),
                extra={"quality": quality},
            )
        )
    return from_entries("ave", entries)


def ego4d(table: str | Path, *, has_audio: bool | None = True) -> AVManifest:
    """`ego4d.json`, the metadata: whole videos, with `scenarios` as labels and other facts in `extra`.

    Args:
        has_audio: True leaves out the videos without sound, which several places of recording removed; False leaves
            only those; None takes all.
    """
    try:
        with open_table(table) as file:
            videos = json_value(file.read())["videos"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{table}: is no ego4d.json, which has a list of videos ({error!r})") from error
    entries = []
    for number, video in enumerate(videos):
        try:
            name, end = video["video_uid"], video.get("duration_sec")
            audible = _ego4d_audible(video["video_metadata"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{table}: video {number} lacks {error}") from error
        if has_audio in (None, audible):
            extra = {"has_audio": audible, "device": video.get("device"), "source": video.get("video_source")}
            labels = tuple(video.get("scenarios") or ())
            end = None if end is None else _seconds(end, table)
            entries.append(Entry(name, name, 0.0, end, labels=labels, split=video.get("split_av"), extra=extra))
    return from_entries("ego4d", entries)


def folder(path: str | Path) -> AVManifest:
    """Every video file below a folder, whole; its name without suffix, with the folders above it, is its id.

    Raises:
        ValueError: No folder, no video files, or two whose names differ only in the suffix.
    """
    root = Path(path)
    found = media_files(root, CLIPS).paths if root.is_dir() else []
    if not found:
        raise ValueError(f"{root}: {'has no video files' if root.is_dir() else 'is no folder'}")
    entries = []
    for file in found:
        name = file.relative_to(root).with_suffix("").as_posix()
        entries.append(Entry(name, name, path=file, media_status=probe(file)))
    return from_entries(root.name, entries)


def _ego4d_audible(metadata: Mapping[str, Any]) -> bool:
    found = [name for name in EGO4D_SOUND if name in metadata]
    if not found:
        raise KeyError(" and ".join(EGO4D_SOUND))
    return any(metadata[name] for name in found)


def _seconds(text: str | float, table: str | Path) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{table}: {text!r} is no time in seconds") from None


def _excerpt_id(youtube_id: str, start: float) -> str:
    return f"{youtube_id}_{start:g}"


__all__ = ["audiocaps", "audioset", "ave", "ego4d", "folder", "tvsum", "tvsum_scores", "vggsound"]
