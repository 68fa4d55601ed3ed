"""One shard of one stage: whether it is done, and making it. Every runner calls `perform`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from .config import BuildConfig
from .folder import CODE_VERSION, BuildFolder
from .stages import STAGES, Pusher, Work


def shards_of(config: BuildConfig, stage: str) -> list[str]:
    """Names of a stage's shards."""
    return STAGES[stage].shards(config, BuildFolder(Path(config.out)))


def is_done(config: BuildConfig, stage: str, shard: str) -> dict[str, Any] | None:
    """The manifest of a shard that needs nothing; None if it has to be made, or made again.

    Raises:
        BuildError: The stage before has not made what it is made of.
    """
    found = is_made(config, stage, shard)
    return found if found is not None and STAGES[stage].is_settled(found) else None


def is_made(config: BuildConfig, stage: str, shard: str) -> dict[str, Any] | None:
    """As `is_done`, also of a shard from which videos are missing that may be there next time."""
    folder = BuildFolder(Path(config.out))
    found = folder.manifest(stage, shard)
    if found is None or found["inputs"] != STAGES[stage].inputs(folder, shard):
        return None
    return found if found["identity"] == STAGES[stage].identity(config) else None


def perform(
    shard: str,
    config: BuildConfig,
    stage: str,
    processes: int = 1,
    push: Pusher | None = None,
    crashed: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Make one shard of a stage, unless it is done; returns its manifest.

    Args:
        processes, crashed, push: As of `stages.Work`.

    Raises:
        BuildError, ServerError, ValueError, OSError: The shard cannot be made. Nothing of it is left but answers, and
            clips that are whole.
    """
    if (known := is_done(config, stage, shard)) is not None:
        return known
    folder, began, chosen = BuildFolder(Path(config.out)), time.monotonic(), STAGES[stage]
    work = Work(config, folder, shard, chosen.inputs(folder, shard), processes, crashed, push)
    values: dict[str, Any] = {"inputs": work.inputs, "identity": chosen.identity(config)}
    folder.forget(stage, shard)
    file, said = chosen.make(work)
    values |= said | {"counts": dict(work.counts), "seconds": round(time.monotonic() - began, 3)}
    values["code_version"] = CODE_VERSION
    return folder.write_manifest(stage, shard, file, values)


__all__ = ["is_done", "is_made", "perform", "shards_of"]
