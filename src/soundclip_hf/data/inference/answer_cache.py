"""Accepted answers by the hash of the request, and the tokens of all answers, in an SQLite file that runs may share."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .server import Answer


class AnswerCache:
    """Keeps each accepted answer as soon as it has come, so that a run that is killed loses none; use it inside `with`.

    Args:
        path: SQLite file, which is made if it does not exist. None keeps the answers in memory, for this run alone.

    Raises:
        ValueError: When it is opened: the file is no SQLite file, or cannot be written.
    """

    def __init__(self, path: str | Path | None) -> None:
        self.path = path

    def __enter__(self) -> AnswerCache:
        place = ":memory:" if self.path is None else self.path
        try:
            self.database = sqlite3.connect(place, isolation_level=None, timeout=60)
            self.database.execute("PRAGMA journal_mode=WAL")
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{self.path}: cannot be used as a file of answers ({error}); choose another") from error
        self.database.execute("PRAGMA synchronous=NORMAL")
        self.database.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL)")
        self.database.execute("CREATE TABLE IF NOT EXISTS used (model TEXT PRIMARY KEY, input INTEGER, output INTEGER)")
        return self

    def __exit__(self, *_: object) -> None:
        self.database.close()

    @staticmethod
    def key(parameters: dict[str, Any], question: Any, schema: dict[str, Any]) -> str:
        """The hash under which an answer is kept.

        Args:
            parameters: `Server.parameters`.
            question: `Question.key`.
            schema: JSON schema of the answer.
        """
        request = json.dumps([parameters, question, schema], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(request.encode()).hexdigest()

    def get(self, key: str) -> Answer | None:
        """The answer to a question; None if there is none, or it is not in the form of `put`."""
        found = self.database.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
        try:
            answer = Answer(**json.loads(found[0])) if found else None
        except (TypeError, ValueError, RecursionError):
            return None
        return answer if answer is not None and isinstance(answer.text, str) else None

    def put(self, key: str, answer: Answer) -> None:
        """
        Args:
            answer: Of text that UTF-8 can write.
        """
        values = asdict(answer)
        del values["finish_reason"]  # accepted answers are complete; earlier versions do not know it
        text = json.dumps(values, ensure_ascii=False)
        self.database.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (key, text))

    def count_tokens(self, model: str, given: int, made: int) -> None:
        """Add input and output tokens, of an answer that was accepted or not, to those that a model has used."""
        self.database.execute(
            "INSERT INTO used VALUES (?, ?, ?) ON CONFLICT (model) DO UPDATE SET "
            "input = input + excluded.input, output = output + excluded.output",
            (model, given, made),
        )

    def used_tokens(self, model: str) -> tuple[int, int]:
        """Input and output tokens of a model, in all runs with this file."""
        found = self.database.execute("SELECT input, output FROM used WHERE model = ?", (model,)).fetchone()
        return found or (0, 0)


__all__ = ["AnswerCache"]
