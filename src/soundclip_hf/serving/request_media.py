"""The messages of a request with their media read: from data URLs and http(s) URLs, and from allowed local files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ..media import load_picture, load_sound, read_clip, shown
from ..modeling.prompts.message_parts import MISSING, Part, accepted_keys, media_outside_parts, read_part
from .chat_requests import RequestError, check_text, check_value

# "developer" is OpenAI's newer word for "system".
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


@dataclass(frozen=True)
class MediaOptions:
    """
    How the media of a request are read.

    Attributes:
        sampling_rate: Of the sounds, in Hz.
        frame, num_frames: Where the part of a video does not say them.
        folder: The local files in it may be read, as absolute path without symbolic links; None allows none.
    """

    sampling_rate: int
    frame: str | float = "middle"
    num_frames: int = 1
    folder: Path | None = None


def read_messages(messages: Sequence[Any], options: MediaOptions) -> list[dict[str, Any]]:
    """
    Read the media of OpenAI-style messages; what comes back is for `SoundLlavaProcessor.apply_chat_template`.

    Raises:
        RequestError: If a message or a part is not of the form, a medium cannot be fetched or read, or is a local file
            that is not allowed; 400, with the place.
    """
    return [_message(message, options, f"messages[{index}]") for index, message in enumerate(messages)]


def _message(message: Any, options: MediaOptions, place: str) -> dict[str, Any]:
    if not isinstance(message, Mapping):
        raise RequestError(f"{place} is a {type(message).__name__}; give an object with role and content", param=place)
    role = message.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise RequestError(f"{place}: role={role!r}: must be one of {', '.join(map(repr, _ROLES))}", param=place)
    if outside := media_outside_parts(message):
        names = ", ".join(map(repr, outside))
        raise RequestError(f"{place} has {names} beside its content, where media are not read", param=place)
    if message.get("tool_calls") or message.get("function_call"):
        raise RequestError(f"{place}: calls of tools are not supported by this server", param=place)
    content = message.get("content")
    if isinstance(content, list):
        content = [_part(part, options, f"{place}.content[{number}]") for number, part in enumerate(content)]
    elif isinstance(content, str):
        check_text(content, place, place)
    else:
        raise RequestError(f"{place}: content={content!r}: must be a string or a list of parts", param=place)
    return {"role": _ROLES[role], "content": content}


def _part(given: Any, options: MediaOptions, place: str) -> dict[str, Any]:
    try:
        part = read_part(given, place)
        if part.kind == "text":
            check_text(part.source, place, place)
            return {"type": "text", "text": part.source}
        if part.source is MISSING:
            raise ValueError(f"{place} of type {given['type']!r} has no source: give one of {accepted_keys(part.kind)}")
        return _loaded(part, options, place)
    except RequestError as error:
        raise RequestError(str(error), param=place) from error
    except (ValueError, TypeError) as error:  # a MediaError names the source alone
        text = str(error)
        raise RequestError(text if place in text else f"{place}: {text}", param=place) from error


def _loaded(part: Part, options: MediaOptions, place: str) -> dict[str, Any]:
    source = part.source
    if isinstance(source, str):
        source = _allowed(source, options.folder, place)
    if part.kind == "image":
        name = f"<{len(source)} bytes>" if isinstance(source, bytes) else None
        return {"type": "image", "image": load_picture(source, name=name)}
    rate = options.sampling_rate
    if part.kind == "audio":
        if source is None:
            return {"type": "audio", "audio": None}
        sound = load_sound(source, sampling_rate=rate, source_rate=part.sampling_rate)
        return {"type": "audio", "audio": sound, "sampling_rate": rate}
    own = {name: part.others[name] for name in ("frame", "num_frames") if part.others.get(name) is not None}
    for name, value in own.items():
        check_value(name, value, f"{place}: ")
    count = own.get("num_frames", options.num_frames)
    with_sound = part.others.get("load_audio")
    if with_sound not in (None, True, False):
        raise RequestError(f"{place}: load_audio={with_sound!r}: must be true or false")
    clip = read_clip(source, frame=own.get("frame", options.frame), sampling_rate=rate, frames=count)
    return {"type": "video", "video": clip, "num_frames": count, "load_audio": with_sound is not False}


def _allowed(source: str, folder: Path | None, place: str) -> str:
    """
    A source that may be opened: an http(s) URL as it is, the path of an allowed file.

    Raises:
        RequestError: If it is neither. The message does not say whether there is such a file.
    """
    scheme, separator, rest = source.partition("://")
    if separator and scheme.lower() in ("http", "https"):
        return source
    name = shown(source if len(source) <= 80 else f"{source[:80]}...")
    if separator and scheme.lower() != "file":
        raise RequestError(f"{place}: {name}: {shown(scheme[:20])}:// is not supported; send an http(s) or a data URL")
    if folder is None:
        raise RequestError(
            f"{place}: {name}: is neither an http(s) URL nor a data URL, and this server reads no local files "
            "(--allowed-local-media-path allows those of a folder)"
        )
    path = unquote(rest.removeprefix("localhost")) if separator else source
    try:
        found = (folder / path).resolve()
    except (OSError, ValueError, RuntimeError):  # a loop of links, a byte of zero
        found = Path("/")
    if not found.is_relative_to(folder):
        raise RequestError(f"{place}: {name}: lies outside the folder whose files this server may read")
    return str(found)


__all__ = ["MediaOptions", "read_messages"]
