"""Writes the rows of one split as a series of shards: Parquet files of bounded row groups."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...files import partial_name, sha256, sync_file
from .schema import stored

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet


class OtherRowsError(ValueError):
    """What is on disk was made of other rows."""


@dataclass(frozen=True)
class Limits:
    """A row group or a shard ends before the row that would exceed one of them; bytes are those of the clips."""

    shard_rows: int
    group_rows: int
    shard_bytes: int
    group_bytes: int


@dataclass(frozen=True)
class Shard:
    """A finished shard. `rows_sha256` is of its rows as JSON; `full` means that another shard follows."""

    kind: str
    split: str
    number: int
    rows: int
    bytes: int
    sha256: str
    rows_sha256: str
    full: bool

    @property
    def stem(self) -> str:
        return f"{self.split}-{self.number:05d}"


class Series:
    """Writes the shards of one kind, "data" or "media", and one split; those that are there are only compared.

    Args:
        folder: Where shards are written, each whole or not at all.
        record: Called with each shard once it is on disk.
        found: Finished shards by number.
    """

    def __init__(
        self,
        folder: Path,
        kind: str,
        split: str,
        schema: pyarrow.Schema,
        limits: Limits,
        found: Mapping[int, Shard],
        record: Callable[[Shard], None],
    ) -> None:
        self.folder, self.kind, self.split, self.schema, self.limits = folder, kind, split, schema, limits
        self.found, self.record = found, record
        self.names = frozenset(schema.names)  # which a schema makes anew each time it is asked
        self.shards: list[Shard] = []
        self.writer: pyarrow.parquet.ParquetWriter | None = None
        self._begin()

    def add(self, row: Mapping[str, Any], text: bytes, clip: Callable[[], bytes] | None) -> None:
        """
        Args:
            text: The row as JSON.
            clip: Reads the bytes of its clip; not called where the shard is there already.
        """
        known = self.found.get(len(self.shards))
        if known is not None and self.rows == known.rows:
            self._end(full=True)
            known = self.found.get(len(self.shards))
        if known is None:
            self._write(row, None if clip is None else clip())
        self.rows += 1
        self.digest.update(text + b"\n")

    def close(self) -> None:
        """Finish the last shard."""
        self._end(full=False)
        if len(self.found) > len(self.shards):
            raise OtherRowsError(f"{self.kind} shard {max(self.found)} of {self.split!r} has no rows any more")

    def abandon(self) -> None:
        """After an error: leave no open file."""
        if self.writer is not None:
            self.writer.close()
            self.writer = None
        self._partial().unlink(missing_ok=True)

    def _begin(self) -> None:
        self.rows = self.bytes = 0
        self.group: list[dict[str, Any]] = []
        self.group_bytes = 0
        self.digest = hashlib.sha256()

    def _write(self, row: Mapping[str, Any], clip: bytes | None) -> None:
        size, limits = len(clip or b""), self.limits
        if self.rows and (self.rows == limits.shard_rows or self.bytes + size > limits.shard_bytes):
            self._end(full=True)
        elif self.group and (len(self.group) == limits.group_rows or self.group_bytes + size > limits.group_bytes):
            self._flush()
        coded = {name: stored(name, value) for name, value in row.items() if name in self.names}
        if clip is not None:
            coded["video"] = {"bytes": clip, "path": f"{row['sample_id']}.mp4"}
        self.group.append(coded)
        self.group_bytes += size
        self.bytes += size

    def _flush(self) -> None:
        import pyarrow
        import pyarrow.parquet

        if self.writer is None:
            # Clips are compressed already. The rest is as `Dataset.push_to_hub` has it, so that a Hub stores only once
            # what two versions share.
            small = [leaf for leaf in self._leaves() if leaf != "video.bytes"]
            self.writer = pyarrow.parquet.ParquetWriter(
                self._partial(),
                self.schema,
                compression={leaf: "zstd" if leaf in small else "none" for leaf in self._leaves()},
                use_dictionary=small,
                write_statistics=small,
                use_content_defined_chunking=True,
                write_page_index=True,
            )
        try:
            table = pyarrow.Table.from_pylist(self.group, schema=self.schema)
        except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError) as error:
            raise ValueError(f"{self.kind}: a row does not fit the schema ({error}); validate the rows") from error
        self.writer.write_table(table, row_group_size=len(self.group))
        self.group, self.group_bytes = [], 0

    def _leaves(self) -> list[str]:
        import pyarrow

        leaves = []
        for field in self.schema:
            if pyarrow.types.is_list(field.type):
                leaves.append(f"{field.name}.list.element")
            elif pyarrow.types.is_struct(field.type):
                leaves += [f"{field.name}.{part.name}" for part in field.type]
            else:
                leaves.append(field.name)
        return leaves

    def _end(self, full: bool) -> None:
        known = self.found.get(len(self.shards))
        if known is not None:
            if (known.rows, known.rows_sha256, known.full) != (self.rows, self.digest.hexdigest(), full):
                raise OtherRowsError(f"{self.kind} shard {known.number} of {self.split!r} was made of other rows")
            self.shards.append(known)
        elif self.rows:
            self._flush()
            assert self.writer is not None
            self.writer.close()
            self.writer = None
            self.shards.append(self._finish(full))
        self._begin()

    def _finish(self, full: bool) -> Shard:
        partial, number = self._partial(), len(self.shards)
        sync_file(partial)
        size, digests = partial.stat().st_size, (sha256(partial), self.digest.hexdigest())
        shard = Shard(self.kind, self.split, number, self.rows, size, *digests, full)
        os.replace(partial, self.folder / f"{shard.stem}.parquet")
        self.record(shard)
        return shard

    def _partial(self) -> Path:
        return partial_name(self.folder / self.split)


def row_text(row: Mapping[str, Any]) -> bytes:
    """A row as JSON, the same for the same values."""
    return json.dumps(row, sort_keys=True, ensure_ascii=False, default=str).encode()


def shard_json(shard: Shard) -> str:
    return json.dumps(asdict(shard), indent=1, sort_keys=True) + "\n"


__all__ = ["Limits", "OtherRowsError", "Series", "Shard", "row_text", "shard_json"]
