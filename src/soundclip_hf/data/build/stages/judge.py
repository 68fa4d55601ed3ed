"""The stage that adds the scores of a rubric to captioned rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...annotation.dead_letters import earlier_attempts
from ...annotation.judge import FAILED
from ...annotation.judge import Judge as Judging
from ...annotation.rubric import MediaRubric, Rubric
from ...ave2.schema import complete
from ...inference.media_parts import MediaOptions
from ...inference.server_settings import ServerSettings
from ..config import BuildConfig
from .base import Stage, Work, request_identity


class Judge(Stage):
    """Asks how well sound and picture fit; a judgement that fails is null, never 0."""

    name = "judge"
    after = "annotate"
    asks_a_server = True

    def identity(self, config: BuildConfig) -> dict[str, Any]:
        server = config.judge.server
        return {"mode": config.judge.mode} | (request_identity(server, rubric(config)) if server else {"model": None})

    def workers(self, config: BuildConfig) -> int | None:
        return config.judge.workers

    def servers(self, config: BuildConfig) -> list[ServerSettings]:
        return [config.judge.server] if config.judge.server is not None else []

    def packages(self, config: BuildConfig) -> list[str]:
        return ["httpx"] if self.servers(config) else []

    def rows(self, work: Work) -> Iterator[dict[str, Any]]:
        if work.config.judge.server is None:
            yield from (complete({**row, **FAILED}) for row in self.before(work))
            return
        letters = work.folder.dead_letters(self.name, work.shard)
        judging = Judging(
            work.config.judge.server.server(work.processes),
            rubric(work.config, work.folder.clips()),
            work.folder.answers(self.name),
            letters,
            earlier_attempts(letters),
        )
        for done in judging.judge(self.before(work)):
            work.counts.update([f"failed: {done.failure}"] if done.failure else [])
            yield done.row
        work.counts["requests"] += judging.requests


def rubric(config: BuildConfig, media: Path | None = None) -> Rubric:
    settings = config.judge
    arguments = settings.server.prompt_arguments() if settings.server else {}
    if settings.mode == "media":
        return MediaRubric(media=media, media_options=MediaOptions(settings.frames, settings.max_side), **arguments)
    return Rubric(**arguments)


__all__ = ["Judge"]
