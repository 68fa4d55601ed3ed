"""The stage that pushes the published folder to a Hub in one commit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...ave2.shards import MANIFEST
from ..config import BuildConfig
from ..folder import BuildError, BuildFolder
from .base import Stage, Work


class Push(Stage):
    """Sends the folder with the function that it was given; without a repository there is nothing to do."""

    name = "push"
    after = "shard"
    per_shard = False
    in_this_process = True  # the function need not be importable by another process

    def identity(self, config: BuildConfig) -> dict[str, Any]:
        return {"repo": config.push.repo, "options": config.push.options}

    def check_alone(self, config: BuildConfig) -> None:
        if not config.push.repo:
            raise BuildError("push: there is no push.repo to push to; set it, such as push.repo=me/my-ave2")

    def shards(self, config: BuildConfig, folder: BuildFolder) -> list[str]:
        return super().shards(config, folder) if config.push.repo else []

    def make(self, work: Work) -> tuple[Path, dict[str, Any]]:
        if work.push is None:
            raise BuildError("push: nothing was given that can send a folder to a Hub")
        pushed = dict(work.push(work.folder.upload(), work.config.push.repo, **work.config.push.options))
        return work.folder.upload() / MANIFEST, {"rows": pushed.get("rows", 0), "pushed": pushed}


__all__ = ["Push"]
