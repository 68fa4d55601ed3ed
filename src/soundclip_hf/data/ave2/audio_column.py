"""Adds a column of sound to a data set of clips, decoded from the same bytes. Needs `datasets`.

`datasets` decodes sound with torchcodec, which needs FFmpeg on the machine. Here PyAV does it, which brings its own.
"""

# ruff: noqa: E402  (the check that says what to install comes before what it checks)
from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from ...extras import require
from ...media import MediaError, load_sound

require("datasets", "pyarrow", what="a column of sound (with_audio)")
import pyarrow
from datasets import Audio, Dataset, DatasetDict, Features, IterableDataset, IterableDatasetDict, Video, config
from datasets.arrow_dataset import update_metadata_with_features
from datasets.table import ConcatenationTable, Table

ANY = (Dataset, IterableDataset, DatasetDict, IterableDatasetDict)


def with_audio(ds: Any, sampling_rate: int = 16000, *, video_column: str = "video", audio_column: str = "audio") -> Any:
    """Add a column with the sound of each clip. It points to the bytes of the clip; nothing is copied or written.

    `ds[0]["audio"]` is a dict with `array`, `(samples,)` float32 mono, and `sampling_rate`; null clips have no sound.
    Only the rows that are read are decoded. Stored (`save_to_disk`), or joined sideways to another data set, the column
    is a plain `datasets.Audio` of the file's bytes, which `datasets` decodes with torchcodec; call `with_audio` again
    on what you load to decode it without.

    Without torchcodec no clip can be decoded by `datasets` itself: then the `video` column gives `bytes` and `path`,
    for `soundclip_hf.read_clip(row["video"]["bytes"])`.

    Of a stream, drop columns before this call or with `select_columns`: `remove_columns` afterwards is a `map` of
    `datasets`, which decodes every sound twice.

    Args:
        ds: A `Dataset`, `IterableDataset`, or a dict of either, as `load_dataset` gives them.
        sampling_rate: Of the sound, in Hz.

    Returns:
        The same kind of data set; `ds` stays as it is.

    Raises:
        TypeError: Another kind of object.
        ValueError: No column of clips, or a column with the new column's name that is not a `datasets.Audio`.
    """
    if not isinstance(ds, ANY):
        raise TypeError(f"{type(ds).__name__} is no data set; pass what datasets.load_dataset returns")
    if isinstance(ds, (DatasetDict, IterableDatasetDict)):
        options = {"video_column": video_column, "audio_column": audio_column}
        return type(ds)({split: with_audio(part, sampling_rate, **options) for split, part in ds.items()})
    if isinstance(sampling_rate, bool) or not isinstance(sampling_rate, int) or sampling_rate < 1:
        raise ValueError(f"sampling_rate={sampling_rate!r}: pass a rate in Hz, such as 16000")
    if ds.features is None:
        ds = ds._resolve_features()
    if video_column not in ds.features:
        raise ValueError(f'no column {video_column!r} in {", ".join(ds.features)}; clips are in AVE-2\'s "media" part')
    sound = ClipAudio(sampling_rate=sampling_rate)
    if audio_column in ds.features:
        if type(ds.features[audio_column]) is not Audio:
            raise ValueError(f"there is a column {audio_column!r} already; pass another audio_column")
        return ds.cast_column(audio_column, sound)
    if not config.TORCHCODEC_AVAILABLE:
        ds = ds.cast_column(video_column, Video(decode=False))
    if isinstance(ds, Dataset):
        return _aliased(ds, video_column, audio_column, sound)
    # The clip must arrive at the new column as bytes, whatever becomes of it in its own. Features that are given to
    # `map` are taken as applied already; `cast` applies them.
    raw = ds.cast_column(video_column, Video(decode=False))
    shown = Features({**ds.features, audio_column: sound})
    return raw.map(partial(_point, video_column, audio_column)).cast(shown)


class Sound(dict):
    """A decoded sound: `array`, `sampling_rate`, and `path` and `bytes` of the file, until another `array` is set."""

    def __setitem__(self, name: str, value: Any) -> None:
        # `Dataset.map` writes back what was looked at: the bytes if they still are that sound.
        if name == "array":
            self.pop("bytes", None)
            self.pop("path", None)
        super().__setitem__(name, value)

    def __repr__(self) -> str:
        return repr({name: f"<{len(v)} bytes>" if isinstance(v, bytes) else v for name, v in self.items()})


