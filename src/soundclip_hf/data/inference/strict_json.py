"""Reads the JSON object that was asked for from the text of an answer, or says why the answer cannot be used."""

from __future__ import annotations

import json
from typing import Any

MAX_TEXT = 4000


def response_format(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The `response_format` of a request for an answer that fits a JSON schema.

    Not every server keeps to it, so every answer is checked.
    """
    return {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": schema}}


def object_schema(properties: dict[str, Any]) -> dict[str, Any]:
    """The JSON schema of an object with exactly these keys. The strict mode of every server knows this form."""
    return {"type": "object", "additionalProperties": False, "required": [*properties], "properties": properties}


def first_object(text: str) -> dict[str, Any]:
    """The first JSON object in a text. Text around it, such as a code fence, is ignored.

    Raises:
        ValueError: The text has no complete JSON object.
    """
    decoder, start = json.JSONDecoder(), text.find("{")
    while start >= 0:
        try:
            found, _ = decoder.raw_decode(text, start)
        except (json.JSONDecodeError, RecursionError):
            start = text.find("{", start + 1)
            continue
        return found
    raise ValueError("it has no complete JSON object")


def check_keys(value: dict[str, Any], expected: list[str], name: str) -> None:
    """
    Raises:
        ValueError: A key is missing, or there is one more.
    """
    missing, unknown = [key for key in expected if key not in value], sorted(set(value) - set(expected))
    if missing:
        raise ValueError(f"{name} lacks {', '.join(missing)}")
    if unknown:
        raise ValueError(f"{name} has the unknown key {unknown[0]!r:.80}")


def checked_text(value: Any, name: str, limit: int = MAX_TEXT) -> str:
    """A text without the space around it.

    Raises:
        ValueError: The value is not text, or has more than `limit` characters.
    """
    if not isinstance(value, str):
        raise ValueError(f"{name} is {type_name(value)}, not text")
    if len(value) > limit:
        raise ValueError(f"{name} has {len(value)} characters, more than {limit}")
    return value.strip()


def type_name(value: Any) -> str:
    """The type of a value of JSON, for messages."""
    return "null" if value is None else f"a {type(value).__name__}"


__all__ = ["check_keys", "checked_text", "first_object", "object_schema", "response_format", "type_name"]
