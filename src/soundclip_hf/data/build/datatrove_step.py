"""A stage of a build as a step of a datatrove pipeline: each task makes every n-th shard. Needs the `data` extra."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...extras import require
from .config import BuildConfig
from .perform import perform, shards_of
from .stages import Pusher

require("datatrove", what="a step of a datatrove pipeline")
from datatrove.pipeline.base import PipelineStep  # noqa: E402


class StageStep(PipelineStep):
    """Any stage. What is done is skipped by its manifest, so a task may run again at any time.

    Args:
        config: Its `out` and `videos` must be on a file system that all tasks share.
        stage: One of `stages.STAGES`.
        push: Importable; needed by the stage "push" alone.
    """

    type = "AVE-2"

    def __init__(self, config: BuildConfig, stage: str, push: Pusher | None = None) -> None:
        self.config, self.stage, self.push, self.name = config, stage, push, stage
        super().__init__()

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """Pass on what comes, then make the shards of this task.

        Args:
            data: Documents of steps before; there are none, as stages meet in files.
            rank: Of this task.
            world_size: Tasks that run at the same time; they share the limits of a server.
        """
        if data:
            yield from data
        for shard in shards_of(self.config, self.stage)[rank::world_size]:
            with self.track_time("shard"):
                made = perform(shard, self.config, self.stage, processes=world_size, push=self.push)
            self.stat_update("shards")
            self.stat_update("rows", value=made["rows"], unit="shard")


__all__ = ["StageStep"]
