"""Reads a server's reply: the model's text, the billed tokens, and the error if there is one."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ...text_tables import writable

# More tokens than any model takes: a count above is a mistake of the server.
MAX_TOKENS = 10**9
MAX_WORDS = 300
# How deep the message and the parameters of a complaint are looked for.
MAX_DEPTH = 6
# Why a model stopped, in the words of several servers. All others, "stop" for one, end an answer.
CUT_OFF = {"length", "max_tokens", "model_length", "max_output_tokens", "model_context_window_exceeded"}
FILTERED = {"content_filter", "safety", "recitation", "blocklist", "prohibited_content", "refusal", "sensitive"}


@dataclass(frozen=True)
class Message:
    """What a model said.

    Attributes:
        text: As it came; it may hold halves of surrogate pairs. Empty if there is none.
        model: Name of the model, with the server's fingerprint if there is one; None if the server does not say.
        finish_reason: In lower case.
        refusal: What the model says in place of an answer.
        tokens: Input and output, as they are billed.
    """

    text: str
    model: str | None
    finish_reason: str | None
    refusal: str | None
    tokens: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Complaint:
    """What a server says in place of an answer.

    Attributes:
        status: The HTTP status, or that which the body names.
        words: For people.
        codes: Codes and types of the error, in lower case.
        named: Names of the parameters that the server points at.
    """

    status: int
    words: str
    codes: frozenset[str]
    named: tuple[str, ...]


def read_json(content: bytes) -> Any:
    """
    Raises:
        ValueError: It is no JSON, or nested too deeply.
    """
    try:
        # Python refuses whole numbers of more than 4300 digits.
        return json.loads(content, parse_int=lambda digits: int(digits) if len(digits) < 20 else float(digits))
    except RecursionError as error:
        raise ValueError("is JSON that is nested too deeply") from error
    except ValueError as error:
        raise ValueError("is no JSON") from error


def read_message(value: Any) -> Message | None:
    """The message of a chat completion; None if there is none, as in a body that holds an error.

    Raises:
        ValueError: It is a chat completion of another form.
    """
    choices = value.get("choices") if isinstance(value, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict) or choice.get("error"):
        return None
    content, reason, refusal = message.get("content"), choice.get("finish_reason"), message.get("refusal")
    if isinstance(content, (bool, int, float, dict)):
        raise ValueError(f"the content is {type(content).__name__}, not text")
    parts = content if isinstance(content, list) else [content]
    texts = [_part(part) for part in parts if part is not None]
    names = [str(value[key]) for key in ("model", "system_fingerprint") if value.get(key)]
    name = f"{names[0]} ({names[1]})" if len(names) == 2 else names[0] if value.get("model") else None
    return Message(
        "".join(texts),
        name and writable(name),
        writable(str(reason)).lower() if reason else None,
        writable(str(refusal)) if refusal else None,
    )


def _part(part: Any) -> str:
    """The text of a part of the content; a part of reasoning has none."""
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        raise ValueError(f"the content is {type(part).__name__}, not text")
    text = part.get("text") if part.get("type", "text") in ("text", "output_text") else None
    return text if isinstance(text, str) else ""


def read_usage(value: Any) -> tuple[int | None, int | None]:
    """Input and output tokens that a body, also one with an error, says are billed; None for what it does not say.

    Reasoning counts as output: servers that leave it out of the completion's tokens have it in the total.
    """
    for place in (value, value.get("error") if isinstance(value, dict) else None):
        usage = place.get("usage") if isinstance(place, dict) else None
        if not isinstance(usage, dict):
            continue
        given, total = _count(usage, "prompt_tokens", "input_tokens"), _count(usage, "total_tokens")
        made = _count(usage, "completion_tokens", "output_tokens")
        if given is not None and total is not None:
            made = max(made or 0, total - given)
        return given, made
    return None, None


def _count(usage: dict[str, Any], *names: str) -> int | None:
    for name in names:
        count = usage.get(name)
        if isinstance(count, str) and count.isascii() and count.isdigit() and len(count) < 20:
            count = int(count)
        # NaN and infinity are numbers of Python's JSON.
        if isinstance(count, (int, float)) and not isinstance(count, bool) and 0 <= count <= MAX_TOKENS:
            return math.ceil(count)
    return None


def read_complaint(status: int, value: Any, content: bytes) -> Complaint:
    """
    Args:
        status: Of HTTP.
        value: The body as JSON; None if it is none.
        content: The body.
    """
    words = _message(value) or content[: 10 * MAX_WORDS].decode("utf-8", "replace")
    codes = {str(code).lower(): code for code in _values(value, ("code", "type", "status", "status_code"))}
    if status == 200:
        numbers = [int(code) for code in codes if code.isascii() and code.isdigit() and len(code) == 3]
        status = next((number for number in numbers if 400 <= number < 600), 200)
    named = [str(name) for name in _values(value, ("param",))]
    for place in _values(value, ("loc",)):
        named += [str(part) for part in place] if isinstance(place, list) else [str(place)]
    return Complaint(status, " ".join(writable(words).split()), frozenset(codes), tuple(named))


def _message(value: Any, depth: int = 0) -> str:
    """The words for people in the body of an error, which every server puts elsewhere."""
    if isinstance(value, str):
        return value
    if depth > MAX_DEPTH:
        return ""
    if isinstance(value, list):
        return "; ".join(filter(None, (_message(entry, depth + 1) for entry in value[:5])))
    if not isinstance(value, dict):
        return ""
    found = ""
    for name in ("error", "message", "detail", "details", "msg", "errors", "status_msg", "base_resp", "choices"):
        if found := _message(value.get(name), depth + 1):
            break
    if isinstance(place := value.get("loc"), list) and found:
        found = f"{'.'.join(map(str, place))}: {found}"
    # What a provider behind a gateway has said, and what kind of error it is.
    metadata = value.get("metadata")
    more = [metadata.get("raw") if isinstance(metadata, dict) else None, value.get("code")]
    for text in more:
        if found and isinstance(text, str) and text and text not in found:
            found = f"{found} ({text})"
    return found


def _values(value: Any, names: tuple[str, ...], depth: int = 0) -> Iterator[Any]:
    if depth > MAX_DEPTH:
        return
    if isinstance(value, list):
        for entry in value[:20]:
            yield from _values(entry, names, depth + 1)
    elif isinstance(value, dict):
        for name, entry in value.items():
            if name in names and entry and (isinstance(entry, (str, int)) or name == "loc"):
                yield entry
            elif isinstance(entry, (dict, list)) and name != "input":  # FastAPI repeats what was sent
                yield from _values(entry, names, depth + 1)


__all__ = [
    "CUT_OFF",
    "FILTERED",
    "MAX_WORDS",
    "Complaint",
    "Message",
    "read_complaint",
    "read_json",
    "read_message",
    "read_usage",
]
