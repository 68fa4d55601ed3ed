"""The stages of a build as functions of one shard, Parquet in and Parquet out; `perform` is what every runner calls."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ...files import read_json
from ..ave2.shards import MANIFEST, write_shards
from ..ave2.tables import read_rows, write_parquet
from ..stage_settings import identity
from .config import STAGES, BuildConfig
from .folder import WHOLE, BuildError, BuildFolder
from .stages import base as stage_work
from .stages.base import Work

# `push(folder, repo, **options)` returns what to note down about it.
Push = Callable[..., Mapping[str, Any]]
CODE_VERSION = f"soundclip-hf {version('soundclip-hf')}"
ROW_STAGES = {"annotate": stage_work.annotate, "judge": stage_work.judge, "subset": stage_work.subset}


def shards_of(config: BuildConfig, stage: str) -> list[str]:
    """Names of a stage's shards. The last two stages are one job each; without a repository there is no "push"."""
    if stage == "push":
        return [WHOLE] if config.push.repo else []
    return [WHOLE] if stage == "shard" else BuildFolder(Path(config.out)).shards()


def inputs_of(config: BuildConfig, stage: str, shard: str) -> dict[str, Any]:
    """What a shard is made of, by content: the hashes of the shards before it, or the videos' sizes and times.

    Raises:
        BuildError: The stage before has not made them yet.
    """
    folder = BuildFolder(Path(config.out))
    if stage == "segment":
        return {video["video_id"]: [video["size"], video["mtime_ns"]] for video in folder.videos(shard)}
    before = STAGES[STAGES.index(stage) - 1]
    found = {}
    for name in folder.shards() if stage == "shard" else [shard]:
        if (made := folder.manifest(before, name)) is None:
            raise BuildError(f"{stage}: {before}/{name} is missing; run the stage {before!r} first")
        found[f"{before}/{name}"] = made["sha256"]
    return found


def is_done(config: BuildConfig, stage: str, shard: str) -> dict[str, Any] | None:
    """The manifest of a shard that needs nothing; None if it has to be made."""
    found = BuildFolder(Path(config.out)).manifest(stage, shard)
    if found is None or found["inputs"] != inputs_of(config, stage, shard):
        return None
    return found if found["identity"] == identity(config, stage) else None


def perform(
    shard: str,
    config: BuildConfig,
    stage: str,
    processes: int = 1,
    push: Push | None = None,
    crashed: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Make one shard of a stage, unless it is done; returns its manifest.

    Args:
        processes, crashed: As of `stage_work.Work`.
        push: Sends a folder; needed by the stage "push" alone.

    Raises:
        BuildError, ServerError, ValueError, OSError: The shard cannot be made. Nothing of it is left but answers, and
            clips that are whole.
    """
    if (known := is_done(config, stage, shard)) is not None:
        return known
    folder, began = BuildFolder(Path(config.out)), time.monotonic()
    work = Work(config, folder, shard, processes, crashed)
    values: dict[str, Any] = {"inputs": inputs_of(config, stage, shard), "identity": identity(config, stage)}
    folder.forget(stage, shard)
    if stage == "push":
        if push is None:
            raise BuildError("push: nothing was given that can send a folder to a Hub")
        file = folder.upload() / MANIFEST
        pushed = dict(push(folder.upload(), config.push.repo, **config.push.options))
        values |= {"rows": pushed.get("rows", 0), "pushed": pushed}
    elif stage == "shard":
        file = folder.upload() / MANIFEST
        values |= _shard(config, folder, values["inputs"])
    else:
        file = folder.table(stage, shard)
        if stage == "segment":
            rows = stage_work.segment(work)
        else:
            before = folder.table(STAGES[STAGES.index(stage) - 1], shard)
            rows = ROW_STAGES[stage](work, read_rows(before))
        values["rows"] = write_parquet(rows, file)
    values |= {"counts": dict(work.counts), "seconds": round(time.monotonic() - began, 3)}
    values["code_version"] = CODE_VERSION
    return folder.write_manifest(stage, shard, file, values)


def _shard(config: BuildConfig, folder: BuildFolder, inputs: dict[str, Any]) -> dict[str, Any]:
    names = folder.shards()
    # An empty data set would replace a good one.
    if not any((folder.manifest("subset", name) or {}).get("rows") for name in names):
        raise BuildError(f"shard: no clip is left; see what segment and subset say, and {folder.clips()}/*.json")
    rows = (row for name in names for row in read_rows(folder.table("subset", name)))
    known, wanted = read_json(folder.upload() / MANIFEST), {"source": inputs, "media": config.shard.media}
    wanted["code_version"] = CODE_VERSION
    made = write_shards(
        rows,
        folder.upload(),
        media=folder.clips() if config.shard.media else None,
        source=inputs,
        # What an earlier state of this build made is replaced.
        overwrite=known is not None and any(known.get(name) != value for name, value in wanted.items()),
    )
    return {"rows": made["rows"], "splits": made["splits"]}


__all__ = ["Push", "inputs_of", "is_done", "perform", "shards_of"]
