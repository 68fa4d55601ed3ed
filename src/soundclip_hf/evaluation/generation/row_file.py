"""JSON Lines that are written as rows come, so that a run may be killed at any moment and continued."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from ...files import open_locked, replacing
from ...text_tables import json_text


class RowFile:
    """
    Open a file of rows, keep those that are done, and append further ones. No other process can open it meanwhile.

    A torn last line and the rows that are to be done again are taken out.

    Args:
        path: The file; it and its folder are made where they are missing.
        is_row: Whether a JSON object belongs there.
        is_done: Whether a row stays.
        what: What a line should be, for messages: "answer of this command".

    Attributes:
        rows: Those that were there and stay.

    Raises:
        ValueError: If another process has the file (`InUseError`), or a line is something else.
        OSError: If the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        is_row: Callable[[dict[str, Any]], bool],
        is_done: Callable[[dict[str, Any]], bool],
        what: str,
    ) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        # The file itself is locked: a lock beside it would stay behind for each file.
        self._file: BinaryIO = open_locked(path)
        try:
            rows, torn = read_rows(path, is_row=is_row, what=what)
            self.rows = [row for row in rows if is_done(row)]
            if torn or len(self.rows) < len(rows):
                self._rewrite()
        except BaseException:
            self._file.close()
            raise

    def append(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write rows; they are on disk when this returns."""
        self._file.write(_lines(rows))
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()

    def _rewrite(self) -> None:
        with replacing(self.path, sync=True) as partial:
            replacement = open_locked(partial)
            replacement.write(_lines(self.rows))
            replacement.flush()
        self._file.close()
        self._file = replacement


def read_rows(path: Path, *, is_row: Callable[[dict[str, Any]], bool], what: str) -> tuple[list[dict[str, Any]], bool]:
    """
    The rows of a file, and whether its last line is torn; that line is left out.

    Raises:
        ValueError: If a line is something else, naming it.
        OSError: If the file cannot be read.
    """
    *lines, torn = path.read_bytes().split(b"\n")
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict) or not is_row(row):
            raise ValueError(f"{path}: line {number} is no {what}; choose another file")
        rows.append(row)
    return rows, bool(torn)


def _lines(rows: Sequence[dict[str, Any]]) -> bytes:
    return b"".join(json_text(row).encode() + b"\n" for row in rows)


__all__ = ["RowFile", "read_rows"]
