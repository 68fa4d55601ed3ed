"""Runs the stages of a build on this machine. A run that was killed at any moment can be continued."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..pool import Crashed, run
from .config import BuildConfig
from .folder import BuildError, BuildFolder
from .needs import check_needs, check_reachable
from .perform import is_done, perform, shards_of
from .plan import make_plan
from .stages import STAGES, Pusher


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
    stages, names = {*stages}, [*STAGES]
    unknown = sorted({*stages, *([restart] if restart else [])} - {*names})
    if unknown:
        raise BuildError(f"stage {unknown[0]!r} is none of {', '.join(names)}")
    wanted = [STAGES[name] for name in names if name in stages]
    folder = BuildFolder(Path(config.out))
    if restart:
        folder.restart(names[names.index(restart) :], plan=restart == names[0])
    if names[0] in stages:
        make_plan(config, folder)
    # All of them before the first begins: hours of work must not end in an error that was there from the start.
    for stage in wanted:
        if len(wanted) == 1:
            stage.check_alone(config)
        if stage.per_shard:
            folder.begin(stage.name, stage.identity(config))
    for stage in STAGES.values() if retry else ():
        for shard in folder.shards() if stage.asks_a_server else ():
            counts = (folder.manifest(stage.name, shard) or {}).get("counts", {})
            if any(name.startswith("failed") for name in counts):
                folder.forget(stage.name, shard)
    return [stage.name for stage in wanted]


def run_stage(config: BuildConfig, stage: str, push: Pusher | None = None) -> Iterator[Progress]:
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
    chosen = STAGES[stage]
    workers = chosen.workers(config)
    if workers is not None:
        workers = chosen.processes(config, workers)
    if chosen.in_this_process:
        made: Iterable[tuple[str, Any]] = ((name, perform(name, config, stage, push=push)) for name in missing)
    else:
        sharing = workers if chosen.asks_a_server and workers else 1
        made = run(partial(perform, config=config, stage=stage, processes=sharing), missing, workers)
    for name, manifest in made:
        if isinstance(manifest, Crashed):
            manifest = perform(name, config, stage, crashed=chosen.crashed(config, folder, name, manifest))
        done += 1
        yield Progress(stage, name, manifest, True, done, len(names))
    if chosen.per_shard:
        folder.tidy(stage)


def build(
    config: BuildConfig,
    *,
    stages: Iterable[str] = STAGES,
    push: Pusher | None = None,
    restart: str | None = None,
    retry: bool = False,
) -> Iterator[Progress]:
    """Run stages one after the other on this machine; arguments as of `prepare` and `run_stage`.

    A video that cannot be read costs itself alone: `BuildFolder.lost` names such videos afterwards.

    Raises:
        NotInstalledError: A package is missing; nothing has been written then.
        BuildError: Another build is running in the folder; and as above.
        ServerError: A server that will be asked cannot be reached; no video has been cut then.
    """
    stages = [*stages]
    check_needs(config, stages)
    with BuildFolder(Path(config.out)).locked():
        BuildFolder(Path(config.out)).clean()
        wanted = prepare(config, stages, restart, retry)
        check_reachable(config, wanted)
        for stage in wanted:
            yield from run_stage(config, stage, push)


__all__ = ["Progress", "build", "prepare", "run_stage"]
