"""Tables that people and spreadsheets write: one way to read CSV and JSON Lines, with or without a byte order mark."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@contextmanager
def open_table(path: str | Path) -> Iterator[TextIO]:
    """
    The text of a table, to be read inside the block. A byte order mark is left out; line ends are as `csv` wants them
    (LF, CR or CRLF, untranslated).

    Raises:
        ValueError: If the file is not UTF-8, naming the file and the way out.
        OSError: If it cannot be opened.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            yield file
    except UnicodeDecodeError as error:
        with Path(path).open("rb") as file:
            utf16 = file.read(2) in UTF16_MARKS
        what = "is UTF-16 text" if utf16 else f"is not UTF-8 text (byte 0x{error.object[error.start]:02x})"
        raise ValueError(f"{path}: {what}; save it as UTF-8") from error


def csv_rows(path: str | Path, columns: Iterable[str] = (), delimiter: str = ",") -> Iterator[dict[str, str]]:
    """
    The rows of a CSV file with a heading, each as a dict.

    Raises:
        ValueError: If one of `columns` is missing, the file is no CSV, or it is not UTF-8.
    """
    with open_table(path) as file:
        reader = csv.DictReader(file, delimiter=delimiter)
        try:
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise ValueError(f"{path}: has no column {missing[0]!r}; its heading is {reader.fieldnames}")
            yield from reader
        except csv.Error as error:
            raise ValueError(f"{path}, line {reader.line_num}: is no CSV ({error})") from error


def csv_lines(path: str | Path, fields: Iterable[int], delimiter: str = ",", comment: str = "") -> Iterator[list[str]]:
    """
    The rows of a CSV file without a heading; empty lines and lines that begin with `comment` are left out.

    Args:
        fields: The numbers of fields that a row may have.

    Raises:
        ValueError: If a row has another number of fields, the file is no CSV, or it is not UTF-8.
    """
    allowed = tuple(fields)
    with open_table(path) as file:
        number = 0

        def lines() -> Iterator[str]:
            nonlocal number
            for line in file:
                number += 1
                if line.strip() and not (comment and line.startswith(comment)):
                    yield line

        try:
            for row in csv.reader(lines(), delimiter=delimiter, skipinitialspace=True):
                if len(row) not in allowed:
                    expected = " or ".join(map(str, allowed))
                    raise ValueError(f"{path}, line {number}: {len(row)} fields, expected {expected}")
                yield row
        except csv.Error as error:
            raise ValueError(f"{path}, line {number}: is no CSV ({error})") from error


def json_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """
    The lines of a JSON Lines file that are not empty, with their numbers from 1 on, for [`json_value`].

    Raises:
        ValueError: If the file is not UTF-8.
    """
    with open_table(path) as file:
        yield from ((number, line) for number, line in enumerate(file, 1) if line.strip())


def json_value(text: str, unwritable: bool = False) -> Any:
    r"""
    The value of a JSON text.

    Args:
        unwritable: Let half of a surrogate pair pass, for callers who check the value themselves.

    Raises:
        ValueError: If it is no JSON, is nested too deeply, or holds half of a surrogate pair (`"\ud83d"`), which no
            file can be written with.
    """
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("is JSON that is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"is no JSON ({error})") from error
    if not unwritable:
        check_writable(value)
    return value


def json_text(value: Any) -> str:
    """JSON in one line that UTF-8 can write: where a text holds half of a surrogate pair, only ASCII is used."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value)
    return text


def check_writable(value: Any) -> None:
    r"""
    Raises:
        ValueError: If a text anywhere in a JSON value cannot be written as UTF-8: it holds half of a surrogate pair, as
            `"\ud83d"` in JSON or a file name that is not UTF-8 gives.
    """
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            stack += [*item.keys(), *item.values()]
        elif isinstance(item, (list, tuple)):
            stack += item
        elif isinstance(item, str) and (half := next((c for c in item if "\ud800" <= c <= "\udfff"), None)):
            raise ValueError(f"has half of a surrogate pair ({half!r}), which UTF-8 cannot write: {item[:40]!r}")


def check_question(question: str) -> None:
    """
    Raises:
        ValueError: If a question has nothing but space in it, or cannot be written, see [`check_writable`].
    """
    if not question.strip():
        raise ValueError("is empty; write a question, such as: What makes the sound?")
    check_writable(question)


def writable(value: Any) -> Any:
    """A text or JSON value in which U+FFFD takes the place of each half of a surrogate pair."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, dict):
        return {writable(name): writable(entry) for name, entry in value.items()}
    return [writable(entry) for entry in value] if isinstance(value, (list, tuple)) else value


__all__ = [
    "check_question",
    "check_writable",
    "csv_lines",
    "csv_rows",
    "json_lines",
    "json_text",
    "json_value",
    "open_table",
    "writable",
]
