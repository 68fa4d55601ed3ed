"""The `--out` file of a batch: JSON Lines, written one by one, so that a run may be killed at any moment."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from ...files import InUseError, open_locked, replacing
from ...text_tables import json_text
from ..output import CliError


class AnswerFile:
    """
    Open an answer file, keep its answers, and append further ones.

    A torn last line and the lines of failed items are taken out, so that both are done again.

    Attributes:
        answered: The rows that are there, by id.

    Raises:
        CliError: If the file cannot be written, is in use by another run, or holds something else than answers.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # The file itself is locked: a lock beside it would stay behind for each file of answers.
            self._file: BinaryIO = open_locked(path)
            content = path.read_bytes()
        except InUseError as error:
            raise CliError(f"--out {error}") from None
        except OSError as error:
            raise CliError(f"--out {path}: {error.strerror}; choose a file that can be written") from error
        *lines, torn = content.split(b"\n")
        rows = [self._parse(line, number) for number, line in enumerate(lines, start=1) if line.strip()]
        kept = [row for row in rows if row.get("error") is None]
        self.answered: dict[str, dict[str, Any]] = {row["id"]: row for row in kept}
        if torn or len(kept) < len(rows):
            self._rewrite(kept)

    def append(self, row: dict[str, Any]) -> None:
        """Write a row; it is on disk when this returns."""
        self._file.write(json_text(row).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def check(self, planned: Iterable[dict[str, Any]]) -> None:
        """
        Compare the answers that are there with what this run would ask.

        Args:
            planned: One row per item, with what is known before its answer.

        Raises:
            CliError: If an answer was made with other settings, naming them.
        """
        for plan in planned:
            row = self.answered.get(plan["id"], {})
            # A picture without sound has no budget to compare.
            keys = set(row) & set(plan) - ({"k", "mode"} if row.get("mode") == "silent" else set())
            for key in sorted(keys):
                if row[key] != plan[key]:
                    raise CliError(
                        f"{self.path}: {plan['id']!r} was answered with {key}={row[key]!r}, now it is {plan[key]!r}; "
                        "give the same options to go on, or another --out"
                    )

    def close(self) -> None:
        self._file.close()

    def _parse(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict) or not isinstance(row.get("id"), str) or not {"answer", "error"} & set(row):
            raise CliError(f"--out {self.path}: line {number} is no answer of this command; choose another file")
        return row

    def _rewrite(self, rows: list[dict[str, Any]]) -> None:
        with replacing(self.path, sync=True) as partial:
            replacement = open_locked(partial)
            replacement.write(b"".join(json_text(row).encode() + b"\n" for row in rows))
            replacement.flush()
        self._file.close()
        self._file = replacement


__all__ = ["AnswerFile"]
