"""Reads the authors' JSON shards of AVE-2 as rows of our schema; unknown columns are kept in `extra`."""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from ...files import naming
from .hub_access import explained
from .schema import COLUMNS, DERIVED, DIMENSIONS, SCORES, SOURCES, complete
from .terms import NOTICE

CHUNK = 1 << 20
HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
HUB_SHARD = re.compile(r"data/[^/]+\.json")
# Names seen on the authors' pages and in their tables -> ours. The released rationale columns could not be read, so
# several endings are taken.
ALIASES = {
    "video_id": "youtube_id",
    "sha256": "media_sha256",
    "visible_silent_sources": "visible_silent_objects",
    "silent_objects": "visible_silent_objects",
    "visible_sources": "visible_active_sources",
    "invisible_sources": "invisible_active_sources",
    **{f"{name}_{end}": f"{name}_reason" for name in DIMENSIONS for end in ("rationale", "explanation", "reasoning")},
}
NOTHING = {"", "none", "null", "n/a", "[]"}


def from_upstream(
    path: str | Path, *, revision: str | None = None, token: str | bool | None = None
) -> Iterator[dict[str, Any]]:
    """Read the authors' shards, `train_00000.json` and so on: each file is one JSON array of rows.

    Scores that are whole floats or digits become integers, segments such as "02" numbers, lists that are written as
    text lists. What cannot be read so is kept as it is, for `validation.validate` to report. Derived columns are
    computed anew; upstream's own totals stay in `extra`.

    Args:
        path: A shard; a folder of shards, read in the order of their names, with flat memory; or a data set on a Hub,
            `org/name`, whose `data/*.json` are fetched one after the other. Then the conditions of use are printed on
            stderr.
        revision: Of the data set on a Hub: a branch, tag or commit.
        token: For a data set that is gated, as the authors' is; None takes that of `hf auth login`.

    Raises:
        ValueError: No shards; a file that is no JSON array of objects; a row without video id or segment.
        HubAccessError: No such data set or revision on the Hub, or no access to it; a ValueError, too.
    """
    for shard in _shards(path, revision, token):
        for number, row in enumerate(read_array(shard)):
            try:
                yield _row(row)
            except (ValueError, TypeError) as error:
                raise ValueError(f"{shard}, row {number}: {error}") from error


def _shards(path: str | Path, revision: str | None, token: str | bool | None) -> Iterator[Path]:
    source = Path(path)
    if isinstance(path, str) and HUB_NAME.fullmatch(path) and source.suffix != ".json" and not source.exists():
        yield from _from_hub(path, revision, token)
        return
    if revision is not None:
        raise ValueError(f"{source}: is not on a Hub, and has no revision {revision!r}; leave it out")
    shards = sorted(source.glob("*.json")) if source.is_dir() else [source]
    if not shards:
        raise ValueError(f"{source}: has no .json files; give a shard or a folder of shards")
    yield from shards


def _from_hub(repo: str, revision: str | None, token: str | bool | None) -> Iterator[Path]:
    from huggingface_hub import HfApi, hf_hub_download

    print(NOTICE, file=sys.stderr)
    with explained(repo, revision):
        found = HfApi().dataset_info(repo, revision=revision, token=token)
    names = sorted(file.rfilename for file in found.siblings or () if HUB_SHARD.fullmatch(file.rfilename))
    if not names:
        raise ValueError(f"{repo}: has no data/*.json; only the authors' form is read here, others by load_dataset")
    for name in names:
        with explained(repo, revision):
            local = hf_hub_download(repo, name, repo_type="dataset", revision=found.sha, token=token)
        yield Path(local)


def read_array(path: str | Path) -> Iterator[Any]:
    """The entries of a file that is one JSON array, one by one, as `json.loads` would read them.

    The library ijson refuses the NaN that Python and pandas write, and finds nothing, without an error, in an object.

    Raises:
        ValueError: Anything but one complete array.
    """
    with naming(path), Path(path).open(encoding="utf-8") as file:
        text = _Text(file)
        if text.next() != "[":
            raise ValueError(f"{path}: is no JSON array")
        text.position += 1
        first = True
        while text.next() != "]":
            if not first:
                if text.next() != ",":
                    raise ValueError(f"{path}: is cut off, or no JSON array")
                text.position += 1
                text.next()
            first = False
            try:
                yield text.value()
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}: is cut off, or no JSON ({error.msg})") from error
        text.position += 1
        if text.next():
            raise ValueError(f"{path}: has more than one JSON value")


class _Text:
    """A file's text from `position` on, read as it is needed."""

    def __init__(self, file: TextIO) -> None:
        self.file, self.text, self.position = file, "", 0
        self.decoder = json.JSONDecoder()

    def more(self) -> bool:
        chunk = self.file.read(CHUNK)
        if chunk:
            self.text, self.position = self.text[self.position :] + chunk, 0
        return bool(chunk)

    def next(self) -> str:
        """The character that follows white space; empty at the end."""
        while True:
            while self.position < len(self.text) and self.text[self.position].isspace():
                self.position += 1
            if self.position < len(self.text) or not self.more():
                return self.text[self.position : self.position + 1]

    def value(self) -> Any:
        while True:
            try:
                value, end = self.decoder.raw_decode(self.text, self.position)
            except json.JSONDecodeError:
                if not self.more():
                    raise
                continue
            # A number at the end of what was read may go on in the next chunk.
            if end < len(self.text) or not self.more():
                self.position = end
                return value


def _row(given: Any) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise ValueError(f"is {type(given).__name__}, not an object")
    row: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, value in given.items():
        ours = ALIASES.get(name, name)
        if ours in COLUMNS and ours not in DERIVED and ours not in row:
            row[ours] = value
        else:
            extra[name] = value
    row["segment"] = _whole(row.get("segment"))
    row |= {name: _whole(row[name]) for name in SCORES if name in row}
    row |= {name: _names(row[name]) for name in SOURCES if name in row}
    if extra:
        row["extra"] = json.dumps(extra, ensure_ascii=False, sort_keys=True)
    return complete(row)


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return int(value) if isinstance(value, str) and value.strip().isdigit() else value


def _names(value: Any) -> Any:
    if not isinstance(value, str):
        return [] if value is None else value
    text = value.strip()
    if text.lower() in NOTHING:
        return []
    if text.startswith("["):
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError):
            return value
    return [name.strip() for name in text.split(",") if name.strip()]


__all__ = ["from_upstream", "read_array"]
