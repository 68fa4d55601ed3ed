"""One row of AVE-2, a 3-second segment: its columns, their types as `datasets.Features`, and what follows from others.

Rows are plain dicts in which class labels are names; `Features.encode_example` turns these into numbers.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...extras import require

if TYPE_CHECKING:
    from datasets import Features

SECONDS = 3.0
MAX_SCORE = 10
# Paper, section 2.1, in its order.
DIMENSIONS = (
    "temporal_alignment",
    "spatial_coherence",
    "contextual_relevance",
    "physical_causality",
    "sound_source_visibility",
)
SCORES = tuple(f"{dimension}_score" for dimension in DIMENSIONS)
REASONS = tuple(f"{dimension}_reason" for dimension in DIMENSIONS)
SOURCES = ("visible_active_sources", "invisible_active_sources", "visible_silent_objects")
FLAGS = ("has_visible", "has_invisible", "has_silent")
# Paper, Table 16, in its order; the key says which of `SOURCES` are not empty.
SEGMENT_TYPES = {
    (True, False, False): "visible_only",
    (False, True, False): "invisible_only",
    (False, False, True): "silent_only",
    (True, True, False): "visible_invisible",
    (True, False, True): "visible_silent",
    (False, True, True): "invisible_silent",
    (True, True, True): "all",
    (False, False, False): "no_source",
}
MEDIA_STATUS = ("ok", "missing", "private", "removed", "region_locked", "decode_error", "no_audio", "too_short")
JUDGE_MODES = ("captions", "media")
# Column -> dtype of `datasets.Value`.
VALUES = {
    "sample_id": "string",
    "youtube_id": "string",
    "segment": "int8",
    "source_dataset": "string",
    "split": "string",
    "segment_start_time": "float32",
    "segment_end_time": "float32",
    "clip_start_time": "float32",
    "youtube_start_time": "float64",
    "youtube_end_time": "float64",
    "media_sha256": "string",
    # ISO 8601. As a timestamp it would keep `with_format("torch")` from reading any row.
    "retrieved_at": "string",
    "builder_version": "string",
    "audio_caption": "string",
    "speech_content": "string",
    "environmental_audio": "string",
    "video_caption": "string",
    "audio_visual_label": "string",
    **dict.fromkeys(SCORES, "int8"),
    **dict.fromkeys(REASONS, "string"),
    "judge_model": "string",
    "judge_prompt_id": "string",
    "judge_prompt_sha256": "string",
    "judge_seed": "int64",
    "judge_mode": "string",
    "judge_raw": "string",
    "extra": "string",
    "overall_score": "float32",
    **dict.fromkeys(FLAGS, "bool"),
}
LABELS = {"media_status": MEDIA_STATUS, "segment_type": tuple(SEGMENT_TYPES.values())}
COLUMNS = (*VALUES, *SOURCES, *LABELS)
DERIVED = ("overall_score", "segment_type", *FLAGS)
# These say what the row is about. All that a judge says is null where it failed, and so is what follows from that.
REQUIRED = (
    "sample_id",
    "youtube_id",
    "segment",
    "segment_start_time",
    "segment_end_time",
    "media_status",
)


def features(media: bool = False) -> Features:
    """Types of all columns; every `Value` may be null. Needs the `data` extra.

    Args:
        media: Add the `video` column, the mp4 file of the segment. Sound is in the same bytes, not in a second column.
    """
    require("datasets", what="the schema of AVE-2")
    from datasets import ClassLabel, Features, List, Value, Video

    columns: dict[str, Any] = {name: Value(dtype) for name, dtype in VALUES.items()}
    columns |= {name: List(Value("string")) for name in SOURCES}
    columns |= {name: ClassLabel(names=list(names)) for name, names in LABELS.items()}
    if media:
        columns["video"] = Video()
    return Features(columns)


def sample_id(youtube_id: str, segment: int) -> str:
    """`abc_02` for the second segment, counted from 1."""
    return f"{youtube_id}_{segment:02d}"


def segment_type(
    visible: Sequence[str] | None, invisible: Sequence[str] | None, silent: Sequence[str] | None
) -> str | None:
    """Class of Table 16; it depends only on which of the three lists are not empty. None if one of them is null."""
    if visible is None or invisible is None or silent is None:
        return None
    return SEGMENT_TYPES[bool(visible), bool(invisible), bool(silent)]


def overall_score(row: Mapping[str, Any]) -> float | None:
    """Mean of the five scores, in [0, 10]; None if one of them is null."""
    scores = [row.get(name) for name in SCORES]
    if any(score is None for score in scores):
        return None
    return sum(scores) / len(scores)  # type: ignore[arg-type]


_WANTED = "wanted is a table with AVE-2's columns, such as segments.jsonl of `soundclip ave2 segment`"


def complete(row: Mapping[str, Any]) -> dict[str, Any]:
    """A full row of what is known: absent columns become null, derived ones are computed.

    Args:
        row: At least `youtube_id` and `segment` (from 1). Segment times default to 3-second steps, `media_status` to
            "missing" unless there is a `media_sha256`, absolute times follow from `clip_start_time`, in seconds.

    Raises:
        ValueError: No `youtube_id` or `segment`, or a column that the schema does not have.
    """
    unknown = sorted(set(row) - set(COLUMNS) - {"video"})
    if unknown:
        raise ValueError(
            f"column {unknown[0]!r} is not in the schema of AVE-2; put it into `extra`, or leave it out ({_WANTED})"
        )
    filled: dict[str, Any] = dict.fromkeys(COLUMNS) | dict(row)
    youtube_id, segment = filled["youtube_id"], filled["segment"]
    if youtube_id is None or segment is None:
        raise ValueError(f"a row needs youtube_id and segment, from which its sample_id follows ({_WANTED})")
    filled["sample_id"] = filled["sample_id"] or sample_id(youtube_id, segment)
    if filled["segment_start_time"] is None:
        filled["segment_start_time"] = SECONDS * (segment - 1)
    if filled["segment_end_time"] is None:
        filled["segment_end_time"] = filled["segment_start_time"] + SECONDS
    if filled["clip_start_time"] is not None:
        for edge in ("start", "end"):
            filled[f"youtube_{edge}_time"] = filled["clip_start_time"] + filled[f"segment_{edge}_time"]
    filled["retrieved_at"] = stored("retrieved_at", filled["retrieved_at"])
    filled["media_status"] = filled["media_status"] or ("ok" if filled["media_sha256"] else "missing")
    return filled | derived(filled)


def stored(name: str, value: Any) -> Any:
    """A value as the column has it in Arrow: the code of a class label, a date and time as text."""
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    return LABELS[name].index(value) if name in LABELS and value in LABELS[name] else value


def derived(row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that follow from others: `overall_score`, `segment_type` and the `has_*` flags."""
    lists = [row[name] for name in SOURCES]
    kind = {"overall_score": overall_score(row), "segment_type": segment_type(*lists)}
    return kind | {flag: None if names is None else bool(names) for flag, names in zip(FLAGS, lists)}


__all__ = [
    "COLUMNS",
    "DERIVED",
    "DIMENSIONS",
    "FLAGS",
    "JUDGE_MODES",
    "LABELS",
    "MAX_SCORE",
    "MEDIA_STATUS",
    "REASONS",
    "REQUIRED",
    "SCORES",
    "SECONDS",
    "SEGMENT_TYPES",
    "SOURCES",
    "VALUES",
    "complete",
    "derived",
    "features",
    "overall_score",
    "sample_id",
    "segment_type",
    "stored",
]
