"""Dead letters: the rows for which the requests failed for good, in one Parquet file, each with its error.

A later run can read the file as its table, to ask about these rows alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...extras import require
from ...files import replacing
from ..inference.asking import Outcome, Prompt

if TYPE_CHECKING:
    import pyarrow

TEXTS = ("sample_id", "step", "error", "detail", "answer", "model", "prompt_id", "prompt_sha256", "row")
BATCH_ROWS = 1000


def schema() -> pyarrow.Schema:
    require("pyarrow", what="a file of dead letters")
    import pyarrow

    texts = [(name, pyarrow.string()) for name in TEXTS]
    return pyarrow.schema([*texts, ("attempts", pyarrow.int32())], metadata={"kind": "dead letters"})


class DeadLetters:
    """Collects failed rows. The file appears when the `with` block ends, and only if there are any.

    Args:
        path: The file. One of an earlier run is replaced, or removed if nothing failed. None writes no file.
        earlier: Attempts of earlier runs by (sample_id, step), to which those of this run are added.
    """

    def __init__(self, path: str | Path | None, earlier: Mapping[tuple[str, str], int] | None = None) -> None:
        if path is not None:
            require("pyarrow", what="a file of dead letters")
        self.path, self.earlier = None if path is None else Path(path), earlier or {}
        self.count = 0
        self.waiting: list[dict[str, Any]] = []
        self.writer: Any = None
        self.open = ExitStack()

    def __enter__(self) -> DeadLetters:
        return self

    def add(self, row: Mapping[str, Any], step: str, outcome: Outcome, model: str, prompt: Prompt) -> None:
        """
        Args:
            row: Complete, as it would go into a table.
            step: What the model was asked for, such as "judge".
            outcome: With its `failure`.
            model: Name of the model on its server.
        """
        if self.path is None:
            return
        self.count += 1
        letter: dict[str, Any] = {
            "step": step,
            "error": outcome.failure,
            "detail": outcome.detail,
            "answer": outcome.text,
            "model": model,
        }
        letter |= {"sample_id": row["sample_id"], "prompt_id": prompt.prompt_id, "prompt_sha256": prompt.sha256}
        letter["attempts"] = outcome.attempts + self.earlier.get((row["sample_id"], step), 0)
        letter["row"] = json.dumps(row, ensure_ascii=False, default=str)
        self.waiting.append(letter)
        if len(self.waiting) >= BATCH_ROWS:
            self._flush()

    def __exit__(self, kind: Any, *_: object) -> None:
        if self.path is None:
            return
        with self.open:
            if self.waiting:
                self._flush()
        if self.writer is None and kind is None:
            self.path.unlink(missing_ok=True)

    def _flush(self) -> None:
        import pyarrow
        import pyarrow.parquet

        if self.writer is None:
            assert self.path is not None
            partial = self.open.enter_context(replacing(self.path))
            writer = pyarrow.parquet.ParquetWriter(partial, schema(), compression="zstd")
            self.writer = self.open.enter_context(writer)
        self.writer.write_table(pyarrow.Table.from_pylist(self.waiting, schema=schema()))
        self.waiting = []


def is_dead_letters(path: str | Path) -> bool:
    """Whether a file holds dead letters, whatever its name is."""
    if Path(path).suffix != ".parquet" or not Path(path).is_file():
        return False
    require("pyarrow", what=f"{path}: reading Parquet")
    import pyarrow
    import pyarrow.parquet

    try:
        return {"row", "error", "attempts"} <= set(pyarrow.parquet.read_schema(path).names)
    except pyarrow.ArrowInvalid:
        return False


def read_dead_letters(path: str | Path) -> Iterator[dict[str, Any]]:
    """Dead letters, with `row` as a dict. A row comes once for each step that failed."""
    require("pyarrow", what="a file of dead letters")
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as opened:
        for batch in opened.iter_batches(BATCH_ROWS):
            for letter in batch.to_pylist():
                yield letter | {"row": json.loads(letter["row"])}


def earlier_attempts(path: str | Path) -> dict[tuple[str, str], int]:
    """Attempts by (sample_id, step); empty if the file does not exist or holds no dead letters."""
    if not is_dead_letters(path):
        return {}
    return {(letter["sample_id"], letter["step"]): letter["attempts"] for letter in read_dead_letters(path)}


__all__ = ["DeadLetters", "earlier_attempts", "is_dead_letters", "read_dead_letters"]
