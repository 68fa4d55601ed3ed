"""Reads a part of a chat message, in the forms of transformers, OpenAI's and vLLM's clients, into one form."""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from ...media import Clip

Kind = Literal["text", "image", "audio", "video"]

# The types of parts of transformers (text, image, audio, video), OpenAI (image_url, input_...) and vLLM (..._url).
_KINDS: dict[str, Kind] = {
    "text": "text",
    "input_text": "text",
    "output_text": "text",
    "image": "image",
    "image_url": "image",
    "input_image": "image",
    "audio": "audio",
    "audio_url": "audio",
    "input_audio": "audio",
    "video": "video",
    "video_url": "video",
}
# The keys that hold a medium: those of any kind, and those of one kind alone.
_CONTENT_KEYS = ("array", "bytes", "base64", "data")
_ANY_MEDIUM = ("url", "path", "file", "bytes", "base64", "data")
_OF_KIND: dict[Kind, tuple[str, ...]] = {
    "text": ("text",),
    "image": ("image", "image_url"),
    "audio": ("audio", "audio_url", "input_audio", "array"),
    "video": ("video", "video_url"),
}
# Keys that name media wherever they stand; the last line has those that only look right.
_MEDIA_KEYS = {
    *(name for names in _OF_KIND.values() for name in names if name not in ("text", "array")),
    *("audios", "images", "videos", "sound", "sounds", "waveform"),
}
_EVERY_SOURCE = {*_MEDIA_KEYS, *_ANY_MEDIUM, "text", "array"}
# Longer than a file's name can be, and without the dot of its ending: the text of a file, not its name.
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]{256,}={0,2}\s*")


