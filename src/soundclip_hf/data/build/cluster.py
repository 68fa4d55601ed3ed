"""A build on a cluster: its stages, one after the other, through datatrove's Slurm or Ray executor.

Slurm's jobs wait for each other, and this process ends when all are queued. Ray's stages are waited for. datatrove's
local executor runs one task at a time: with more, it waits for ever for a worker that was killed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...files import expand_user
from ..inference.server_settings import ServerSettings
from .config import BuildConfig
from .folder import BuildError, BuildFolder
from .local import prepare
from .needs import check_needs
from .perform import is_made, shards_of
from .stages import STAGES, Pusher

if TYPE_CHECKING:
    from .datatrove_step import StageStep


def run_on_cluster(
    config: BuildConfig,
    *,
    stages: Iterable[str] = STAGES,
    push: Pusher | None = None,
    restart: str | None = None,
    retry: bool = False,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Run or queue stages; arguments as of `build.prepare`.

    Returns:
        Stage, and what is known about it: its job and script on Slurm, else its shards.

    Raises:
        NotInstalledError: A package is missing; nothing has been written then.
        BuildError: No cluster, options that its executor does not take, or a stage of which shards are missing.
    """
    config, stages = _absolute(config), [*stages]
    check_needs(config, stages)
    from .datatrove_step import StageStep

    with BuildFolder(Path(config.out)).locked():
        before: Any = None
        for stage in prepare(config, stages, restart, retry):
            names = shards_of(config, stage)
            if not names:
                continue
            logs = (Path(config.out) / "logs" / stage).resolve()
            tasks = STAGES[stage].processes(config, min(config.run.tasks, len(names)))
            executor = _executor(config, StageStep(config, stage, push), tasks, logs, before)
            executor.run()
            if config.run.executor == "slurm":
                before = executor
                yield stage, {"job": executor.job_id, "script": str(logs / "launch_script.slurm"), "shards": len(names)}
                continue
            missing = [name for name in names if is_made(config, stage, name) is None]
            if missing:
                raise BuildError(
                    f"{stage}: {len(missing)} of {len(names)} shards were not made, such as {missing[0]}; "
                    f"{logs / 'logs'} says why. The same command makes what is missing"
                )
            yield stage, {"shards": len(names), "logs": str(logs)}


def _absolute(config: BuildConfig) -> BuildConfig:
    """The configuration with absolute paths: tasks may start in another folder."""

    def place(path: str | None) -> str | None:
        return path and str(expand_user(path).absolute())

    def placed(server: ServerSettings | None) -> ServerSettings | None:
        return server and replace(server, instructions=place(server.instructions))

    asked = config.annotate
    asked = replace(asked, video=placed(asked.video), audio=placed(asked.audio), captions=place(asked.captions))
    judging = replace(config.judge, server=placed(config.judge.server))
    return replace(config, out=str(place(config.out)), annotate=asked, judge=judging)


def _executor(config: BuildConfig, step: StageStep, tasks: int, logs: Path, before: Any) -> Any:
    options: dict[str, Any] = {
        "pipeline": [step],
        "tasks": tasks,
        "logging_dir": str(logs),
        # Tasks look at manifests: a task that was completed may have new shards.
        "skip_completed": False,
        **config.run.options,
    }
    try:
        if config.run.executor == "slurm":
            return _slurm(options, step.stage, before)
        if config.run.executor == "ray":
            return _ray(options)
        from datatrove.executor import LocalPipelineExecutor

        return LocalPipelineExecutor(**{**options, "workers": 1})
    except TypeError as error:
        raise BuildError(f"run.options: {error}; it takes the arguments of datatrove's executor") from error


def _slurm(options: dict[str, Any], stage: str, before: Any) -> Any:
    from datatrove.executor import SlurmPipelineExecutor

    return SlurmPipelineExecutor(**{"job_name": f"ave2-{stage}", "depends": before, **options})


def _ray(options: dict[str, Any]) -> Any:
    import ray
    from datatrove.executor import RayPipelineExecutor

    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    return RayPipelineExecutor(**options)


__all__ = ["run_on_cluster"]
