"""Rows in; rows with scores, reasons, source lists and the judge's provenance out.

A judgement that fails is null: no score is ever made up. What was asked once is not asked again.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..ave2.schema import REASONS, SCORES, SOURCES, complete
from ..inference.answer_cache import AnswerCache
from ..inference.asking import Asker, Reply, driven, in_order
from ..inference.client import Server
from .dead_letters import DeadLetters
from .rubric import Rubric

JUDGED = (*SCORES, *REASONS, *SOURCES, "audio_visual_label")
FAILED: dict[str, Any] = dict.fromkeys(JUDGED)
STEP = "judge"


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
    """Judges rows by their captions, or by their clips: the rubric decides.

    Attributes:
        server: Whom to ask.
        rubric: What to ask.
        cache: SQLite file of accepted answers, shared by runs; None keeps none.
        dead_letters: Parquet file of the failed rows of a run (`dead_letters`); None writes none.
        earlier: Attempts of earlier runs, which count on: `dead_letters.earlier_attempts`.
    """

    server: Server
    rubric: Rubric = field(default_factory=Rubric)
    cache: str | Path | None = None
    dead_letters: str | Path | None = None
    earlier: Mapping[tuple[str, str], int] = field(default_factory=dict)
    spent: float = field(default=0.0, init=False)
    requests: int = field(default=0, init=False)

    def judge(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[Judgement]:
        """Judge rows, in order, many at a time; rows are read as needed.

        Raises:
            ServerError: The server cannot be used. What was judged so far has come out, and is in the cache.
        """
        return driven(self.stream(rows))

    async def stream(self, rows: Iterable[Mapping[str, Any]]) -> AsyncGenerator[Judgement, None]:
        """`judge` for a running event loop."""
        with AnswerCache(self.cache) as cache, DeadLetters(self.dead_letters, self.earlier) as letters:
            async with Asker(self.server, self.rubric, cache) as asker:

                async def work(row: Mapping[str, Any]) -> tuple[Mapping[str, Any], Reply]:
                    return row, await asker.ask(row)

                answers = in_order(rows, work, self.server.concurrency)
                try:
                    async for row, reply in answers:
                        made = self._row(row, reply)
                        if reply.failure:
                            letters.add(made, STEP, reply, self.server.model, self.rubric)
                        self.spent, self.requests = asker.spent, asker.client.sent
                        cached = reply.columns is not None and not reply.attempts
                        yield Judgement(made, reply.failure, reply.detail, cached)
                finally:
                    await answers.aclose()

    def _row(self, row: Mapping[str, Any], reply: Reply) -> dict[str, Any]:
        provenance = {
            "judge_model": reply.answer.model if reply.answer else self.server.model,
            "judge_prompt_id": self.rubric.prompt_id,
            "judge_prompt_sha256": self.rubric.sha256,
            "judge_seed": self.server.seed,
            "judge_mode": self.rubric.mode,
            "judge_raw": reply.text,
        }
        return complete({**row, **provenance, **(reply.columns or FAILED)})


__all__ = ["FAILED", "JUDGED", "Judge", "Judgement"]
