"""Resolves a path, a URL or bytes to a local path or bytes, and to a name for messages."""

from __future__ import annotations

import os
import stat
import urllib.parse
from pathlib import Path
from typing import Any

from . import limits
from .errors import MediaError, shown
from .urls import fetch, without_password


def resolve(
    source: str | Path | bytes | bytearray | memoryview, wanted: str = "a media file"
) -> tuple[str | bytes, str]:
    """Find a source; an http(s) URL is downloaded, and a pipe is read to its end.

    Args:
        wanted: What messages about a missing file ask for.

    Returns:
        `(media, name)`: a local path as str, or the content as bytes; and what messages call the source, in one line
        and without a URL's password.

    Raises:
        MediaError: There is no such file, it is a folder, a device or empty, the URL cannot be fetched, or its scheme
            is not http, https or file.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        media, name = bytes(source), f"<{len(source)} bytes>"
    else:
        text = str(source)
        name = shown(without_password(text))
        if isinstance(source, str) and _scheme(text) in ("http", "https"):
            media = fetch(text)
        else:
            path, status = _local(source, name, wanted)
            if stat.S_ISREG(status.st_mode):
                return str(path), name
            media = _read_pipe(path, name, wanted)
    if not media:
        raise MediaError(f"{name}: is empty (0 bytes); fetch or write it again")
    return media, name


def check_source(source: str, wanted: str = "a media file") -> None:
    """
    Check that a path can be a media file, before the work that it is for. Nothing is read or fetched.

    Raises:
        MediaError: As of `resolve`, for all that can be told so; its cause is the `OSError`, if there was one.
    """
    if _scheme(source) in ("http", "https"):
        return
    _local(source, shown(without_password(source)), wanted)


def _scheme(source: str) -> str:
    return source.partition("://")[0].lower() if "://" in source else "file"


def _local(source: str | Path, name: str, wanted: str) -> tuple[Path, os.stat_result]:
    """A path that is a file with something in it, or a pipe; anything else raises."""
    scheme = _scheme(source) if isinstance(source, str) else "file"
    if scheme != "file":
        raise MediaError(f"{name}: {shown(scheme)}:// is not supported; pass a file, an http(s) URL or bytes")
    try:
        path = Path(_of_file_url(source) if isinstance(source, str) else source).expanduser()
    except RuntimeError as error:
        raise MediaError(f"{name}: there is no such user here; write the whole path") from error
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
        reason = "no such file" if missing else f"cannot be read ({getattr(error, 'strerror', error)})"
        raise MediaError(f"{name}: {reason}; pass {wanted}") from error
    mode = status.st_mode
    if stat.S_ISDIR(mode):
        raise MediaError(f"{name}: is a folder; pass {wanted}")
    if stat.S_ISREG(mode):
        if not status.st_size:
            raise MediaError(f"{name}: is empty (0 bytes); fetch or write it again")
    elif not stat.S_ISFIFO(mode) and not stat.S_ISSOCK(mode):
        raise MediaError(f"{name}: is a device, not a file or a pipe; pass {wanted}")
    return path, status


def local_videos(source: Any, folder: str | Path) -> Any:
    """
    Fetch the http(s) URLs of nested lists into files, for readers of videos that are not ours; the rest stays.

    Args:
        folder: Where the files are written; they are to be read before it goes.

    Raises:
        MediaError: As of `resolve`.
    """
    if isinstance(source, (list, tuple)):
        return [local_videos(entry, folder) for entry in source]
    if not isinstance(source, str) or not source.lower().startswith(("http://", "https://")):
        return source
    content, _ = resolve(source, "a video")
    assert isinstance(content, bytes)
    path = Path(folder) / f"video-{len(list(Path(folder).iterdir()))}"
    path.write_bytes(content)
    return str(path)


def _of_file_url(source: str) -> str:
    """The path of a file URL; a path as it is."""
    if source[:7].lower() != "file://":
        return source
    return urllib.parse.unquote(source[7:].removeprefix("localhost"))


def _read_pipe(path: Path, name: str, wanted: str) -> bytes:
    """The content of a pipe, which can be read only once and has no size."""
    most, content = limits.MAX_FETCHED_BYTES, bytearray()
    try:
        with open(path, "rb") as pipe:
            while part := pipe.read(1 << 16):
                content += part
                if len(content) > most:
                    raise MediaError(
                        f"{name}: the pipe gives more than {most} bytes; write it to a file, or "
                        f"{limits.raised('MAX_FETCHED_BYTES')}"
                    )
    except OSError as error:
        raise MediaError(f"{name}: the pipe cannot be read ({os.strerror(error.errno or 0)}); pass {wanted}") from error
    if not content:
        raise MediaError(f"{name}: is a pipe that gave 0 bytes; a pipe can be read only once")
    return bytes(content)
