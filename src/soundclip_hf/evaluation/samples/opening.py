"""Opens a data set as samples: synthetic scenes, a folder of clips, a table, a folder or a Hub repository."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any

from ...data.ave2.hub_access import NoManifestError, explained
from ...data.ave2.loading import Ave2
from ...data.ave2.schema import complete
from ...data.ave2.shards import MANIFEST
from ...data.ave2.tables import read_rows
from ...data.media_columns import source_of, undecoded
from ...data.synthetic import FIRST_TEST, scene
from ...extras import require
from ...files import expand_user
from ...media_kinds import CLIPS, PICTURES, SOUNDS, kind_of, media_files, paired
from ...text_tables import json_lines, json_value
from .sample import Sample
from .samples import Samples

SYNTHETIC = "synthetic"
SYNTHETIC_SCENES = 1000
TABLES = (".jsonl", ".json", ".parquet")
MEDIA = ("audio", "image", "video")
# Ids of AVE-2: the video and the number of the segment.
_SEGMENT = re.compile(r"(.+)_\d{2}")


def open_samples(
    source: str | Path,
    *,
    split: str | None = None,
    media: str | Path | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    limit: int | None = None,
) -> Samples:
    """
    Open a data set to measure with.

    Args:
        source: One of

            - "synthetic": scenes with a sounding thing in the picture, which the bundled model has not met;
            - a folder of clips, or of sounds and pictures with the same names;
            - a table (.jsonl, .parquet, the authors' .json) of AVE-2 rows, or .jsonl with `video`, or `audio` with
              `image`, as paths relative to the table;
            - a folder that `write_shards` or `save_to_disk` made, or a data set on a Hub, with a column `video`, or
              `audio` with `image` or `video`.

            A clip or row that is named `<video>_<two digits>`, as in AVE-2, is of the group `<video>`; otherwise the
            group is `youtube_id`, `group`, or the id.
        split: Of shards or a data set. None takes "eval", "test" or "validation" where there is one, else all rows.
        media: For a table: the folder, at any depth, with the media of the row `<sample_id>` under that name.
        revision, token: Of a data set on a Hub.
        limit: How many samples to take, from the first on; of "synthetic" 1000 by default.

    Raises:
        ValueError: If there is no such source, it has no sample with sound or picture, an argument does not go with it,
            or ids are not unique.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit={limit}: must be at least 1")
    name = str(source)
    if name == SYNTHETIC:
        _refuse(name, split=split, media=media, revision=revision)
        return _synthetic(SYNTHETIC_SCENES if limit is None else limit)
    path = expand_user(name)
    if path.suffix.lower() in TABLES and not path.is_dir():
        _refuse(name, split=split, revision=revision)
        found = _table(path, None if media is None else Path(media))
    elif path.is_dir() and not _holds_tables(path):
        _refuse(name, split=split, media=media, revision=revision)
        found = _folder(path)
    else:
        _refuse(name, media=media)
        if path.is_dir():
            _refuse(name, revision=revision)
        elif path.is_file():
            raise ValueError(f"{name}: is a file; give a table ({', '.join(TABLES)}), or a folder of clips")
        elif name.startswith((".", "/", "~")):
            raise ValueError(f"{name}: no such file or folder")
        found = _data_set(path if path.is_dir() else name, split, revision, token)
    if not len(found):
        raise ValueError(f"{name}: has no sample with a sound or a picture ({len(found.left_out)} rows without media)")
    return found.take(limit)


def _refuse(name: str, **given: Any) -> None:
    for option, value in given.items():
        if value is not None:
            raise ValueError(f"{option}={str(value)!r}: {name} has none; leave it out")


def _synthetic(limit: int) -> Samples:
    wanted = (number for number in count(FIRST_TEST) if scene(number).sounding)
    numbers = list(islice(wanted, limit))

    def get(index: int) -> Sample:
        number = numbers[index]
        row = {name: value for name, value in scene(number).row().items() if value is not None}
        return Sample(f"synthetic-{number}", f"synthetic-{number}", row, scene=number)

    ids = [f"synthetic-{number}" for number in numbers]
    return Samples(f"{SYNTHETIC}, scenes from {FIRST_TEST} with a source in the picture", get, ids, ids)


def _folder(folder: Path) -> Samples:
    walked = media_files(folder, CLIPS | PICTURES | SOUNDS)
    pairs = paired(walked.paths)
    if not pairs:
        raise ValueError(
            f"{folder}: holds neither a table, nor clips ({', '.join(sorted(CLIPS))}), nor sounds and pictures with "
            "the same names"
        )
    ids = [next(iter(pair.values())).relative_to(folder).with_suffix("").as_posix() for pair in pairs]
    groups = [_group(one, {}) for one in ids]
    media = [_paths(pair) for pair in pairs]
    # A picture alone is a thumbnail or a title; a sound without its picture, or a file without a usable name, is lost.
    used = {path for pair in pairs for path in pair.values()}
    lost = [path for path in walked.paths if path.suffix.lower() in SOUNDS and path not in used] + walked.unnamed
    return Samples(
        str(folder),
        lambda index: Sample(ids[index], groups[index], **media[index]),
        ids,
        groups,
        left_out=[os.fsencode(path.relative_to(folder)).decode(errors="backslashreplace") for path in lost],
    )


def _table(table: Path, media: Path | None) -> Samples:
    if media is not None and not media.is_dir():
        raise ValueError(f"media={str(media)!r}: no such folder")
    rows = _json_rows(table) if table.suffix.lower() == ".jsonl" else list(read_rows(table))
    there: dict[str, dict[str, Path]] = {}
    if media is not None:
        for path in media_files(media, CLIPS | PICTURES | SOUNDS).paths:
            there.setdefault(path.stem, {}).setdefault(kind_of(path.name), path)
    sources: list[dict[str, Any]] = []
    kept: list[Mapping[str, Any]] = []
    ids, left_out = [], []
    for number, row in enumerate(rows, 1):
        name = _id(row, f"{table} row {number}")
        found = _paths(there.get(name, {})) if media is not None else _named(row, table.parent)
        if found:
            ids.append(name)
            kept.append(row)
            sources.append(found)
        else:
            left_out.append(name)
    groups = [_group(name, row) for name, row in zip(ids, kept)]
    return Samples(
        str(table),
        lambda index: Sample(ids[index], groups[index], kept[index], **sources[index]),
        ids,
        groups,
        left_out=left_out,
    )


def _data_set(source: str | Path, split: str | None, revision: str | None, token: str | bool | None) -> Samples:
    require("datasets", what=f"{source}: reading a data set", extra="data")
    import datasets

    commit, content, name = revision, "", str(source)
    if isinstance(source, Path) and any((source / file).is_file() for file in ("state.json", "dataset_dict.json")):
        loaded = datasets.load_from_disk(str(source))
    elif isinstance(source, Path) and not (source / MANIFEST).is_file():
        loaded = datasets.load_dataset(str(source))
    else:
        try:
            shards = Ave2(source, revision=revision, token=token)
        except NoManifestError as error:
            commit = error.commit
            with explained(str(source), commit):
                loaded = datasets.load_dataset(str(source), revision=commit, token=token)
        else:
            commit, content = shards.revision, json.dumps(shards.manifest["shards"], sort_keys=True)
            loaded = shards.subset("media")
    if isinstance(loaded, datasets.DatasetDict):
        chosen = split or next((one for one in ("eval", "test", "validation") if one in loaded), None)
        if chosen is not None and chosen not in loaded:
            raise ValueError(f"split {chosen!r}: {source} has {', '.join(loaded)}")
        name = f"{source}, {chosen}" if chosen else f"{source}, all rows"
        loaded = loaded[chosen] if chosen else datasets.concatenate_datasets(list(loaded.values()))
    elif split is not None:
        raise ValueError(f"split={split!r}: {source} is one data set without splits; leave it out")
    columns = [key for key in MEDIA if key in loaded.column_names]
    if "video" not in columns and not {"audio", "image"} <= set(columns):
        raise ValueError(
            f"{source}: its columns are {', '.join(loaded.column_names)}. It needs 'video', or 'audio' with 'image'"
        )
    rows = undecoded(loaded, columns)
    content = content or rows._fingerprint
    known = [key for key in rows.column_names if key not in columns]
    labels = list(rows.select_columns([key for key in ("sample_id", "id", "youtube_id", "group") if key in known]))
    ids = [str(one.get("sample_id") or one.get("id") or f"row-{number}") for number, one in enumerate(labels)]
    groups = [_group(one, row) for one, row in zip(ids, labels)]

    def get(index: int) -> Sample:
        row = dict(rows[index])
        media = {key: source_of(row.pop(key)) for key in columns}
        if "image" in media and "video" in media:
            media.pop("image")
        return Sample(ids[index], groups[index], row, **media)

    return Samples(name, get, ids, groups, revision=commit, content=content)


def _json_rows(table: Path) -> list[dict[str, Any]]:
    rows = []
    for number, line in json_lines(table):
        try:
            row = json_value(line)
        except ValueError as error:
            raise ValueError(f"{table}, line {number}: {error}") from error
        if not isinstance(row, dict):
            raise ValueError(f"{table}, line {number}: is no JSON object")
        if row.get("youtube_id") and row.get("segment") is not None and not row.get("sample_id"):
            row["sample_id"] = complete({"youtube_id": row["youtube_id"], "segment": row["segment"]})["sample_id"]
        rows.append(row)
    return rows


def _id(row: Mapping[str, Any], where: str) -> str:
    for key in ("sample_id", "id"):
        if row.get(key) is not None:
            return str(row[key])
    raise ValueError(f"{where}: has neither sample_id nor id")


def _group(name: str, row: Mapping[str, Any]) -> str:
    for key in ("youtube_id", "group"):
        if row.get(key):
            return str(row[key])
    found = _SEGMENT.fullmatch(name)
    return found[1] if found else name


def _paths(found: Mapping[str, Path]) -> dict[str, Any]:
    """A video, or a sound with a picture; nothing where only one of these is there."""
    if "video" in found:
        return {key: str(path) for key, path in found.items() if key != "image"}
    return {key: str(path) for key, path in found.items()} if {"audio", "image"} <= set(found) else {}


def _named(row: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The media that a row names; their paths are relative to the folder of its table."""
    named = {key: row[key] for key in MEDIA if isinstance(row.get(key), str) and row[key]}
    if "image" in named and "video" in named:
        raise ValueError(f"{_id(row, str(folder))}: has both 'image' and 'video'; give one")
    return {key: value if "://" in value else str(folder / expand_user(value)) for key, value in named.items()}


def _holds_tables(folder: Path) -> bool:
    names: Sequence[str] = (MANIFEST, "state.json", "dataset_dict.json", "dataset_info.json")
    return any((folder / name).is_file() for name in names) or any(folder.rglob("*.parquet"))


__all__ = ["SYNTHETIC", "open_samples"]
