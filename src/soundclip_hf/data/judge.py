"""Rows with captions in, rows with scores, reasons, source lists and the judge's provenance out.

A judgement that fails is null: no score is ever made up. What was asked once is not asked again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .chat_client import Answer, ChatClient, NoAnswerError, Server
from .rubric import SCHEMA, Rubric, parse, response_format
from .schema import REASONS, SCORES, SOURCES, complete

# Answers that may be waited for, per slot, so that a slow one does not hold up the others.
AHEAD = 4
JUDGED = (*SCORES, *REASONS, *SOURCES, "audio_visual_label")
FAILED: dict[str, Any] = dict.fromkeys(JUDGED)


@dataclass(frozen=True)
class Judgement:
    """One row, judged or not.

    Attributes:
        row: Complete; the judged columns are null if there is no judgement.
        failure: None, or why there is no judgement: "no_evidence", "server", "refused", "budget" or "unusable".
        detail: More about the failure.
        cached: Whether nothing had to be asked.
    """

    row: dict[str, Any]
    failure: str | None = None
    detail: str = ""
    cached: bool = False


@dataclass
class Judge:
    """Judges rows by their captions.

    Attributes:
        server: Whom to ask.
        rubric: What to ask.
        cache: SQLite file of accepted answers, shared by runs; None keeps none.
        dead_letters: JSON lines of failed rows, appended: id, failure, detail and the last answer; None writes none.
    """

    server: Server
    rubric: Rubric = field(default_factory=Rubric)
    cache: str | Path | None = None
    dead_letters: str | Path | None = None
    spent: float = field(default=0.0, init=False)
    requests: int = field(default=0, init=False)

    def judge(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[Judgement]:
        """Judge rows, in order, many at a time; rows are read as needed.

        Raises:
            ServerError: The server cannot be used. What was judged so far has come out, and is in the cache.
        """
        loop = asyncio.new_event_loop()
        stream = self.stream(rows)
        try:
            while True:
                try:
                    yield loop.run_until_complete(anext(stream))
                except StopAsyncIteration:
                    return
        finally:
            loop.run_until_complete(stream.aclose())
            loop.close()

    async def stream(self, rows: Iterable[Mapping[str, Any]]) -> AsyncGenerator[Judgement, None]:
        """`judge` for a running event loop."""
        tasks: deque[asyncio.Task[Judgement]] = deque()
        source = iter(rows)
        with AnswerCache(self.cache) as cache:
            async with ChatClient(self.server, response_format()) as client:
                try:
                    while True:
                        while len(tasks) < AHEAD * self.server.concurrency:
                            if (row := next(source, None)) is None:
                                break
                            tasks.append(asyncio.ensure_future(self._judge(row, client, cache)))
                        if not tasks:
                            return
                        done = await tasks.popleft()
                        self.spent, self.requests = client.budget.spent, client.sent
                        yield done
                finally:
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)

    async def _judge(self, row: Mapping[str, Any], client: ChatClient, cache: AnswerCache) -> Judgement:
        provenance = {
            "judge_model": self.server.model,
            "judge_prompt_id": self.rubric.prompt_id,
            "judge_prompt_sha256": self.rubric.sha256,
            "judge_seed": self.server.seed,
            "judge_mode": "captions",
            "judge_raw": None,
        }
        text: str | None = None
        try:
            messages = self.rubric.messages(row)
        except ValueError as error:
            return self._failed(row, provenance, "no_evidence", str(error), None)
        key = cache.key(self.server.parameters(), messages)
        if (known := cache.get(key)) is not None:
            with suppress(ValueError):  # accepted by an older version that was less strict
                return Judgement(self._row(row, provenance, known, parse(known.text)), cached=True)
        try:
            for last in (False, True):
                answer = await client.ask(messages)
                text = answer.text
                try:
                    columns = parse(text)
                except ValueError as error:
                    if last:
                        return self._failed(row, provenance, "unusable", str(error), text)
                    repair = self.rubric.repair.format(reason=error)
                    messages = [
                        *messages,
                        {"role": "assistant", "content": text},
                        {"role": "user", "content": repair},
                    ]
                    continue
                cache.put(key, answer)
                return Judgement(self._row(row, provenance, answer, columns))
        except NoAnswerError as error:
            return self._failed(row, provenance, error.reason, str(error), text)
        raise AssertionError("both turns end above")

    def _row(
        self, row: Mapping[str, Any], provenance: dict[str, Any], answer: Answer, columns: dict[str, Any]
    ) -> dict[str, Any]:
        return complete({**row, **provenance, "judge_model": answer.model, "judge_raw": answer.text, **columns})

    def _failed(
        self, row: Mapping[str, Any], provenance: dict[str, Any], failure: str, detail: str, text: str | None
    ) -> Judgement:
        made = complete({**row, **provenance, "judge_raw": text, **FAILED})
        if self.dead_letters is not None:
            letter = {"sample_id": made["sample_id"], "failure": failure, "detail": detail, "answer": text}
            letter |= {name: provenance[name] for name in ("judge_model", "judge_prompt_id", "judge_prompt_sha256")}
            with Path(self.dead_letters).open("a", encoding="utf-8") as file:
                file.write(json.dumps(letter, ensure_ascii=False) + "\n")
        return Judgement(made, failure, detail)


class AnswerCache:
    """Accepted answers by the hash of what was asked. A run that is killed loses only what it had not been told yet."""

    def __init__(self, path: str | Path | None) -> None:
        self.path = path

    def __enter__(self) -> AnswerCache:
        self.database = sqlite3.connect(
            ":memory:" if self.path is None else self.path, isolation_level=None, timeout=60
        )
        self.database.execute("PRAGMA journal_mode=WAL")
        self.database.execute("PRAGMA synchronous=NORMAL")
        self.database.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL)")
        return self

    def __exit__(self, *_: object) -> None:
        self.database.close()

    @staticmethod
    def key(parameters: dict[str, Any], messages: list[dict[str, Any]]) -> str:
        asked = json.dumps([parameters, messages, SCHEMA], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(asked.encode()).hexdigest()

    def get(self, key: str) -> Answer | None:
        found = self.database.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
        return Answer(**json.loads(found[0])) if found else None

    def put(self, key: str, answer: Answer) -> None:
        text = json.dumps(asdict(answer), ensure_ascii=False)
        self.database.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (key, text))


__all__ = ["FAILED", "JUDGED", "AnswerCache", "Judge", "Judgement"]
