"""Rows in, and what a model says about each of them, in order, many at a time, out.

What was asked once is not asked again; an answer that does not fit gets one more turn; a failure is an outcome and
never stops the other rows.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from .answer_cache import AnswerCache
from .client import Answer, ChatClient, NoAnswerError, Server
from .strict_json import response_format

# Answers that may be waited for, per slot, so that a slow one does not hold up the others.
AHEAD = 4
T = TypeVar("T")


@dataclass(frozen=True)
class Question:
    """What is asked about a row.

    Attributes:
        key: Of JSON: all that decides the answer. For media their hash, so that a known answer needs no decoding.
        messages: Makes the messages; it may raise ValueError.
        decodes: Whether that takes long.
    """

    key: Any
    messages: Callable[[], list[dict[str, Any]]]
    decodes: bool = False


class Prompt(Protocol):
    """Instructions with an id and a hash, which turn rows into questions and answers into columns."""

    @property
    def prompt_id(self) -> str: ...

    @property
    def sha256(self) -> str: ...

    @property
    def repair(self) -> str: ...

    @property
    def schema(self) -> dict[str, Any]: ...

    def question(self, row: Mapping[str, Any]) -> Question: ...

    def parse(self, text: str) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Reply:
    """What came of a question.

    Attributes:
        columns: Of the schema; None if there is no answer that fits.
        answer: The accepted one.
        failure: None, "no_evidence", "server", "refused", "budget" or "unusable".
        detail: More about the failure.
        text: What the model said last, if anything.
        attempts: Requests that were sent.
    """

    columns: dict[str, Any] | None
    answer: Answer | None = None
    failure: str | None = None
    detail: str = ""
    text: str | None = None
    attempts: int = 0


class Asker:
    """Asks one server with one prompt; use it inside `async with`.

    Args:
        cache: Open; it also says how much of the budget earlier runs have used.
    """

    def __init__(self, server: Server, prompt: Prompt, cache: AnswerCache) -> None:
        self.server, self.prompt, self.cache = server, prompt, cache
        self.client = ChatClient(server, response_format("ave2", prompt.schema))

    async def __aenter__(self) -> Asker:
        self.client.budget.settle(0.0, *self.cache.used(self.server.model))
        self.before = self.client.budget.spent
        await self.client.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.__aexit__()

    @property
    def spent(self) -> float:
        """In this run."""
        return self.client.budget.spent - self.before

    async def ask(self, row: Mapping[str, Any]) -> Reply:
        """
        Raises:
            ServerError: The server cannot be used at all.
        """
        text, attempts = None, 0
        try:
            question = self.prompt.question(row)
            key = self.cache.key(self.server.parameters(), question.key, self.prompt.schema)
            if (known := self.cache.get(key)) is not None:
                with suppress(ValueError):  # accepted by an older version that was less strict
                    return Reply(self.prompt.parse(known.text), known, text=known.text)
            messages = await asyncio.to_thread(question.messages) if question.decodes else question.messages()
        except ValueError as error:
            return Reply(None, failure="no_evidence", detail=str(error))
        try:
            for last in (False, True):
                answer = await self.client.ask(messages)
                self.cache.count(self.server.model, answer)
                text, attempts = answer.text, attempts + answer.attempts
                try:
                    columns = self.prompt.parse(text)
                except ValueError as error:
                    if last:
                        return Reply(None, None, "unusable", str(error), text, attempts)
                    repair = self.prompt.repair.format(reason=error)
                    said = [{"role": "assistant", "content": text}, {"role": "user", "content": repair}]
                    messages = [*messages, *said]
                    continue
                self.cache.put(key, answer)
                return Reply(columns, answer, text=text, attempts=attempts)
        except NoAnswerError as error:
            return Reply(None, None, error.reason, str(error), text, attempts + error.attempts)
        raise AssertionError("both turns end above")


async def in_order(
    rows: Iterable[Any], work: Callable[[Any], Awaitable[T]], concurrency: int
) -> AsyncGenerator[T, None]:
    """Results in the order of the rows, which are read as needed; `concurrency` is that of the work."""
    tasks: deque[asyncio.Future[T]] = deque()
    source, end = iter(rows), object()
    try:
        while True:
            while len(tasks) < AHEAD * concurrency:
                if (row := next(source, end)) is end:
                    break
                tasks.append(asyncio.ensure_future(work(row)))
            if not tasks:
                return
            yield await tasks.popleft()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def driven(stream: AsyncGenerator[T, None]) -> Iterator[T]:
    """An asynchronous stream for callers that are not; leaving early stops it."""
    loop = asyncio.new_event_loop()
    try:
        while True:
            try:
                yield loop.run_until_complete(anext(stream))
            except StopAsyncIteration:
                return
    finally:
        loop.run_until_complete(stream.aclose())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


__all__ = ["Asker", "Prompt", "Question", "Reply", "driven", "in_order"]
