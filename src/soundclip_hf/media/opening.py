"""Opens local paths and bytes as containers. Every media file that the package reads is opened here."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import av
import av.container

# Tags are often in other encodings than UTF-8. From PyAV 19 on they are never an error, and the argument is gone.
_FOREIGN_TAGS: dict[str, Any] = {"metadata_errors": "ignore"} if int(av.__version__.split(".")[0]) < 19 else {}
# A file that starts with one of these is opened as that container. FFmpeg also looks at the bytes that follow, and can
# take plain samples for another container: FFmpeg 9 takes a wav file for MPEG-TS where a byte of 0x47 comes regularly.
_SIGNATURES = (  # the first four bytes, what bytes 8 to 12 start with, the container
    (b"RIFF", b"WAVE", "wav"),
    (b"RF64", b"WAVE", "wav"),
    (b"FORM", b"AIFF", "aiff"),
    (b"FORM", b"AIFC", "aiff"),
    (b"caff", b"", "caf"),
    (b".snd", b"", "au"),
)


def open_media(media: str | Path | bytes) -> av.container.InputContainer:
    """Open a media file, or its bytes, for reading.

    Raises:
        av.FFmpegError: It is not a media file, or it cannot be read.
    """
    # With "file:" in front, FFmpeg does not take a name with a colon for a protocol.
    target = io.BytesIO(media) if isinstance(media, bytes) else f"file:{media}"
    return av.open(target, "r", format=_container_of(media), **_FOREIGN_TAGS)


def _container_of(media: str | Path | bytes) -> str | None:
    """FFmpeg's name of the container, where the first bytes tell it."""
    head = b""
    if isinstance(media, bytes):
        head = media[:12]
    elif Path(media).is_file():  # bytes read here from a pipe would be lost to FFmpeg
        with Path(media).open("rb") as file:
            head = file.read(12)
    return next((name for start, kind, name in _SIGNATURES if head[:4] == start and head[8:12].startswith(kind)), None)


def open_decoder(media: str | bytes) -> av.container.InputContainer:
    """Open a media file, or its bytes, for decoding in this thread alone.

    Raises:
        av.FFmpegError: As `open_media`.
    """
    container = open_media(media)
    for stream in (*container.streams.video, *container.streams.audio):
        # A decoder with threads of its own hangs when a forked process garbage-collects it: the threads do not exist
        # there.
        stream.codec_context.thread_count = 1
    return container
