"""What is wrong with the file of a data set, in one sentence that names the line."""

import json
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ...text_tables import json_lines, json_value, open_table

# Suffix of a single file -> the loader of `datasets`.
LOADERS = {".json": "json", ".jsonl": "json", ".parquet": "parquet", ".csv": "csv", ".arrow": "arrow"}


def names_a_file(name: str) -> bool:
    """
    Whether a name can only be that of a file or folder: the Hub has no repository of such a name, or there is a folder
    here that holds something with nearly this name.
    """
    if "://" in name:
        return False
    path = Path(name)
    if len(path.parts) == 2 and near_name(path) is not None:
        return True
    return path.suffix in LOADERS or path.is_absolute() or name.startswith((".", "~")) or len(path.parts) > 2


def near_name(path: Path) -> str | None:
    """The path of what lies in the same folder under the most similar name, or None."""
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return None
    near = get_close_matches(path.name, names, 1, cutoff=0.75)  # all endings alike are no likeness
    return str(path.parent / near[0]) if near else None


def fault_of(path: Path) -> str | None:
    """
    Why the rows of a file cannot be read, or None if it is not known.

    Args:
        path: A file with one of the endings of `LOADERS`.
    """
    if path.stat().st_size == 0:
        return "is empty" + ("; write one row a line" if path.suffix in (".json", ".jsonl", ".csv") else "")
    try:
        if path.suffix == ".jsonl":
            return _fault_of_lines(path)
        if path.suffix == ".json":
            return _fault_of_json(path)
    except (OSError, ValueError) as error:
        return str(error).removeprefix(f"{path}: ")
    return None


def _fault_of_lines(path: Path) -> str | None:
    number = 0
    for number, line in json_lines(path):
        try:
            value = json_value(line.strip(), unwritable=True)
        except ValueError as error:
            return f"line {number}: {error}; write one JSON object a line"
        if not isinstance(value, dict):
            return f"line {number}: is {_kind(value)}, no row; write one JSON object a line"
    return None if number else "holds no rows; write one JSON object a line"


def _fault_of_json(path: Path) -> str | None:
    with open_table(path) as file:
        text = file.read()
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":  # JSON Lines under another name
            return _fault_of_lines(path)
        return f"line {error.lineno}: is no JSON ({error.msg}, column {error.colno})"
    return "holds no rows; write a list of JSON objects" if value == [] else None


def _kind(value: Any) -> str:
    names = {str: "a text", list: "a list", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


__all__ = ["LOADERS", "fault_of", "names_a_file", "near_name"]
