"""The JSON files of a checkpoint: what is wrong with one of them, said in one sentence that names it."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers.utils import CONFIG_NAME, cached_file

_MODEL = (CONFIG_NAME,)
# Readers of a tokenizer look into config.json, too.
_PROCESSOR = ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json", CONFIG_NAME)
# Files that others wrote, with the same key twice here and there: their readers take the last one.
_NOT_OURS = ("tokenizer_config.json", "tokenizer.json")
_MOST_BYTES = 2**26
# What reading settings raises where they are of another type or size than expected.
_OF_SETTINGS = (
    *(StrictDataclassError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, AssertionError),
    *(RecursionError, MemoryError),
)
_PLACE = ("cache_dir", "token", "revision", "subfolder")
# Arguments of `from_pretrained` that change no value of what is read.
_NO_VALUES = {*_PLACE, "force_download", "local_files_only", "proxies", "trust_remote_code", "return_unused_kwargs"}


def check_json_file(path: str | os.PathLike) -> None:
    """
    Check that a file of settings is one JSON object, and says everything once.

    Raises:
        ValueError: If it is too large, not JSON, nested too deeply, not an object, or gives a key two values, of which
            different programs would take different ones.
    """
    again = "Get the file again, or save the model or processor again with save_pretrained."
    size = os.path.getsize(path)
    if size > _MOST_BYTES and os.path.basename(path) != "tokenizer.json":
        raise ValueError(f"{path} has {size} bytes, more than the {_MOST_BYTES} of any file of settings. {again}")
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file, object_pairs_hook=None if os.path.basename(path) in _NOT_OURS else _once)
    except RecursionError:
        raise ValueError(f"{path} is nested too deeply to be read. {again}") from None
    except ValueError as error:
        raise ValueError(f"{path} is not a readable JSON file: {error}. {again}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds a JSON {_KINDS.get(type(found), 'number')}: expected an object. {again}")


_KINDS = {list: "array", str: "string", bool: "boolean", type(None): "null"}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found and found[key] != value:
            raise ValueError(f"{key!r} is given twice, as {_short(found[key])} and as {_short(value)}")
        found[key] = value
    return found


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


@contextmanager
def checked_settings(name: str | os.PathLike, keywords: dict[str, Any], processor: bool = False) -> Iterator[None]:
    """
    Around the reading of a configuration, a feature extractor or a processor: what is wrong with its files.

    Args:
        name: Repository or folder.
        keywords: Of `from_pretrained`.
        processor: Whether files of a processor are read, and not only config.json.

    Raises:
        ValueError: If a file is not as [`check_json_file`] asks, or its values cannot be used; the file is named.
    """
    place = {key: keywords[key] for key in _PLACE if keywords.get(key) is not None}
    files = _PROCESSOR if processor else _MODEL
    try:
        yield
    except _OF_SETTINGS as error:
        paths = _check(name, (*files, "tokenizer.json") if processor else files, place)
        reason = reason_of(error)
        named = isinstance(error, ValueError) and str(name) in reason
        # A value that the caller passes may be the wrong one.
        from_caller = any(key not in _NO_VALUES and not key.startswith("_") for key in keywords)
        if named or from_caller or not paths:
            raise
        raise ValueError(
            f"{' or '.join(paths)} cannot be used: {reason}. Set the value right, or get the file again."
        ) from error
    _check(name, files, place)


def _check(name: str | os.PathLike, files: Sequence[str], place: dict[str, Any]) -> list[str]:
    """The paths of those files that are there; each was checked."""
    paths = []
    for file in files:
        try:
            path = cached_file(name, file, local_files_only=True, _raise_exceptions_for_missing_entries=False, **place)
        except OSError:  # none was fetched
            continue
        if path is not None:
            check_json_file(path)
            if file != CONFIG_NAME or files == _MODEL:
                paths.append(path)
    return paths


def reason_of(error: BaseException) -> str:
    """The message of an error in one line, without the traceback that torch adds to some, and with what it is."""
    if isinstance(error, StrictDataclassError):
        text = str(error).partition("\n")[2]
        return " ".join(text.split()).rstrip(".")
    text = " ".join(str(error).partition("\nException raised from")[0].split()).rstrip(".")
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}"


__all__ = ["check_json_file", "checked_settings", "reason_of"]
