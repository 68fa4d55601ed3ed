"""Chooses the rows that are held out so that no training row has their media; media are compared without decoding."""

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import torch

from ...data.media_columns import source_of
from ...extras import require
from ...modeling.prompts.message_parts import MISSING, read_part

logger = logging.getLogger("transformers.soundclip_hf.training")

# Of a file that is held as bytes: its size and three blocks tell two media apart, and a large set is not read whole.
_BLOCK = 4096
_BATCH = 100
# A path is shorter; a longer text is the content of a file.
_LONGEST_PATH = 4096


def held_out_rows(
    media: Sequence[Collection[str]], count: int, seed: int, *, dataset: str, least: int = 1
) -> torch.Tensor:
    """
    Choose rows to hold out. Rows that share a medium, also through other rows, go to one side together, so that what is
    measured on held-out rows is measured on media that the model was not trained on.

    Where each medium is in one row alone, exactly `count` rows are held out. Otherwise the number is as close to it as
    whole groups of rows allow.

    Where that is impossible, as for one clip with many questions, the rows are split one by one and a warning says so:
    to train on such a set is a fair wish, and only the measurements mean less. A medium of more than half of the rows,
    such as one silent sound, is left out of account first.

    Args:
        media: The media of each row, as [`media_of_rows`] gives them; of a row without media, nothing.
        count: How many rows are wanted, `1 <= count < rows`.
        seed: Draws them.
        dataset: Its name, for the warning.
        least: How many rows each side needs.

    Returns:
        `(rows,)` bool, true for the rows that are held out; the same for the same media and seed.
    """
    total = len(media)
    order = torch.randperm(total, generator=torch.Generator().manual_seed(seed)).tolist()
    held_out: list[int] = []
    found = Counter(name for names in media for name in set(names))
    common = {name for name, times in found.items() if times > total / 2}
    for ignored in (set(), common) if common else (set(),):
        chosen = _whole_groups(_groups(media, ignored), order, count, least)
        if least <= len(chosen) <= max(count, total // 2) and total - len(chosen) >= least:
            held_out = chosen
            break
    else:
        ignored, held_out = set(found), order[:count]
    if shared := {name for row in held_out for name in media[row]} & ignored:
        held = set(held_out)
        beyond = Counter(name for row, names in enumerate(media) if row not in held for name in set(names) & shared)
        if beyond:
            name = min(beyond, key=lambda one: (-found[one], one))
            logger.warning(
                "dataset %s: %s is in %d of %d rows, and in training and held-out rows: the measurements are not those "
                "of new media. To measure on new media, give rows with other media as --eval_split",
                *(dataset, name, found[name], total),
            )
    marked = torch.zeros(total, dtype=torch.bool)
    marked[held_out] = True
    return marked


def media_of_rows(rows: Any, columns: Sequence[str], messages: Sequence[str] = ()) -> list[list[str]]:
    """
    Names of the media of each row: the path, or for bytes a text with their size and a hash of parts of them.

    Arrays in memory have no name, and count as no medium.

    Args:
        rows: A `datasets.Dataset`, whose columns of sounds, pictures and clips are not decoded, or a list of dicts.
        columns: Those with media.
        messages: Those with chat messages, whose parts may hold media.
    """
    if not columns and not messages:
        return [[] for _ in range(len(rows))]
    if isinstance(rows, list):
        return [[name for column in columns for name in _names(row.get(column))] for row in rows]
    require("pyarrow", what="reading a dataset", extra="train")
    found: list[list[str]] = []
    # As Arrow, bytes stay in the file that is mapped into memory, of which only the blocks below are read.
    for batch in rows.select_columns([*columns, *messages]).with_format("arrow").iter(batch_size=_BATCH):
        names: list[list[str]] = [[] for _ in range(batch.num_rows)]
        for column in columns:
            values = (value for chunk in batch.column(column).chunks for value in _sources(chunk))
            for row, value in enumerate(values):
                names[row] += _names(value)
        for column in messages:
            for row, value in enumerate(batch.column(column).to_pylist()):
                names[row] += _names_in_messages(value)
        found += names
    return found


def _groups(media: Sequence[Collection[str]], ignored: Collection[str]) -> list[int]:
    """The group of each row: the number of its first row."""
    parents = list(range(len(media)))

    def root(row: int) -> int:
        while parents[row] != row:
            parents[row] = parents[parents[row]]
            row = parents[row]
        return row

    first: dict[str, int] = {}
    for row, names in enumerate(media):
        for name in names:
            if name not in ignored:
                one, other = root(first.setdefault(name, row)), root(row)
                parents[max(one, other)] = min(one, other)
    return [root(row) for row in range(len(media))]


def _whole_groups(groups: Sequence[int], order: Sequence[int], count: int, least: int) -> list[int]:
    """Groups in the order of their rows, each if it brings the number of rows closer to `count`."""
    members: dict[int, list[int]] = {}
    for row in order:
        members.setdefault(groups[row], []).append(row)
    chosen: list[int] = []
    left = []
    for rows in members.values():
        if abs(len(chosen) + len(rows) - count) < count - len(chosen):
            chosen += rows
        else:
            left.append(rows)
    for rows in sorted(left, key=len):
        if len(chosen) < least:
            chosen += rows
    return chosen


def _sources(column: Any) -> list[Any]:
    """The values of an Arrow array, with views in place of bytes."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return [memoryview(value.as_buffer()) if value.is_valid else None for value in column]
    if pa.types.is_struct(kind):
        fields = [kind.field(number).name for number in range(kind.num_fields)]
        parts = {name: _sources(part) for name, part in zip(fields, column.flatten()) if name in ("bytes", "path")}
        if "array" in fields or not parts:
            return [None] * len(column)
        return [dict(zip(parts, row)) for row in zip(*parts.values())]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = iter(_sources(column.flatten()))
        return [[next(inner) for _ in range(length or 0)] for length in column.value_lengths().to_pylist()]
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return column.to_pylist()
    if isinstance(column, pa.ExtensionArray) and pa.types.is_string(column.storage.type):
        return [_from_json(value) for value in column.storage.to_pylist()]
    return [None] * len(column)


def _names(value: Any) -> Iterator[str]:
    value = source_of(value)
    if isinstance(value, (str, os.PathLike)):
        text = os.fspath(value)
        if 0 < len(text) <= _LONGEST_PATH:
            yield text if "://" in text else os.path.normpath(text)
        elif text:
            yield _name_of_bytes(text.encode(errors="surrogatepass"))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _names(item)
    elif isinstance(value, (bytes, bytearray, memoryview)) and len(value):
        yield _name_of_bytes(value)


def _name_of_bytes(content: Any) -> str:
    view = memoryview(content).cast("B")
    digest = hashlib.sha256()
    for start in sorted({0, max(0, len(view) // 2 - _BLOCK // 2), max(0, len(view) - _BLOCK)}):
        digest.update(view[start : start + _BLOCK])
    return f"the file of {len(view)} bytes ({digest.hexdigest()[:32]})"


def _names_in_messages(messages: Any) -> Iterator[str]:
    for message in _listed(messages):
        message = _from_json(message)
        for part in _listed(message.get("content")) if isinstance(message, Mapping) else ():
            try:
                read = read_part(_from_json(part), "")
            except ValueError:  # the row is left out when it is read
                continue
            if read.kind != "text" and read.source is not MISSING:
                yield from _names(read.source)


def _listed(value: Any) -> Sequence[Any]:
    value = _from_json(value)
    return value if isinstance(value, (list, tuple)) else ()


def _from_json(value: Any) -> Any:
    """`datasets` holds what differs from row to row as JSON text, and Arrow shows that text."""
    if not isinstance(value, str) or value[:1] not in ("{", "[", '"'):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):  # a text that only looks like it
        return value


__all__ = ["held_out_rows", "media_of_rows"]
