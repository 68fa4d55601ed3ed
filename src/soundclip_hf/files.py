"""Files that appear whole or not at all: a temporary name beside the target, renamed when everything is written."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHUNK = 1 << 20


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary name in the same folder to write to, which gets the name `path` when the block ends without error."""
    target = Path(path)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        yield partial
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8; after a crash of the machine, too, the file is the old one or the new one."""
    with replacing(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: str | Path, value: Any) -> None:
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """None if there is no such file, or it is not whole."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def sha256(path: str | Path) -> str:
    """Of a file's content, in hexadecimal digits; the hash by which a Hub knows large files."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while part := file.read(CHUNK):
            digest.update(part)
    return digest.hexdigest()


__all__ = ["read_json", "replacing", "sha256", "write_json", "write_text"]
