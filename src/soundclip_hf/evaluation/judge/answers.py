"""Reads answers about clips, as `soundclip describe --manifest` and `soundclip eval generation` write them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...text_tables import json_lines, json_value

# How an answer was made. Answers that differ in one of these are measured apart.
SETTINGS = (
    *("model", "revision", "weights", "encoder", "alignment", "alpha", "k", "mode", "frame", "seed", "temperature"),
    "max_new_tokens",
)


@dataclass(frozen=True)
class GivenAnswer:
    """
    One answer that a model gave.

    Attributes:
        id: Of the sample that the question is about.
        question: What was asked.
        answer: Empty where the model gave none.
        settings: How it was made: `SETTINGS`, as far as the file has them.
        row: The whole line.
        source: File and line, for messages.
    """

    id: str
    question: str
    answer: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    row: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""

    @property
    def answer_id(self) -> str:
        """Sixteen hexadecimal digits that differ for another sample, question, answer or setting."""
        values = [self.id, self.question, self.answer, dict(self.settings)]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def read_answers(paths: Sequence[str | Path]) -> list[GivenAnswer]:
    """
    The answers of JSON Lines files, in order.

    Each line is an object with `id`, `question` and `answer`. A line with `error` in place of `answer` is an empty
    answer. Settings may stand in an object `settings`, too.

    Raises:
        ValueError: If a file has no line, or a line without one of these; if two lines have the same id, question and
            settings; or if not one answer has text.
    """
    found: list[GivenAnswer] = []
    first: dict[str, str] = {}
    for path in paths:
        count = len(found)
        for number, line in json_lines(path):
            where = f"{path}, line {number}"
            try:
                given = _answer(json_value(line), where)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from error
            key = json.dumps([given.id, given.question, dict(given.settings)], sort_keys=True)
            if key in first:
                raise ValueError(
                    f"{where}: answers the same question about {given.id!r} with the same settings as {first[key]}; "
                    "leave one of them out"
                )
            first[key] = where
            found.append(given)
        if len(found) == count:
            raise ValueError(f"{path}: has no answers; give the JSON lines of `soundclip describe --manifest --out`")
    if not any(given.answer for given in found):
        raise ValueError(f"{', '.join(map(str, paths))}: all {len(found)} answers are empty: there is nothing to judge")
    return found


def _answer(values: Any, where: str) -> GivenAnswer:
    if not isinstance(values, dict):
        raise ValueError('is no JSON object; give lines such as {"id": …, "question": …, "answer": …}')
    answer = values.get("answer")
    if answer is None and values.get("error") is not None:
        answer = ""
    name = values.get("id")
    if isinstance(name, bool) or not isinstance(name, (str, int)):
        raise ValueError(f"'id' is {name!r:.60}; it must be a text: by it the reference is found")
    for key, text in (("question", values.get("question")), ("answer", answer)):
        if not isinstance(text, str):
            raise ValueError(f"{key!r} is {text!r:.60}; it must be a text")
    nested = values.get("settings")
    every = {**(nested if isinstance(nested, dict) else {}), **values}
    settings = {setting: every[setting] for setting in SETTINGS if setting in every}
    return GivenAnswer(str(name), values["question"], str(answer).strip(), settings, values, where)


__all__ = ["SETTINGS", "GivenAnswer", "read_answers"]
