"""Reads settings from YAML into dataclasses; an unknown name is an error that names the nearest known one."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")

# In the wheel, and in a source checkout.
CONFIG_FOLDERS = (Path(__file__).parents[0] / "configs", Path(__file__).parents[2] / "configs")


class SettingError(ValueError):
    """A setting is unknown or not valid; the message names it, its value and the fix."""


def read_settings(kind: type[T], values: Any, where: str = "") -> T:
    """Make a dataclass from nested mappings.

    Args:
        kind: A dataclass whose fields are str, int, float, bool, `X | None`, `tuple[X, ...]`, `dict[str, X]`, Any or
            such dataclasses.
        values: The mapping.
        where: Its place in the configuration, for messages: "judge" or "annotate.video".

    Raises:
        SettingError: An unknown name, a value of another type, or a ValueError or TypeError of the class itself.
    """
    if not isinstance(values, Mapping):
        raise SettingError(f"{where or 'the configuration'}={values!r}: holds no settings; write lines of name: value")
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    made = {}
    for name, value in values.items():
        place = f"{where}.{name}" if where else str(name)
        if name not in names:
            near = get_close_matches(str(name), names, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
            raise SettingError(f"{place}: unknown setting; {hint}")
        made[name] = _value(hints[name], value, place)
    try:
        return kind(**made)
    except (TypeError, ValueError) as error:
        raise SettingError(f"{where}: {error}" if where else str(error)) from error


def override(values: dict[str, Any], path: str, value: Any) -> None:
    """Set a value in nested mappings: the path "judge.server.model" is `values["judge"]["server"]["model"]`.

    Raises:
        SettingError: A part of the path is not a mapping.
    """
    *parents, last = path.split(".")
    for done, name in enumerate(parents):
        below = values.get(name)
        if below is None:
            below = values[name] = {}
        if not isinstance(below, dict):
            raise SettingError(f"{path}: {'.'.join(parents[: done + 1])} is {below!r}, which has no settings")
        values = below
    values[last] = value


def _value(hint: Any, value: Any, place: str) -> Any:
    if hint is Any:
        return value
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in parts:
            return None
        (inner,) = [part for part in parts if part is not type(None)]
        return _value(inner, value, place)
    if dataclasses.is_dataclass(hint):
        return read_settings(typing.cast(type, hint), value, place)
    if origin is tuple:
        entries = value if isinstance(value, (list, tuple)) else [value]
        return tuple(_value(parts[0], entry, place) for entry in entries)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise SettingError(f"{place}={value!r}: write a mapping")
        return {str(key): _value(parts[1], entry, f"{place}.{key}") for key, entry in value.items()}
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is float and number:
        return float(value)
    if hint is float and isinstance(value, str):
        try:  # YAML 1.1 reads 1e-5 as text
            return float(value)
        except ValueError:
            pass
    if hint is not float and isinstance(value, hint) and not (hint is int and not number):
        return value
    wanted = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}.get(hint, str(hint))
    raise SettingError(f"{place}={value!r}: write {wanted}")


def read_config(path: Path) -> dict[str, Any]:
    """Read a YAML file.

    Raises:
        SettingError: If the file cannot be read, or is not a YAML mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())})") from error
    if not isinstance(values, dict):
        raise SettingError(f"{path}: holds no settings; write lines of name: value")
    return values


def find_config(name: str | Path) -> Path:
    """
    Find a configuration file by its path, or by its name in the package, such as "align/whisperclip".

    Raises:
        SettingError: If there is none; the message lists the known names.
    """
    try:
        path = Path(name).expanduser()
    except RuntimeError as error:
        raise SettingError(f"config {str(name)!r}: there is no such user here; write the whole path") from error
    if path.is_file():
        return path
    known: dict[str, Path] = {}
    for folder in CONFIG_FOLDERS:
        for file in sorted(folder.rglob("*.yaml")):
            known.setdefault(file.relative_to(folder).with_suffix("").as_posix(), file)
    short = str(name).removeprefix("configs/").removesuffix(".yaml")
    if short in known:
        return known[short]
    near = get_close_matches(short, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known) or 'none'}"
    raise SettingError(f"config {str(name)!r}: no such file or name; {hint}")


__all__ = ["CONFIG_FOLDERS", "SettingError", "find_config", "override", "read_config", "read_settings"]
