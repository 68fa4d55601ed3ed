"""Rows of a made-up AVE-2: every segment type, failed judgements, and a row of zeros."""

from __future__ import annotations

from typing import Any

import numpy as np

from soundclip_hf.data.ave2.schema import SCORES, SEGMENT_TYPES, SOURCES, complete

NAMES = {
    "visible_active_sources": ["man", "dog", "guitar", "car"],
    "invisible_active_sources": ["wind", "narrator", "bird"],
    "visible_silent_objects": ["chair", "table", "tree", "lamp", "cup"],
}


def rows(count: int = 60, seed: int = 0) -> list[dict[str, Any]]:
    """Three segments per video; every tenth judgement failed, row 3 has zeros only."""
    random = np.random.default_rng(seed)
    made = []
    for number in range(count):
        scores: list[int | None] = [int(score) for score in random.integers(0, 11, 5)]
        if number == 3:
            scores = [0] * 5
        kind = list(SEGMENT_TYPES)[number % 8]
        lists = {
            name: [str(entry) for entry in random.choice(NAMES[name], 1 + number % 2, replace=False)] if wanted else []
            for name, wanted in zip(SOURCES, kind)
        }
        if number % 10 == 9:
            scores, lists = [None] * 5, {}
        made.append(
            complete(
                {
                    "youtube_id": f"video-{number // 3:05d}",
                    "segment": number % 3 + 1,
                    "source_dataset": "audioset",
                    "split": "train",
                    "clip_start_time": 30.0,
                    "audio_caption": "a sound",
                    "video_caption": "a scene",
                    **dict(zip(SCORES, scores)),
                    **lists,
                }
            )
        )
    return made
