"""Resolves a path, a URL or bytes to a local path or bytes, and to a name for messages."""

from __future__ import annotations

import urllib.parse
from pathlib import Path

from .errors import MediaError
from .urls import fetch


def resolve(
    source: str | Path | bytes | bytearray | memoryview, wanted: str = "a media file"
) -> tuple[str | bytes, str]:
    """Find a source; an http(s) URL is downloaded.

    Args:
        wanted: What messages about a missing file ask for.

    Returns:
        `(media, name)`: a local path as str, or the content as bytes; and what messages call the source.

    Raises:
        MediaError: There is no such file, it is a folder or empty, the URL cannot be fetched, or its scheme is not
            http, https or file.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        media, name = bytes(source), f"<{len(source)} bytes>"
    else:
        name = str(source)
        scheme = name.partition("://")[0].lower() if "://" in name and isinstance(source, str) else "file"
        if scheme in ("http", "https"):
            media = fetch(name)
        elif scheme == "file":
            path = Path(urllib.parse.unquote(name[7:]) if name[:7].lower() == "file://" else name).expanduser()
            if path.is_dir() or not path.exists():
                raise MediaError(f"{name}: {'is a folder' if path.is_dir() else 'no such file'}; pass {wanted}")
            if path.stat().st_size:
                return str(path), name
            media = b""
        else:
            raise MediaError(f"{name}: {scheme}:// is not supported; pass a file, an http(s) URL or bytes")
    if not media:
        raise MediaError(f"{name}: is empty (0 bytes); fetch or write it again")
    return media, name
