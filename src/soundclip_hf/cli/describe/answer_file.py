"""The `--out` file of a batch: JSON Lines, written one by one, so that a run may be killed at any moment."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...evaluation.generation.row_file import RowFile
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
            self._file = RowFile(path, is_row=_is_answer, is_done=_is_done, what="answer of this command")
        except ValueError as error:
            raise CliError(f"--out {error}") from error
        except OSError as error:
            raise CliError(f"--out {path}: {error.strerror}; choose a file that can be written") from error
        self.answered: dict[str, dict[str, Any]] = {row["id"]: row for row in self._file.rows}

    def append(self, row: dict[str, Any]) -> None:
        """Write a row; it is on disk when this returns."""
        self._file.append([row])

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


def _is_answer(row: dict[str, Any]) -> bool:
    return isinstance(row.get("id"), str) and bool({"answer", "error"} & set(row))


def _is_done(row: dict[str, Any]) -> bool:
    return row.get("error") is None


__all__ = ["AnswerFile"]