@dataclass
class ClipAudio(Audio):
    """`datasets.Audio` that decodes with PyAV, and the sound of videos too. Written to disk it is an `Audio`."""

    _type: str = field(default="Audio", init=False, repr=False)

    def encode_example(self, value: Any) -> dict[str, Any]:
        """A path, bytes, a dict of either, or a dict of an array and its rate, as a file's bytes or path."""
        if isinstance(value, (bytes, bytearray)):
            return {"bytes": bytes(value), "path": None}
        if isinstance(value, str):
            return {"bytes": None, "path": value}
        if isinstance(value, Mapping) and (value.get("bytes") is not None or value.get("path") is not None):
            return {"bytes": value.get("bytes"), "path": value.get("path")}
        if isinstance(value, Mapping) and "array" in value:
            return {"bytes": _wav(np.asarray(value["array"], np.float32), value["sampling_rate"]), "path": None}
        raise ValueError(f"{type(value).__name__} is no sound; pass bytes, a path, or a dict with array or bytes")

    def cast_storage(self, storage: pyarrow.Array) -> pyarrow.StructArray:
        if pyarrow.types.is_struct(storage.type) and storage.type.get_field_index("array") >= 0:
            encoded = [None if row is None else self.encode_example(row) for row in storage.to_pylist()]
            return pyarrow.array(encoded, self.pa_type)
        return super().cast_storage(storage)

    def decode_example(self, value: Any, token_per_repo_id: dict[str, Any] | None = None) -> Any:
        """
        Returns:
            A [`Sound`]: mono, at `sampling_rate`.

        Raises:
            MediaError: It cannot be decoded, or is silent film.
        """
        if isinstance(value, Sound):
            return value  # streams decode what a `map` before them has decoded
        content, path = value["bytes"], value["path"]
        if content is None and path is None:
            raise MediaError("a clip without bytes and path; leave it null")
        rate = self.sampling_rate or 16000
        try:
            array = load_sound(path if content is None else content, sampling_rate=rate)
        except MediaError as error:
            raise MediaError(f"{path or 'clip'}: {error}") from error
        return Sound({"array": array, "sampling_rate": rate, "path": path, "bytes": content})


def _point(video_column: str, audio_column: str, row: dict[str, Any]) -> dict[str, Any]:
    return {audio_column: row[video_column]}


def _aliased(ds: Dataset, video_column: str, audio_column: str, sound: ClipAudio) -> Dataset:
    features = Features({**ds.features, audio_column: sound})
    table = update_metadata_with_features(_twice(ds.data, video_column, audio_column), features)
    info = ds.info.copy()
    info.features = features
    made = Dataset(table, info=info, split=ds.split, indices_table=ds._indices)
    if ds.format["type"] is not None:
        made.set_format(ds.format["type"], columns=[*ds.format["columns"], audio_column], **ds.format["format_kwargs"])
    return made


def _twice(table: Table, column: str, again: str) -> Table:
    """The table with one column under two names. It stays mapped to its file, also in other processes."""
    if isinstance(table, ConcatenationTable):
        # Renaming a concatenation goes by name, and two columns have the same one for a moment.
        blocks = [
            [_twice(block, column, again) if column in block.column_names else block for block in row]
            for row in table.blocks
        ]
        return ConcatenationTable.from_blocks(blocks)
    return table.select([*table.column_names, column]).rename_columns([*table.column_names, again])


def _wav(samples: np.ndarray, rate: int) -> bytes:
    """`(samples,)` float32 as a wav file of floats."""
    data = samples.astype("<f4").tobytes()
    form = struct.pack("<HHIIHH", 3, 1, rate, 4 * rate, 4, 32)
    return (
        b"RIFF"
        + struct.pack("<I", 36 + len(data))
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + form
        + b"data"
        + struct.pack("<I", len(data))
        + data
    )


__all__ = ["ClipAudio", "Sound", "with_audio"]
