"""Reads the JSON object that was asked for from the text of an answer, or says why the answer cannot be used."""

from __future__ import annotations

import json
import re
from typing import Any

from ...text_tables import check_writable

MAX_TEXT = 4000
# Characters of an answer, and objects without an end in its reasoning, that are looked at: each costs a pass over it.
MAX_ANSWER, MAX_UNCLOSED = 1_000_000, 5
# How models set their reasoning apart: <think> and the like, Mistral's [THINK], the tokens of Kimi and Command, the
# channels of gpt-oss and Gemma. Some templates open it in the prompt, so that only the end is in the answer. Some
# servers leave out the special tokens of channels, and "assistantfinal" remains.
_NAMES = "think|thinking|thoughts?|reasoning|reflection|analysis|scratchpad|seed:think"
_OPENS = (
    rf"<(?:{_NAMES})(?:\s[^<>/]*)?>|\[THINK\]|◁think▷|<\|START_THINKING\|>|<\|begin_of_thought\|>"
    r"|<\|channel\|?>\s*(?:analysis|commentary|thought|thinking)"
)
_ENDS = (
    rf"</\s*(?:{_NAMES})\s*>|\[/THINK\]|◁/think▷|<\|END_THINKING\|>|<\|end_of_thought\|>|<channel\|>"
    r"|<\|channel\|>\s*final\b|assistant\s*final(?=\s*[\[{`])"
)
_MARKS = re.compile(rf"(?P<opens>{_OPENS})|(?P<closes>{_ENDS})|(?P<brace>\{{)", re.IGNORECASE)
_CLOSES = re.compile(_ENDS, re.IGNORECASE)
_CHANNEL_ENDS = re.compile(rf"{_ENDS}|<\|end\|>", re.IGNORECASE)
# What an object begins with, if not quite in JSON.
_LIKE_JSON = re.compile(r"\{(?:[{\[]|\s*(?:[\"'}]|\w+\s*:|$))")
# A text without its end stops at the end of the line.
_TOKENS = re.compile(r'"(?:[^"\\\n]|\\.)*"?|[{}]')
# Python refuses whole numbers of more than 4300 digits; no number here has more than two.
_DECODER = json.JSONDecoder(parse_int=lambda digits: int(digits) if len(digits) < 20 else float(digits))


def response_format(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The `response_format` of a request for an answer that fits a JSON schema.

    Not every server keeps to it, so every answer is checked.
    """
    return {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": schema}}


def object_schema(properties: dict[str, Any]) -> dict[str, Any]:
    """The JSON schema of an object with exactly these keys. The strict mode of every server knows this form."""
    return {"type": "object", "additionalProperties": False, "required": [*properties], "properties": properties}


def last_object(text: str) -> dict[str, Any]:
    """The last JSON object of an answer, which must be complete. Reasoning before it and words around it are ignored.

    Models draft, and then correct themselves, so the last object is what they say. Reasoning ends with a tag such as
    `</think>` (its opening may be missing) or with the channel "final"; objects in it do not count. Inside an object
    that is broken or cut off nothing counts either: a part of an answer is no answer. The time is linear in the length
    of the text.

    Raises:
        ValueError: There is no such object; the message says why.
    """
    if len(text) > MAX_ANSWER:
        raise ValueError(f"it has {len(text)} characters, more than {MAX_ANSWER}")
    found: dict[str, Any] | None = None
    reason = "it has no complete JSON object"
    position, end_of_found, in_a_list, unclosed = 0, -1, False, 0
    closing, matches = _Next(_CLOSES, text), _Matches(text)
    while (mark := _MARKS.search(text, position)) is not None:
        start, position = mark.start(), mark.end()
        if mark.lastgroup != "brace":
            found = None
            reason = "it has no complete JSON object after its reasoning"
            if mark.lastgroup == "opens":
                ends = (_CHANNEL_ENDS if "channel" in mark[0].lower() else _CLOSES).search(text, position)
                if ends is None:
                    raise ValueError("its reasoning has no end, so there is no answer after it")
                position = ends.end()
            continue
        if _LIKE_JSON.match(text, start) is None:  # braces of prose, such as {dog, car}
            position = matches.end(start) or position
            continue
        end, closed = _end_of_object(text, start, len(text))
        try:
            value = _DECODER.decode(text[start:end])
        except (ValueError, RecursionError) as error:
            found, reason = None, _what_is_broken(text[start:end], error)
            if not closed and (limit := closing.start(start)) < len(text):  # it belongs to the reasoning
                unclosed += 1
                end, closed = limit, unclosed <= MAX_UNCLOSED
            if not closed:
                raise ValueError(reason) from error
            position = end
            continue
        # [{...}, {...}]: nobody can say which of them is meant.
        in_a_list = found is not None and text[end_of_found:start].strip() == ","
        found, position, end_of_found = value, end, end
    if found is None:
        raise ValueError(reason)
    if in_a_list:
        raise ValueError("it has a list of JSON objects, not one object")
    try:
        check_writable(found)
    except ValueError as error:
        raise ValueError(f"its JSON object {error}") from error
    return found


class _Next:
    """Where a pattern comes next, looked for once for all positions before it."""

    def __init__(self, pattern: re.Pattern[str], text: str) -> None:
        self.pattern, self.text, self.known = pattern, text, -1

    def start(self, position: int) -> int:
        """The next start at or after a position, which never goes back; the length of the text if there is none."""
        if self.known < position:
            found = self.pattern.search(self.text, position)
            self.known = len(self.text) if found is None else found.start()
        return self.known


class _Matches:
    """Which braces belong together, found once for the whole text, when it is first asked for."""

    def __init__(self, text: str) -> None:
        self.text, self.ends = text, dict[int, int]()
        self.known = False

    def end(self, start: int) -> int | None:
        if not self.known:
            self.known, opened = True, list[int]()
            for brace in re.finditer("[{}]", self.text):
                if brace[0] == "{":
                    opened.append(brace.start())
                elif opened:
                    self.ends[opened.pop()] = brace.end()
        return self.ends.get(start)


def _end_of_object(text: str, start: int, limit: int) -> tuple[int, bool]:
    """The end of what should be an object, by its braces outside of texts, and whether it is closed before a limit."""
    depth = 0
    for token in _TOKENS.finditer(text, start, limit):
        depth += {"{": 1, "}": -1}.get(token[0], 0)
        if not depth:
            return token.end(), True
    return limit, False


def _what_is_broken(text: str, error: Exception) -> str:
    """Why the text of an object cannot be read."""
    if not isinstance(error, json.JSONDecodeError):
        return "its JSON object is nested too deeply"
    place = error.pos
    before, after = text[:place].rstrip()[-1:], text[place:].lstrip(", \t\r\n")[:1]
    if "trailing comma" in error.msg or (before == "," and after in ("}", "]")):
        return f"its JSON object has a trailing comma before a closing bracket, at character {place + 1}"
    if not text[place:].strip() or error.msg.startswith("Unterminated string"):
        return "its JSON object is cut off: it is never closed"
    if error.msg.startswith("Invalid control character"):
        return f"its JSON object has a line break inside a text, at character {place + 1}; write \\n"
    return f"its JSON object is broken at character {place + 1}: {error.msg}, but there is {text[place : place + 20]!r}"


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


__all__ = ["check_keys", "checked_text", "last_object", "object_schema", "response_format", "type_name"]
