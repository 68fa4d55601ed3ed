"""Asks a model about rows, and returns the answers in the order of the rows.

Many rows are asked about at a time. A question that was answered before is not asked again, an answer that does not fit
gets one more turn, and a failure is an outcome like others: it never stops the other rows.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from ...text_tables import check_writable, writable
from .answer_cache import AnswerCache
from .client import ChatClient
from .connections import ServerConnections, connect
from .replies import CUT_OFF
from .server import Answer, NoAnswerError, Server
from .strict_json import response_format

# Rows in progress for each request in flight, so that a slow answer does not hold up the rows after it.
ROWS_PER_REQUEST = 4
T = TypeVar("T")


@dataclass(frozen=True)
class Question:
    """What a model is asked about a row.

    Attributes:
        key: Everything that decides the answer, as JSON values. It has the hash of a clip in place of the clip, so that
            a known answer needs no decoding.
        messages: Makes the messages; it may raise ValueError.
        decodes: Whether `messages` decodes media, which takes long.
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
class Outcome:
    """What came of a question.

    Attributes:
        columns: Values for the row; None if there is no answer that fits.
        answer: The accepted answer.
        failure: None, "no_evidence", "server", "refused", "budget" or "unusable".
        detail: More about the failure.
        text: The last answer of the model, accepted or not.
        attempts: Requests that were sent.
    """

    columns: dict[str, Any] | None
    answer: Answer | None = None
    failure: str | None = None
    detail: str = ""
    text: str | None = None
    attempts: int = 0


class Asker:
    """Asks one model with one prompt.

    Args:
        cache: Open.
        connections: Open, and to the server; see `open_askers`.
    """

    def __init__(self, server: Server, prompt: Prompt, cache: AnswerCache, connections: ServerConnections) -> None:
        self.server, self.prompt, self.cache = server, prompt, cache
        # Replies that are thrown away are billed, too.
        self.client = ChatClient(
            server,
            connections,
            response_format("ave2", prompt.schema),
            lambda given, made: cache.count_tokens(server.model, given, made),
        )

    async def ask(self, row: Mapping[str, Any]) -> Outcome:
        """
        Raises:
            ServerError: The server cannot be used at all.
        """
        text, attempts = None, 0
        try:
            check_writable(dict(row))
            question = self.prompt.question(row)
            key = self.cache.key(self.server.parameters(), question.key, self.prompt.schema)
            if (known := self.cache.get(key)) is not None:
                with suppress(ValueError):  # accepted by an older version that was less strict
                    return Outcome(self.prompt.parse(known.text), known, text=writable(known.text))
            messages = await asyncio.to_thread(question.messages) if question.decodes else question.messages()
        except Exception as error:  # whatever is wrong with one clip or row, the others are asked about
            plain = isinstance(error, (ValueError, OSError))
            detail = str(error) if plain else f"{type(error).__name__}: {error}"
            return Outcome(None, failure="no_evidence", detail=writable(detail))
        try:
            for last in (False, True):
                answer = await self.client.ask(messages)
                text, attempts = writable(answer.text), attempts + answer.attempts
                try:
                    columns = self._parse(answer)
                except ValueError as error:
                    cut = self.client.cut_off(answer.finish_reason) if answer.finish_reason in CUT_OFF else None
                    reason = writable(cut or str(error))
                    # A model that has thought until it was cut off would think as long again.
                    if last or (cut and "{" not in text):
                        detail = f"{reason}: {error}; raise max_tokens" if cut else reason
                        return Outcome(None, None, "unusable", detail, text, attempts)
                    repair = self.prompt.repair.format(reason=reason)
                    said = {"role": "assistant", "content": text if text.strip() else "(nothing)"}
                    messages = [*messages, said, {"role": "user", "content": repair}]
                    continue
                answer = replace(answer, text=text)
                self.cache.put(key, answer)
                return Outcome(columns, answer, text=text, attempts=attempts)
        except NoAnswerError as error:
            return Outcome(None, None, error.reason, writable(str(error)), text, attempts + error.attempts)
        raise AssertionError("both turns end above")

    def _parse(self, answer: Answer) -> dict[str, Any]:
        """
        Raises:
            ValueError: The answer does not fit, or was cut off behind an object that may be a draft.
        """
        columns = self.prompt.parse(answer.text)
        check_writable(columns)
        if answer.finish_reason in CUT_OFF and not answer.text.rstrip("` \t\r\n").endswith("}"):
            raise ValueError("more was to come after the JSON object")
        return columns


@asynccontextmanager
async def open_askers(
    prompts: Mapping[str, tuple[Server, Prompt]], cache: AnswerCache
) -> AsyncIterator[dict[str, Asker]]:
    """Askers that share the limits of each server, and whose budgets count what earlier runs have spent.

    Args:
        prompts: Step, such as "judge" -> the server to ask, and with which prompt.
        cache: Open; it knows what earlier runs have spent.

    Raises:
        SettingError: Two steps ask one server and state different limits for it.
    """
    async with connect({step: server for step, (server, _) in prompts.items()}) as connections:
        counted = set()
        for step, (server, _) in prompts.items():
            if (server.address, server.model) not in counted:  # the cache counts by model
                connections[step].budget.spent += server.cost(*cache.used_tokens(server.model))
                counted.add((server.address, server.model))
        yield {step: Asker(server, prompt, cache, connections[step]) for step, (server, prompt) in prompts.items()}


async def in_order(
    rows: Iterable[Any], work: Callable[[Any], Awaitable[T]], concurrency: int
) -> AsyncGenerator[T, None]:
    """Results of the work on rows, in the order of the rows.

    Args:
        rows: Read as needed.
        work: Called on many rows at a time. It limits its requests by itself.
        concurrency: Most requests that the work has in flight.
    """
    tasks: deque[asyncio.Future[T]] = deque()
    source, end = iter(rows), object()
    try:
        while True:
            while len(tasks) < ROWS_PER_REQUEST * concurrency:
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


def iterate(stream: AsyncGenerator[T, None]) -> Iterator[T]:
    """The items of an asynchronous generator, for callers that are not asynchronous. Leaving early stops it."""
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


__all__ = ["Asker", "Outcome", "Prompt", "Question", "in_order", "iterate", "open_askers"]
