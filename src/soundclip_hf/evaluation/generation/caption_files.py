"""The captions of one cell: JSON Lines, of which each says what it was made with, as the lines of `describe` do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .row_file import RowFile, read_rows

_WHAT = "line of captions"


class CaptionFile:
    """
    Open the captions of a cell, keep those that are there, and append further ones; failed samples are done again.

    Args:
        path: The file; it is made where it is missing.
        settings: What the captions depend on, as JSON. Each line repeats them, so that `soundclip eval judge` can read
            the file.

    Attributes:
        done: Ids of the samples that have a caption.

    Raises:
        ValueError: If the file was made with other settings, naming both values; if it holds something else than
            captions; if another process has it.
        OSError: If it cannot be written.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path, self.settings = path, dict(settings)
        self._file = RowFile(path, is_row=_is_row, is_done=lambda row: row.get("error") is None, what=_WHAT)
        try:
            for row in self._file.rows:
                _compare(path, row["settings"], self.settings)
        except BaseException:
            self._file.close()
            raise
        self.done = {row["id"] for row in self._file.rows}

    def append(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write rows with `id` and either `answer` or `error`; they are on disk when this returns."""
        self._file.append([{**row, "settings": self.settings} for row in rows])
        self.done |= {row["id"] for row in rows if "answer" in row}

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True)
class Captions:
    """
    Attributes:
        settings: What the captions were made with.
        texts: By the id of the sample.
        errors: Why a sample has no caption, by its id.
    """

    settings: dict[str, Any]
    texts: dict[str, str]
    errors: dict[str, str]


def read_captions(path: Path) -> Captions:
    """
    Raises:
        ValueError: If the file holds no captions, something else, or captions of several settings.
        OSError: If it cannot be read.
    """
    rows, _ = read_rows(path, is_row=_is_row, what=_WHAT)
    if not rows:
        raise ValueError(f"{path}: is empty, expected captions")
    settings = rows[0]["settings"]
    for row in rows:
        _compare(path, row["settings"], settings)
    texts = {row["id"]: row["answer"] for row in rows if "answer" in row}
    errors = {row["id"]: str(row["error"]) for row in rows if row["id"] not in texts}
    return Captions(settings, texts, errors)


def _is_row(row: dict[str, Any]) -> bool:
    named = isinstance(row.get("id"), str) and isinstance(row.get("settings"), dict)
    return named and (isinstance(row.get("answer"), str) or row.get("error") is not None)


def _compare(path: Path, there: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for name in dict.fromkeys([*now, *there]):
        if there.get(name) != now.get(name):
            raise ValueError(
                f"{path}: was made with {name}={there.get(name)!r}, now it is {now.get(name)!r}; "
                "give the same settings to go on, or another folder"
            )


__all__ = ["CaptionFile", "Captions", "read_captions"]
