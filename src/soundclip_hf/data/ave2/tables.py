"""Reads and writes files of AVE-2 rows, Parquet or JSON, a batch at a time. Needs the `data` extra."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...extras import require
from ...files import replacing
from ...text_tables import json_lines, json_value
from .schema import LABELS, complete, features, stored
from .upstream import from_upstream

if TYPE_CHECKING:
    import pyarrow

BATCH_ROWS = 10_000


def files(path: str | Path) -> list[Path]:
    """The Parquet files of a folder, at any depth, or else its JSON files; a file is itself.

    Of a folder with `data/` and `media/`, as `shards.write_shards` makes it, only `data/` counts: it has every row.

    Raises:
        ValueError: There are none.
    """
    source = Path(path)
    if not source.is_dir():
        if not source.exists():
            raise ValueError(f"{source}: no such file; give a .parquet, .jsonl or .json file, or a folder of them")
        return [source]
    if (source / "data").is_dir() and (source / "media").is_dir():
        source = source / "data"
    found: list[Path] = []
    for pattern in ("*.parquet", "*.jsonl", "*.json"):
        # Hidden folders hold what is not finished.
        below = ((path, path.relative_to(source).parts) for path in source.rglob(pattern))
        visible = (path for path, parts in below if not any(part.startswith(".") for part in parts))
        if found := sorted(visible):
            return found
    raise ValueError(f"{source}: has no .parquet, .jsonl or .json files")


def check_readable(*paths: str | Path) -> None:
    """For callers who do much before they read: whether what `read_rows` needs for these tables is installed.

    Raises:
        NotInstalledError: One of them is Parquet, and pyarrow is missing.
        ValueError: As `files`.
    """
    for path in paths:
        if any(file.suffix == ".parquet" for file in files(path)):
            require("pyarrow", what=f"{path}: reading Parquet")


def read_rows(path: str | Path, unwritable: bool = False) -> Iterator[dict[str, Any]]:
    """Rows as dicts, class labels by name, clips left out, with flat memory.

    Args:
        path: Parquet of our schema; `.jsonl`, one row per line, of which derived columns may be absent; `.json`, the
            authors' shards; or a folder of one kind.
        unwritable: Let rows of `.jsonl` pass whose text has half of a surrogate pair, for callers who check rows one by
            one (`text_tables.check_writable`): no file can be written with them.

    Raises:
        ValueError: Another kind of file, or one that cannot be read.
    """
    for file in files(path):
        if file.suffix == ".json":
            yield from from_upstream(file)
        elif file.suffix == ".jsonl":
            yield from _json_lines(file, unwritable)
        else:
            for batch in _parquet(file, None):
                for row in batch.to_pylist():
                    for name, names in LABELS.items():
                        if isinstance(row.get(name), int) and 0 <= row[name] < len(names):
                            row[name] = names[row[name]]
                    if "retrieved_at" in row:  # a timestamp in earlier tables
                        row["retrieved_at"] = stored("retrieved_at", row["retrieved_at"])
                    yield row


def read_batches(path: str | Path, columns: Sequence[str]) -> Iterator[pyarrow.RecordBatch]:
    """Some columns, batch by batch; other columns are not read from Parquet."""
    require("pyarrow", what="reading the columns of a table")
    import pyarrow

    for file in files(path):
        if file.suffix == ".parquet":
            yield from _parquet(file, list(columns))
            continue
        rows = read_rows(file)
        schema = pyarrow.schema([features().arrow_schema.field(name) for name in columns])
        while part := list(islice(rows, BATCH_ROWS)):
            table = [{name: stored(name, row[name]) for name in columns} for row in part]
            try:
                yield pyarrow.RecordBatch.from_pylist(table, schema=schema)
            except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError) as error:
                raise ValueError(f"{file}: a row does not fit the schema ({error}); validate it") from error


def write_parquet(rows: Iterable[Mapping[str, Any]], path: str | Path) -> int:
    """Write complete rows to one Parquet file, which appears whole or not at all; returns how many.

    Raises:
        ValueError: A row that does not fit the schema; no file is left.
    """
    require("datasets", "pyarrow", what="writing Parquet")
    import pyarrow
    import pyarrow.parquet

    target, count = Path(path), 0
    schema = features().arrow_schema
    source = iter(rows)
    with replacing(target) as partial, pyarrow.parquet.ParquetWriter(partial, schema, compression="zstd") as writer:
        while part := list(islice(source, BATCH_ROWS)):
            table = [{name: stored(name, value) for name, value in row.items()} for row in part]
            try:
                writer.write_table(pyarrow.Table.from_pylist(table, schema=schema))
            except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError) as error:
                raise ValueError(f"{target}: a row does not fit the schema ({error}); validate it") from error
            count += len(part)
    return count


def _parquet(file: Path, columns: list[str] | None) -> Iterator[pyarrow.RecordBatch]:
    if file.suffix != ".parquet":
        raise ValueError(f"{file}: is no .parquet, .jsonl or .json file")
    require("pyarrow", what=f"{file}: reading Parquet")
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(file) as opened:
            missing = [name for name in columns or () if name not in opened.schema_arrow.names]
            if missing:
                raise ValueError(f"{file}: has no column {missing[0]!r}")
            # Clips are big, and rows are wanted without them.
            wanted = columns or [name for name in opened.schema_arrow.names if name != "video"]
            yield from opened.iter_batches(BATCH_ROWS, columns=wanted)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{file}: cannot be read as Parquet ({error})") from error


def _json_lines(file: Path, unwritable: bool) -> Iterator[dict[str, Any]]:
    for number, line in json_lines(file):
        try:
            yield complete(json_value(line, unwritable))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{file}, line {number}: {error}") from error


__all__ = ["check_readable", "files", "read_batches", "read_rows", "write_parquet"]
