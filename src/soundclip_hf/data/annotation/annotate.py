"""Rows without captions in, rows with captions out, asked of models that see and hear."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..ave2.schema import complete
from ..inference.answer_cache import AnswerCache
from ..inference.asking import Asker, Reply, driven, in_order
from ..inference.client import Server
from .captioning import Captioning
from .dead_letters import DeadLetters


@dataclass(frozen=True)
class Annotation:
    """One row, with what could be said about it.

    Attributes:
        row: Complete. `extra` has, as JSON under "captions", which model and prompt wrote each column.
        failures: Step -> why there is no caption: "no_evidence", "server", "refused", "budget" or "unusable".
        cached: Whether nothing had to be asked.
    """

    row: dict[str, Any]
    failures: Mapping[str, str]
    cached: bool = False


@dataclass
class Annotator:
    """Captions clips.

    Attributes:
        captioners: Step, such as "video_caption" or "audio_caption" -> whom to ask and what. A step whose first column
            is already there is not asked.
        cache: SQLite file of accepted answers, shared by runs; None keeps none.
        dead_letters: Parquet file of what failed in a run (`dead_letters`); None writes none.
        earlier: Attempts of earlier runs, which count on: `dead_letters.earlier_attempts`.
    """

    captioners: Mapping[str, tuple[Server, Captioning]]
    cache: str | Path | None = None
    dead_letters: str | Path | None = None
    earlier: Mapping[tuple[str, str], int] = field(default_factory=dict)
    spent: float = field(default=0.0, init=False)
    requests: int = field(default=0, init=False)

    def annotate(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[Annotation]:
        """Caption rows, in order, many at a time; rows are read as needed.

        Raises:
            ServerError: A server cannot be used. What was said so far has come out, and is in the cache.
        """
        return driven(self.stream(rows))

    async def stream(self, rows: Iterable[Mapping[str, Any]]) -> AsyncGenerator[Annotation, None]:
        """`annotate` for a running event loop."""
        with AnswerCache(self.cache) as cache, DeadLetters(self.dead_letters, self.earlier) as letters:
            async with AsyncExitStack() as stack:
                askers = {
                    step: await stack.enter_async_context(Asker(server, prompt, cache))
                    for step, (server, prompt) in self.captioners.items()
                }

                async def work(row: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, Reply]]:
                    missing = [step for step, asker in askers.items() if not row.get(_columns(asker)[0])]
                    replies = await asyncio.gather(*(askers[step].ask(row) for step in missing))
                    return row, dict(zip(missing, replies))

                slots = max((asker.server.concurrency for asker in askers.values()), default=1)
                answers = in_order(rows, work, slots)
                try:
                    async for row, replies in answers:
                        made = self._row(row, replies)
                        failed = {step: reply for step, reply in replies.items() if reply.failure}
                        for step, reply in failed.items():
                            letters.add(made, step, reply, askers[step].server.model, askers[step].prompt)
                        self.spent = sum(asker.spent for asker in askers.values())
                        self.requests = sum(asker.client.sent for asker in askers.values())
                        cached = not failed and not any(reply.attempts for reply in replies.values())
                        yield Annotation(made, {step: str(reply.failure) for step, reply in failed.items()}, cached)
                finally:
                    await answers.aclose()

    def _row(self, row: Mapping[str, Any], replies: Mapping[str, Reply]) -> dict[str, Any]:
        columns: dict[str, Any] = {}
        sources: dict[str, Any] = {}
        for step, reply in replies.items():
            if reply.columns is None or reply.answer is None:
                continue
            prompt = self.captioners[step][1]
            source = {"model": reply.answer.model, "prompt_id": prompt.prompt_id, "prompt_sha256": prompt.sha256}
            columns |= reply.columns
            sources |= dict.fromkeys(reply.columns, source)
        if not sources:
            return complete(row)
        return complete({**row, **columns, "extra": _with_sources(row.get("extra"), sources)})


def _columns(asker: Asker) -> tuple[str, ...]:
    return asker.prompt.columns  # type: ignore[attr-defined]


def _with_sources(extra: str | None, sources: dict[str, Any]) -> str:
    """`extra` with where captions come from; what was in it stays."""
    try:
        known = json.loads(extra) if extra else {}
    except ValueError:
        known = None
    if not isinstance(known, dict):
        known = {"text": extra}
    known["captions"] = {**(known.get("captions") or {}), **sources}
    return json.dumps(known, ensure_ascii=False, sort_keys=True)


__all__ = ["Annotation", "Annotator"]
