"""Reads TVSum's MATLAB file: its videos as an `AVManifest`, and the importance of their frames. Needs h5py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...extras import require
from ...files import naming
from .manifest import AVManifest, Entry, from_entries


def tvsum(table: str | Path) -> AVManifest:
    """`ydata-tvsum50.mat`: 50 whole videos, with title, category and number of frames in `extra`. Needs h5py."""
    return from_entries(
        "tvsum",
        (
            Entry(
                video["video"],
                video["video"],
                0.0,
                video["length"],
                labels=(video["category"],),
                extra={"title": video["title"], "frames": int(video["nframes"])},
            )
            for video in _tvsum_videos(table, ("video", "title", "category", "length", "nframes"))
        ),
    )


def tvsum_scores(table: str | Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Importance of each frame, 1 to 5, by video id: `(frames,)` averaged, and `(20, frames)` of each annotator."""
    videos = _tvsum_videos(table, ("video", "gt_score", "user_anno"))
    return {video["video"]: (video["gt_score"].reshape(-1), video["user_anno"]) for video in videos}


def _tvsum_videos(table: str | Path, columns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """MATLAB 7.3 files are HDF5: a cell is a reference, text is an array of UTF-16 codes, matrices are transposed."""
    require("h5py", what=f"{table}: reading HDF5")
    import h5py

    with naming(table), h5py.File(table) as file:
        cells = file["tvsum50"]
        for number in range(cells["video"].shape[0]):
            video: dict[str, Any] = {}
            for column in columns:
                value = file[cells[column][number, 0]][()]
                if value.dtype == np.uint16:
                    video[column] = value.T.tobytes().decode("utf-16-le")
                else:
                    video[column] = float(value.item()) if value.size == 1 else value
            yield video


__all__ = ["tvsum", "tvsum_scores"]