class _Missing:
    """Stands for the source of a part that has none."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()


@dataclass(frozen=True)
class Part:
    """
    A part of a message.

    Attributes:
        kind: What it is.
        source: The text; or a medium: a path, URL, bytes, or an object that holds it. `MISSING` for a medium without
            source; `None` for an audio part that marks a silent image.
        key: The key under which the source stands, as it is; empty if it was decoded or stood deeper.
        sampling_rate: Of an array, in Hz, where the part says it.
        others: The keys of the part that do not name its type or its source.
    """

    kind: Kind
    source: Any
    key: str
    sampling_rate: Any
    others: Mapping[str, Any]


def read_part(part: Any, where: str) -> Part:
    """
    Read a part of a message.

    A type of part says what it is, not which key has the source: each kind takes the keys of all clients. A key whose
    value is `None` counts as absent. Texts of base64 are decoded; files and URLs are not opened.

    Args:
        part: A dictionary, or a string, which is a text.
        where: Names the part in messages.

    Raises:
        ValueError: If the part is of another type or has none; if it has no text or two sources; if it holds a medium
            under a key that a part of its type does not have; or if base64 text is not valid.
    """
    if isinstance(part, str):
        part = {"type": "text", "text": part}
    if not isinstance(part, Mapping):
        raise ValueError(
            f'{where} is a {type(part).__name__}; give a dictionary such as {{"type": "text", "text": ...}}.'
        )
    named = part.get("type")
    kind = _KINDS.get(named) if isinstance(named, str) else None
    if kind is None:
        has = f"has no type; its keys are {_list(part)}" if named is None else f"has the type {named!r}"
        near = get_close_matches(str(named), _KINDS, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{where} {has}, and would not be read. The types of parts are {_list(_KINDS)}.{hint}")
    where = f"{where} of type {named!r}"
    own = _OF_KIND[kind] if kind == "text" else (*_OF_KIND[kind], *_ANY_MEDIUM)
    stray = [name for name in part if name in _EVERY_SOURCE and name not in own and part[name] is not None]
    if stray:
        raise ValueError(f"{where} also has {_list(stray)}, which would not be read: give it as a part of its own.")
    others = {name: value for name, value in part.items() if name not in own and name != "type"}
    if kind == "text":
        text = part.get("text")
        if not isinstance(text, str):
            raise ValueError(f"{where} has no text: `text` is {_describe(text)}; give a string.")
        return Part(kind, text, "text", None, others)
    source, rate = _source(part, own, where)
    if source is MISSING and kind == "audio" and "audio" in part:
        source = None
    _check_source(kind, source, where)
    key = next((name for name in own if source is not None and part.get(name) is source), "")
    return Part(kind, source, key, part.get("sampling_rate") if rate is None else rate, others)


def media_outside_parts(message: Mapping[str, Any]) -> list[str]:
    """The keys of a message, beside its content, that hold media; nobody would read them."""
    given = [name for name in message if name in _MEDIA_KEYS and message[name] is not None]
    return [name for name in given if not (isinstance(message[name], (list, tuple)) and not message[name])]


def accepted_keys(kind: Kind) -> str:
    """The keys that a part of this kind may have its source under, for messages."""
    usual, *others = _OF_KIND[kind]
    return ", ".join((usual, *_ANY_MEDIUM, *others))


def _source(holder: Mapping[str, Any], names: Iterable[str], where: str) -> tuple[Any, Any]:
    """The source in a part, or in a dictionary inside it; of the latter also the sampling rate, else `None`."""
    given = [name for name in names if holder.get(name) is not None]
    if "path" in given and len(given) == 2 and set(given) & {"array", "bytes"}:
        given.remove("path")  # a row of datasets, whose path only says where the content came from
    if len(given) > 1:
        raise ValueError(f"{where} has {len(given)} sources, {_list(given)}: give one; others are parts of their own.")
    if not given:
        return MISSING, None
    (name,) = given
    value = holder[name]
    if isinstance(value, Mapping):  # {"url": ...}, {"data": ..., "format": ...}, or a row of datasets
        inside = f"{where}: {name!r}"
        _check_format(value.get("format"), inside)
        source, rate = _source(value, dict.fromkeys((*_CONTENT_KEYS, *_ANY_MEDIUM)), inside)
        if source is MISSING:
            raise ValueError(f"{inside} has the keys {_list(value)} and no source: give one of {_list(_ANY_MEDIUM)}.")
        return source, value.get("sampling_rate") if rate is None else rate
    if isinstance(value, memoryview):
        return bytes(value), None
    if isinstance(value, str) and (name in ("base64", "data") or value.startswith("data:") or _BASE64.fullmatch(value)):
        return _decoded(value, where), None
    return value, None


def _check_format(name: Any, where: str) -> None:
    """OpenAI's clients can send samples without a header, which say neither their rate nor their type."""
    if isinstance(name, str) and name.lower().startswith(("pcm", "g711")):
        raise ValueError(f"{where} has the format {name!r}, samples without a header: send a file, such as wav or mp3.")


def _check_source(kind: Kind, source: Any, where: str) -> None:
    if source is MISSING or source is None or isinstance(source, (str, Path, bytes, bytearray)):
        return
    if kind == "image" and not isinstance(source, Image.Image) and not hasattr(source, "__array__"):
        raise ValueError(
            f"{where} holds {_describe(source)}: give one picture: a path, URL, bytes, PIL image or array."
        )
    if kind == "video" and not isinstance(source, Clip):
        raise ValueError(
            f"{where} holds {_describe(source)}: give a path, URL, bytes or a Clip of `read_clip`. Frames that are "
            "images already are parts of type 'image', and their sound is one of type 'audio'."
        )


def _decoded(text: str, where: str) -> bytes:
    try:
        return base64.b64decode("".join(text.rpartition("base64,")[2].split()), validate=True)
    except binascii.Error as error:
        raise ValueError(f"{where}: {text[:40]!r}... is not base64 ({error}).") from error


def _describe(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _list(names: Iterable[Any]) -> str:
    return ", ".join(map(repr, names)) or "none"


__all__ = ["MISSING", "Kind", "Part", "accepted_keys", "media_outside_parts", "read_part"]
