"""Files that are written completely or not at all: under a temporary name in the same folder, and then renamed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

CHUNK = 1 << 20


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; it is renamed to `path` if the block ends without an error."""
    target = Path(path)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        yield partial
        os.replace(partial, target)
    except OSError as error:
        if error.errno is None or partial.name not in str(error):
            raise
        # Whoever reads the message knows the target, not its temporary name.
        raise OSError(error.errno, os.strerror(error.errno), str(target)) from error
    finally:
        # Where the folder is a file, there is nothing to remove, and the error above says so.
        with suppress(NotADirectoryError):
            partial.unlink(missing_ok=True)


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """
    Put the name of a file in front of errors that do not say which file they are about, as those of decoders.

    Raises:
        OSError: In place of an `OSError` without the name.
        ValueError: In place of a `ValueError` without the name.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        if str(path) in str(error):
            raise
        if isinstance(error, OSError):
            number = error.errno or 0
            reason = os.strerror(number) if number else " ".join(str(error).split())
            raise OSError(number, reason, str(path)) from error
        reason = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else " ".join(str(error).split())
        raise ValueError(f"{path}: {reason}") from error


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8. Even after a crash of the machine, the file has either its old or its new content."""
    with replacing(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: str | Path, value: Any) -> None:
    """Write indented JSON with sorted keys, as `write_text` does."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object; None if there is no such file, or it is incomplete."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def sha256(path: str | Path) -> str:
    """The hash of a file's content, as hexadecimal digits; the Hub identifies large files by it."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while part := file.read(CHUNK):
            digest.update(part)
    return digest.hexdigest()


__all__ = ["naming", "read_json", "replacing", "sha256", "write_json", "write_text"]
