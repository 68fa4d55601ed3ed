"""The text of an answer in, the one JSON object that was asked for out, or the reason why it cannot be used."""

from __future__ import annotations

import json
from typing import Any

MAX_TEXT = 4000


def response_format(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Asks a server for constrained decoding; the answer is checked here in any case."""
    return {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": schema}}


def object_schema(properties: dict[str, Any]) -> dict[str, Any]:
    """Only what every server's strict mode knows: all keys required and no others."""
    return {"type": "object", "additionalProperties": False, "required": [*properties], "properties": properties}


def first_object(text: str) -> dict[str, Any]:
    """The first JSON object in a text; words around it, such as a code fence, do not matter.

    Raises:
        ValueError: There is none.
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


def exact_keys(value: dict[str, Any], wanted: list[str], where: str) -> None:
    """
    Raises:
        ValueError: A key is missing, or one is not known.
    """
    missing, unknown = [key for key in wanted if key not in value], sorted(set(value) - set(wanted))
    if missing:
        raise ValueError(f"{where} lacks {', '.join(missing)}")
    if unknown:
        raise ValueError(f"{where} has the unknown key {unknown[0]!r:.80}")


def checked_text(value: Any, where: str, limit: int = MAX_TEXT) -> str:
    """
    Raises:
        ValueError: No text, or more than `limit` characters.
    """
    if not isinstance(value, str):
        raise ValueError(f"{where} is {kind(value)}, not text")
    if len(value) > limit:
        raise ValueError(f"{where} has {len(value)} characters, more than {limit}")
    return value.strip()


def kind(value: Any) -> str:
    return "null" if value is None else f"a {type(value).__name__}"


__all__ = ["checked_text", "exact_keys", "first_object", "kind", "object_schema", "response_format"]
