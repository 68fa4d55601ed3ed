"""The captions of one cell: a JSON Lines file that begins with the settings that they were made with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .row_file import RowFile, read_rows

FORMAT = 1
_WHAT = "line of captions"


class CaptionFile:
    """
    Open the captions of a cell, keep those that are there, and append further ones; failed samples are done again.

    Args:
        path: The file; it is made where it is missing.
        settings: What the captions depend on, as JSON.

    Attributes:
        done: Ids of the samples that have a caption.

    Raises:
        ValueError: If the file was made with other settings, naming both values; if it holds something else than
            captions; if another process has it.
        OSError: If it cannot be written.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self._file = RowFile(path, is_row=_is_row, is_done=lambda row: row.get("error") is None, what=_WHAT)
        head = {"format": FORMAT, "settings": dict(settings)}
        try:
            if self._file.rows:
                _compare(path, self._file.rows[0], head)
            else:
                self._file.append([head])
        except BaseException:
            self._file.close()
            raise
        self.done = {row["id"] for row in self._file.rows[1:]}

    def append(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write rows with `id` and either `caption` or `error`; they are on disk when this returns."""
        self._file.append(rows)
        self.done |= {row["id"] for row in rows if "caption" in row}

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
        ValueError: If the file holds something else, or no settings.
        OSError: If it cannot be read.
    """
    rows, _ = read_rows(path, is_row=_is_row, what=_WHAT)
    if not rows:
        raise ValueError(f"{path}: is empty, expected captions")
    head, *rest = rows
    texts = {row["id"]: row["caption"] for row in rest if "caption" in row}
    errors = {row["id"]: str(row["error"]) for row in rest if row["id"] not in texts}
    return Captions(head["settings"], texts, errors)


def _is_row(number: int, row: dict[str, Any]) -> bool:
    if number == 1:
        return isinstance(row.get("settings"), dict)
    return isinstance(row.get("id"), str) and (isinstance(row.get("caption"), str) or "error" in row)


def _compare(path: Path, found: Mapping[str, Any], head: Mapping[str, Any]) -> None:
    if found.get("format") != FORMAT:
        raise ValueError(f"{path}: is of format {found.get('format')!r}, expected {FORMAT}; choose another folder")
    there, now = found["settings"], head["settings"]
    for name in dict.fromkeys([*now, *there]):
        if there.get(name) != now.get(name):
            raise ValueError(
                f"{path}: was made with {name}={there.get(name)!r}, now it is {now.get(name)!r}; "
                "give the same settings to go on, or another folder"
            )


__all__ = ["FORMAT", "CaptionFile", "Captions", "read_captions"]
