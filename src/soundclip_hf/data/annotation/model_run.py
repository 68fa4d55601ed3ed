"""Rows to one or more models, and their answers back into results, in order: what captioning and judging share."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterable, Mapping
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from ...text_tables import check_writable, writable
from ..inference.answer_cache import AnswerCache
from ..inference.asking import Outcome, Prompt, in_order, open_askers
from ..inference.server import Server
from .dead_letters import DeadLetters


class Result(Protocol):
    """One row, with what the models answered about it."""

    @property
    def row(self) -> dict[str, Any]: ...


R = TypeVar("R", bound=Result)


class ModelRun(ABC, Generic[R]):
    """Asks models about many rows at a time. A step is one model with one prompt.

    Attributes:
        cache: SQLite file of accepted answers, which runs may share. None keeps them in memory, for this run alone.
        dead_letters: Parquet file for the rows that failed in this run (`dead_letters`); None writes none.
        earlier: Attempts of earlier runs, which the dead letters add up: `dead_letters.earlier_attempts`.
        spent: Cost of the answers of the last run so far.
        requests: Requests that were sent in the last run so far.
    """

    cache: str | Path | None
    dead_letters: str | Path | None
    earlier: Mapping[tuple[str, str], int]
    spent: float
    requests: int

    @abstractmethod
    def prompts(self) -> Mapping[str, tuple[Server, Prompt]]:
        """Step -> the server to ask, and with which prompt."""

    @abstractmethod
    def steps(self, row: Mapping[str, Any]) -> list[str]:
        """The steps that a row needs."""

    @abstractmethod
    def result(self, row: Mapping[str, Any], outcomes: Mapping[str, Outcome]) -> R:
        """What comes out for a row, given the outcome of each step that it needed."""

    async def stream(self, rows: Iterable[Mapping[str, Any]]) -> AsyncGenerator[R, None]:
        """Results in the order of the rows, which are read as needed, for a running event loop.

        Raises:
            SettingError: Two steps ask one server and state different limits for it.
            ServerError: A server cannot be used at all. The results so far have come out, and their answers are in the
                cache.
        """
        prompts = self.prompts()
        with AnswerCache(self.cache) as cache, DeadLetters(self.dead_letters, self.earlier) as letters:
            async with open_askers(prompts, cache) as askers:

                async def ask(row: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, Outcome]]:
                    try:
                        check_writable(dict(row))
                        steps = self.steps(row)
                    except ValueError:
                        steps = [*prompts]  # each fails for this reason
                    outcomes = await asyncio.gather(*(askers[step].ask(row) for step in steps))
                    # A row whose text cannot be written has failed, and is kept with what can be.
                    return writable(dict(row)), dict(zip(steps, outcomes))

                concurrency = max((server.concurrency for server, _ in prompts.values()), default=1)
                answered = in_order(rows, ask, concurrency)
                try:
                    async for row, outcomes in answered:
                        result = self.result(row, outcomes)
                        for step, outcome in outcomes.items():
                            if outcome.failure:
                                server, prompt = prompts[step]
                                letters.add(result.row, step, outcome, server.model, prompt)
                        self.spent = sum(asker.client.spent for asker in askers.values())
                        self.requests = sum(asker.client.sent for asker in askers.values())
                        yield result
                finally:
                    await answered.aclose()


__all__ = ["ModelRun"]
