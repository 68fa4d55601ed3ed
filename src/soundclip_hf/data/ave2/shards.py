"""Writes rows of AVE-2 and their clips as a folder for a Hub: Parquet without and with clips, and a manifest.

`data/<split>-00000-of-0000N.parquet` has every row; `media/<split>-…` the rows whose clip is there, with the clip's
bytes, once, in the column `video`. `manifest.json` names every shard with its hash; it is written last.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ...extras import require
from ...files import locked_folder
from .shard_series import Limits, OtherRowsError, Series, row_text
from .shard_staging import MANIFEST, Staging, read_manifest
from .subsets import subset_keys
from .validation import faults

# Goes up when the same rows would give other shards.
VERSION = 1
SPLIT = re.compile(r"\w+(\.\w+)*")

Media = str | Path | Mapping[str, str | Path] | Callable[[Mapping[str, Any]], "bytes | str | Path | None"]


@dataclass(frozen=True)
class Sizes:
    """Where shards and row groups end. Bytes are those of clips: a Hub's viewer reads at most 300 MB at once."""

    data_rows: int = 50_000
    data_group_rows: int = 10_000
    media_bytes: int = 200_000_000
    media_group_bytes: int = 100_000_000

    def limits(self, kind: str) -> Limits:
        endless = 2**62
        if kind == "data":
            return Limits(self.data_rows, self.data_group_rows, endless, endless)
        return Limits(endless, endless, self.media_bytes, self.media_group_bytes)


def write_shards(
    rows: Iterable[Mapping[str, Any]],
    folder: str | Path,
    *,
    media: Media | None = None,
    sizes: Sizes | None = None,
    source: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write rows, and their clips, as shards that `datasets.load_dataset` reads.

    The same rows give the same bytes. A run that was stopped goes on after its last whole shard: give it the same rows
    again. Memory holds one row group per split, and all ids.

    Args:
        rows: Complete rows (`schema.complete`), each with a `split`; class labels by name or number. Read once.
        folder: It is made. Shards that are there are kept if they were made of these rows.
        media: Where clips are: a folder of `<sample_id>.mp4`, paths by sample id, or a function of a row that gives
            bytes or a path. None writes no `media/`. Rows whose `media_status` is not "ok" have no clip.
        sizes: None means those of `Sizes`.
        source: Goes into the manifest, such as the hash of a configuration; JSON. Unfinished shards of another source
            are written anew.
        overwrite: Replace what the folder holds once all shards are written.

    Returns:
        The manifest: `rows`, `splits` (rows of each, also by subset), `shards` (path, rows, bytes, SHA-256),
        `rows_sha256`, `code_version`, `source`.

    Raises:
        InUseError: Another process writes shards into the folder.
        ValueError: A bad row, with all its reasons; a `sample_id` that comes twice; no split; a clip that is absent or
            does not have its row's `media_sha256`; a folder that holds shards of other rows.
        OSError: The folder cannot be written, or the disk is full. What is finished stays for the next run.
    """
    require("datasets", "pyarrow", what="writing shards")
    target, sizes = Path(folder), sizes or Sizes()
    made_by = {
        "format_version": VERSION,
        "code_version": f"soundclip-hf {version('soundclip-hf')}",
        "media": media is not None,
        "sizes": asdict(sizes),
        "source": dict(source or {}),
    }
    with locked_folder(target):
        return _write(rows, Staging(target, made_by, overwrite), media, sizes)


def _write(rows: Iterable[Mapping[str, Any]], staging: Staging, media: Media | None, sizes: Sizes) -> dict[str, Any]:
    target = staging.target
    series: dict[tuple[str, str], Series] = {}
    digest, seen, passed = sha256(), dict[str, int](), Counter[tuple[str, str, str]]()
    try:
        for index, row in enumerate(rows):
            _check(row, index, seen)
            text = row_text(row)
            digest.update(text + b"\n")
            kinds = ("data", "media") if media is not None and _has_clip(row) else ("data",)
            passing = subset_keys(row)
            for kind in kinds:
                passed.update((row["split"], name, f"{kind}{mode}") for name, mode in passing)
                key = (kind, row["split"])
                if key not in series:
                    series[key] = staging.series(*key, sizes.limits(kind))
                series[key].add(row, text, partial(read_media, row, media) if kind == "media" else None)
        for one in series.values():
            one.close()
        shards = [shard for one in series.values() for shard in one.shards]
        return staging.finish(shards, passed, digest.hexdigest())
    except OtherRowsError as error:
        raise ValueError(f"{target}: {error}; give another folder, or overwrite=True") from error
    finally:
        for one in series.values():
            one.abandon()


def read_media(row: Mapping[str, Any], media: Media | None) -> bytes:
    """The bytes of a row's clip, checked against its `media_sha256`.

    Raises:
        ValueError: There is no such clip, or it is another one.
    """
    name = row["sample_id"]
    if callable(media):
        found = media(row)
    elif isinstance(media, Mapping):
        found = media.get(name)
    else:
        found = Path(str(media)) / f"{name}.mp4"
    if not isinstance(found, bytes):
        if found is None or not Path(found).is_file():
            where = "" if found is None else f" at {found}"
            raise ValueError(f"{name}: has no clip{where}; fetch it, or set the row's media_status to 'missing'")
        found = Path(found).read_bytes()
    if row["media_sha256"] is None:
        raise ValueError(f"{name}: media_status is 'ok', but there is no media_sha256 to know its clip by; fill it in")
    if (now := sha256(found).hexdigest()) != row["media_sha256"]:
        raise ValueError(f"{name}: its clip has changed: SHA-256 {now}, but the row says {row['media_sha256']}")
    return found


def _has_clip(row: Mapping[str, Any]) -> bool:
    return row["media_status"] in ("ok", 0)


def _check(row: Mapping[str, Any], index: int, seen: dict[str, int]) -> None:
    reasons = faults(row)
    name, split = row.get("sample_id"), row.get("split")
    if not reasons and not (split and SPLIT.fullmatch(split)):
        reasons.append(f"split={split!r} is no name; `soundclip ave2 subset` or subsets.split_of gives one")
    if not reasons and seen.setdefault(name, index) != index:  # type: ignore[arg-type]
        reasons.append(f"this sample_id is already that of row {seen[name]}")  # type: ignore[index]
    if reasons:
        raise ValueError(f"row {index} ({name}): {'; '.join(reasons)}")


__all__ = ["MANIFEST", "Sizes", "read_manifest", "read_media", "write_shards"]
