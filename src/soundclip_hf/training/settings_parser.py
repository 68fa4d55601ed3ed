"""Reads the settings of a run from a YAML file and a command line. A typo is an error with the nearest name."""

from argparse import ArgumentError
from collections.abc import Sequence
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from transformers import HfArgumentParser

from ..extras import require
from ..settings import SettingError, find_config, read_config


class ArgumentsError(SettingError):
    """A setting is unknown, missing or impossible."""


class _Parser(HfArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ArgumentsError(message)


def parse_settings(kinds: Sequence[type], options: Sequence[str], config: str | Path | None = None) -> tuple[Any, ...]:
    """
    Args:
        kinds: Dataclasses, whose fields are the settings.
        options: Arguments of a command line, such as `["--learning_rate", "1e-4"]`; they override the file. `--config`
            can be one of them.
        config: Path of a YAML file, or the name of one that comes with the package, such as "align/whisperclip".

    Returns:
        One object of each kind.

    Raises:
        ArgumentsError: For an unknown name (the message has the nearest known one), or a value that is not valid.
        NotInstalledError: If the extra `train`, a tracker or an optimizer's package is missing.
    """
    check_extra()
    parser = _Parser(kinds, allow_abbrev=False)
    parser.add_argument("--config")
    words = list(options)
    given = parser.parse_known_args(words)[0].config or config
    if given is not None:
        try:
            path = find_config(given)
            values = read_config(path)
        except SettingError as error:
            raise ArgumentsError(str(error)) from error
        _check_names(values, f"{path}: ", kinds)
        parser.set_defaults(**values)
    try:
        *settings, _, unknown = parser.parse_args_into_dataclasses(
            words, return_remaining_strings=True, look_for_args_file=False
        )
    except (ArgumentError, TypeError) as error:
        raise ArgumentsError(str(error)) from error
    except ArgumentsError:
        raise
    except ValueError as error:
        raise ArgumentsError(str(error)) from error
    _check_names({word.partition("=")[0].lstrip("-"): None for word in unknown if word.startswith("--")}, "--", kinds)
    if unknown:
        raise ArgumentsError(f"{unknown[0]}: does not belong to any option")
    return tuple(settings)


def parse_frame(text: str) -> str | float:
    """
    Which frame of a clip a setting means: "middle", "first" or seconds.

    Raises:
        ArgumentsError: If it is none of these.
    """
    if text in ("middle", "first"):
        return text
    try:
        return float(text)
    except ValueError:
        raise ArgumentsError(f"frame={text!r}: give middle, first or a number of seconds") from None


def check_extra() -> None:
    """
    Raises:
        NotInstalledError: If the extra `train` is not installed.
    """
    require("datasets", what="training", extra="train")


def _check_names(values: dict[str, Any], where: str, kinds: Sequence[Any]) -> None:
    known = [entry.name for kind in kinds for entry in fields(kind)]
    for name in values:
        plain = name.replace("-", "_").removeprefix("no_")
        if plain not in known:
            near = get_close_matches(plain, known, 1)
            raise ArgumentsError(f"{where}{name}: unknown setting" + (f"; did you mean {near[0]}?" if near else ""))


__all__ = ["ArgumentsError", "check_extra", "parse_frame", "parse_settings"]
