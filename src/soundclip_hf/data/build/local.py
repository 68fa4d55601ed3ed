"""A configuration in; a data set, stage by stage, out. It can be killed at any moment and goes on where it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..build_needs import check_needs
from ..clips.cuts import Job
from ..clips.segment import cut_all
from ..pool import Crashed, run
from ..stage_settings import identity
from .config import STAGES, BuildConfig
from .folder import WHOLE, BuildError, BuildFolder
from .perform import Push, is_done, perform, shards_of
from .plan import make_plan


@dataclass(frozen=True)
class Progress:
    """A shard that is done.

    Attributes:
        manifest: With `rows`, `counts` and more.
        fresh: Whether it was made now.
        done, total: Shards of the stage.
    """

    stage: str
    shard: str
    manifest: dict[str, Any]
    fresh: bool
    done: int
    total: int


def prepare(
    config: BuildConfig, stages: Iterable[str] = STAGES, restart: str | None = None, retry: bool = False
) -> list[str]:
    """Plan the shards, and check that nothing would be mixed; returns the stages to run, in order.

    Args:
        stages: Which to run.
        restart: Make this stage and those after it anew.
        retry: Make shards with failed captions or judgements again; only what failed is asked again.

    Raises:
        BuildError: Nothing to do, or settings that differ from those with which the folder was begun.
    """
    wanted = [stage for stage in STAGES if stage in set(stages)]
    unknown = sorted({*stages, *([restart] if restart else [])} - {*STAGES})
    if unknown:
        raise BuildError(f"stage {unknown[0]!r} is none of {', '.join(STAGES)}")
    if wanted == ["push"] and not config.push.repo:
        raise BuildError("push: there is no push.repo to push to; set it, such as push.repo=me/my-ave2")
    folder = BuildFolder(Path(config.out))
    if restart:
        folder.restart(restart)
    if "segment" in wanted:
        make_plan(config, folder)
    # All of them before the first begins: hours of work must not end in an error that was there from the start.
    # The last two stages make one thing, which is replaced as a whole.
    for stage in wanted:
        if stage in STAGES[:4]:
            folder.begin(stage, identity(config, stage))
    for stage in ("annotate", "judge") if retry else ():
        for shard in folder.shards():
            counts = (folder.manifest(stage, shard) or {}).get("counts", {})
            if any(name.startswith("failed") for name in counts):
                folder.forget(stage, shard)
    return wanted


def run_stage(config: BuildConfig, stage: str, push: Push | None = None) -> Iterator[Progress]:
    """Make the shards of a stage that are missing, in local processes; those that are done come first.

    Raises:
        BuildError: A shard on which worker processes keep dying.
        ServerError, ValueError, OSError: As `stages.perform`; what is done stays.
    """
    folder, names = BuildFolder(Path(config.out)), shards_of(config, stage)
    known = {name: is_done(config, stage, name) for name in names}
    done = 0
    for name, manifest in known.items():
        if manifest is not None:
            done += 1
            yield Progress(stage, name, manifest, False, done, len(names))
    missing = [name for name, manifest in known.items() if manifest is None]
    workers = {
        "segment": config.segment.workers,
        "annotate": config.annotate.workers,
        "judge": config.judge.workers,
        "subset": config.subset.workers,
    }.get(stage, 1)
    if stage == "push":
        # One job that mostly waits; a function of the caller need not be importable by another process.
        made: Iterable[tuple[str, Any]] = ((name, perform(name, config, stage, push=push)) for name in missing)
    else:
        sharing = workers if stage in ("annotate", "judge") and workers else 1
        made = run(partial(perform, config=config, stage=stage, processes=sharing), missing, workers)
    for name, manifest in made:
        if isinstance(manifest, Crashed):
            manifest = _without_crashing(config, stage, name, manifest)
        done += 1
        yield Progress(stage, name, manifest, True, done, len(names))
    if stage in STAGES[:4]:
        folder.tidy(stage)


def build(
    config: BuildConfig,
    *,
    stages: Iterable[str] = STAGES,
    push: Push | None = None,
    restart: str | None = None,
    retry: bool = False,
) -> Iterator[Progress]:
    """Run stages one after the other on this machine; arguments as of `prepare` and `run_stage`.

    Raises:
        NotInstalledError: A package is missing; nothing has been written then.
        BuildError: Another build is running in the folder; and as above.
    """
    stages = [*stages]
    check_needs(config, stages)
    with BuildFolder(Path(config.out)).locked():
        for stage in prepare(config, stages, restart, retry):
            yield from run_stage(config, stage, push)


def _without_crashing(config: BuildConfig, stage: str, shard: str, crash: Crashed) -> dict[str, Any]:
    """One video that takes its process down must not cost the others of its shard."""
    if stage != "segment":
        where = "" if shard == WHOLE else f", shard {shard}"
        raise BuildError(f"{stage}{where}: {crash.detail}; is there enough memory?")
    folder = BuildFolder(Path(config.out))
    jobs = [Job(video["path"], video["video_id"]) for video in folder.videos(shard)]
    cuts = cut_all(jobs, folder.clips(), config.segment.cutting(), 1)
    crashed = tuple(made.job.video_id for made in cuts if any(reject.reason == "crashed" for reject in made.rejects))
    return perform(shard, config, stage, crashed=crashed)


__all__ = ["Progress", "build", "prepare", "run_stage"]
