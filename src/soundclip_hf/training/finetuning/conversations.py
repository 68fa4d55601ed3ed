"""Reads a row of a dataset as a conversation: chat messages, questions with answers, prompts with completions."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...modeling.prompts.message_parts import MISSING, read_part
from ...modeling.slots.pairing import is_sound

# Kind of medium -> the columns that may hold it, one or a list of them.
MEDIA_COLUMNS = {
    "image": ("image", "images"),
    "audio": ("audio", "audios", "sound"),
    "video": ("video", "videos"),
}
_ROLES = {"human": "user", "gpt": "assistant"}  # of LLaVA's own files
_MARKER = re.compile(r"<(image|audio|video)>")


class RowError(ValueError):
    """A row cannot be trained on; the message says why, and how to mend it."""


def read_conversation(row: Mapping[str, Any], media_folder: Path | None = None) -> list[dict[str, Any]]:
    """
    The messages of a row, with the media of its columns in their places.

    Four kinds of rows are read:

    - `messages`: chat messages, as `apply_chat_template` takes them. A part without a source, such as
      `{"type": "image"}`, gets the next medium of the row's columns.
    - `prompt` and `completion`: chat messages, or texts, of what is given and what is to be learned.
    - `conversations`: LLaVA's own form, `{"from": "human", "value": "<image>\\n…"}` and `{"from": "gpt", …}`.
    - `question` and `answer`: texts. All media of the columns come before the question.

    Media columns are `image`/`images`, `audio`/`audios`/`sound` and `video`/`videos`. A column that is absent, `None`
    or empty holds no medium.

    Args:
        row: Of a dataset.
        media_folder: Where relative paths of media are looked up first.

    Returns:
        Messages whose `content` is a text or a list of parts.

    Raises:
        RowError: If the row has none of these forms, no answer of the assistant, or media that no part stands for.
    """
    media = {kind: _media(row, columns) for kind, columns in MEDIA_COLUMNS.items()}
    if row.get("messages") is not None:
        messages = [_without_none(message) for message in _list(row["messages"], "messages")]
    elif row.get("prompt") is not None and row.get("completion") is not None:
        messages = [*_turns(row["prompt"], "user", media), *_turns(row["completion"], "assistant", {})]
    elif row.get("conversations") is not None:
        messages = [_of_llava(turn, index) for index, turn in enumerate(_list(row["conversations"], "conversations"))]
    elif row.get("question") is not None and row.get("answer") is not None:
        messages = [*_turns(row["question"], "user", media), *_turns(row["answer"], "assistant", {})]
    else:
        columns = ", ".join(repr(name) for name in row if name != "row")
        raise RowError(
            f"its columns are {columns or 'none'}: give 'messages', 'question' and 'answer', "
            "'prompt' and 'completion', or 'conversations'"
        )
    _fill(messages, media)
    _check(messages)
    return messages if media_folder is None else [_in_folder(message, media_folder) for message in messages]


def _media(row: Mapping[str, Any], columns: Sequence[str]) -> list[Any]:
    given = [name for name in columns if row.get(name) is not None and not _is_empty(row[name])]
    if len(given) > 1:
        raise RowError(f"both columns {given[0]!r} and {given[1]!r} hold media of one kind: keep one of them")
    if not given:
        return []
    value = row[given[0]]
    return list(value) if isinstance(value, (list, tuple)) and not is_sound(value) else [value]


def _is_empty(value: Any) -> bool:
    return isinstance(value, (list, tuple, str)) and not value


def _list(value: Any, column: str) -> Sequence[Any]:
    if not isinstance(value, (list, tuple)):
        raise RowError(f"{column!r} is a {type(value).__name__}: give a list of messages")
    return value


def _without_none(message: Any) -> Any:
    """A message without the keys that Arrow fills with None where other messages have them."""
    if not isinstance(message, Mapping):
        return message
    content = message.get("content")
    kept = {name: value for name, value in message.items() if value is not None}
    if isinstance(content, (list, tuple)):
        kept["content"] = [_part_without_none(part) for part in content]
    return kept


def _part_without_none(part: Any) -> Any:
    if not isinstance(part, Mapping):
        return part
    kept = {name: value for name, value in part.items() if value is not None}
    # {"type": "audio", "audio": None} marks a silent image, if the part was written by hand and not by Arrow, which
    # gives every part all keys.
    if part.get("type") == "audio" and set(part) == {"type", "audio"}:
        kept["audio"] = part["audio"]
    return kept


def _turns(given: Any, role: str, media: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    if isinstance(given, (list, tuple)):
        return [_without_none(message) for message in given]
    parts = [{"type": kind} for kind, sources in media.items() for _ in sources]
    return [{"role": role, "content": [*parts, {"type": "text", "text": str(given)}]}]


def _of_llava(turn: Any, index: int) -> dict[str, Any]:
    if not isinstance(turn, Mapping) or not isinstance(turn.get("value"), str) or not isinstance(turn.get("from"), str):
        raise RowError(f"turn {index} of 'conversations' is not of the form {{'from': 'human', 'value': '…'}}")
    value = turn["value"]
    parts = [{"type": kind} for kind in _MARKER.findall(value)]
    return {
        "role": _ROLES.get(turn["from"], turn["from"]),
        "content": [*parts, {"type": "text", "text": _MARKER.sub("", value).strip()}],
    }


def _fill(messages: list[Any], media: Mapping[str, list[Any]]) -> None:
    """Give the media of the columns to the parts without source, in order."""
    waiting = {kind: list(sources) for kind, sources in media.items()}
    places = dict.fromkeys(media, 0)
    for index, message in enumerate(messages):
        content = message.get("content") if isinstance(message, Mapping) else None
        if not isinstance(content, (list, tuple)):
            continue
        filled = []
        for number, part in enumerate(content):
            try:
                read = read_part(part, f"message {index}, part {number}")
            except ValueError as error:
                raise RowError(str(error)) from error
            if read.kind != "text" and read.source is MISSING:
                places[read.kind] += 1
                if waiting[read.kind]:
                    part = {**part, "type": read.kind, read.kind: waiting[read.kind].pop(0)}
                elif media[read.kind]:
                    raise RowError(
                        f"message {index}, part {number} of type {read.kind!r} has no source, and the column holds "
                        f"only {len(media[read.kind])}"
                    )
            filled.append(part)
        message["content"] = filled
    for kind, left in waiting.items():
        if left:
            raise RowError(
                f"{len(media[kind])} in the column of type {kind!r}, but {places[kind]} part(s) of this type without "
                f'source in its messages: add {{"type": "{kind}"}} where each belongs'
            )


def _in_folder(message: dict[str, Any], folder: Path) -> dict[str, Any]:
    content = message.get("content")
    if not isinstance(content, list):
        return message
    return {**message, "content": [_part_in_folder(part, folder) for part in content]}


def _part_in_folder(part: Any, folder: Path) -> Any:
    if not isinstance(part, Mapping):
        return part
    found = {}
    for key in (*MEDIA_COLUMNS, "path", "url", "file"):
        value = part.get(key)
        # A text of base64 is longer than a name can be.
        if isinstance(value, str) and len(value) < 1024 and "://" not in value and (folder / value).is_file():
            found[key] = str(folder / value)
    return {**part, **found}


def _check(messages: list[Any]) -> None:
    if not messages:
        raise RowError("it has no messages")
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise RowError(f"message {index} has no `role`: give {{'role': 'user', 'content': …}}")
    answers = [message for message in messages if message["role"] == "assistant"]
    if not answers:
        roles = ", ".join(dict.fromkeys(repr(message["role"]) for message in messages))
        raise RowError(f"it has no turn of the role 'assistant' to learn from; its roles are {roles}")
    if not any(_has_text(message.get("content")) for message in answers):
        raise RowError("every turn of the role 'assistant' is empty: there is nothing to learn from")


def _has_text(content: Any) -> bool:
    if isinstance(content, str):
        return bool(content.strip())
    return any(part.get("text", "").strip() if isinstance(part, Mapping) else part for part in content or ())


__all__ = ["MEDIA_COLUMNS", "RowError", "read_conversation"]
