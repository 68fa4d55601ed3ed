"""A user's own captions in, rows with them out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ...extras import require
from ..ave2.schema import complete
from .captioning import CAPTION_COLUMNS


def read_captions(path: str | Path, names: Mapping[str, str] | None = None) -> dict[str, dict[str, str]]:
    """A user's captions by sample id.

    Args:
        path: A .parquet, .jsonl or .csv file with a column `sample_id`.
        names: The file's names -> ours (`CAPTION_COLUMNS`); columns of the file that are already called so need none.

    Raises:
        ValueError: No such file, no such column, a caption that is no text, or two different rows with one id.
    """
    require("pyarrow", what="reading your own captions")
    import pyarrow.csv
    import pyarrow.json
    import pyarrow.parquet

    source, names = Path(path), dict(names or {})
    for theirs, ours in names.items():
        if ours not in CAPTION_COLUMNS:
            raise ValueError(f"{ours!r} (for {theirs!r}) is none of {', '.join(CAPTION_COLUMNS)}")
    readers = {".parquet": pyarrow.parquet.read_table, ".jsonl": pyarrow.json.read_json, ".csv": pyarrow.csv.read_csv}
    if source.suffix not in readers:
        raise ValueError(f"{source}: give a .parquet, .jsonl or .csv file of captions")
    if not source.is_file():
        raise ValueError(f"{source}: no such file of captions")
    try:
        table = readers[source.suffix](source)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{source}: cannot be read ({error})") from error
    for wanted in ("sample_id", *names):
        if wanted not in table.column_names:
            near = get_close_matches(wanted, table.column_names, 1)
            raise ValueError(f"{source}: has no column {wanted!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    names |= {name: name for name in CAPTION_COLUMNS if name in table.column_names and name not in names.values()}
    if not names:
        raise ValueError(f"{source}: has none of {', '.join(CAPTION_COLUMNS)}; say which column is which")
    found: dict[str, dict[str, str]] = {}
    for row in table.select(["sample_id", *names]).to_pylist():
        name, texts = str(row["sample_id"]), {ours: row[theirs] for theirs, ours in names.items()}
        texts = {ours: text for ours, text in texts.items() if text is not None}
        if wrong := [ours for ours, text in texts.items() if not isinstance(text, str)]:
            raise ValueError(f"{source}: {wrong[0]} of {name!r} is {texts[wrong[0]]!r}, which is no text")
        if found.setdefault(name, texts) != texts:
            raise ValueError(f"{source}: sample_id {name!r} comes twice, with different captions")
    return found


def with_captions(
    rows: Iterable[Mapping[str, Any]], captions: Mapping[str, Mapping[str, str]]
) -> Iterator[dict[str, Any]]:
    """Rows with a user's captions; a row without any stays as it is."""
    for row in rows:
        yield complete({**row, **captions.get(str(row["sample_id"]), {})})


__all__ = ["read_captions", "with_captions"]
