"""Names in one error the packages and programs that this machine lacks for a build."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Collection
from pathlib import Path

from ...extras import require
from ..inference.connections import check_servers
from ..inference.server import Server
from .config import BuildConfig
from .folder import BuildError, BuildFolder
from .stages import STAGES

# A job of Slurm needs these; everything else has a default.
SLURM_NEEDS = ("partition", "time")


def check_needs(config: BuildConfig, stages: Collection[str]) -> None:
    """Look for all that these stages need, so that hours of work do not end in an error that was there from the start.

    Raises:
        NotInstalledError: Packages are missing; all of them are named.
        ValueError: `segment.backend` is "ffmpeg", and there is none.
        BuildError: Slurm's programs or options are missing.
    """
    wanted = [stage for name, stage in STAGES.items() if name in stages]
    modules = ["datasets", "pyarrow", *(package for stage in wanted for package in stage.packages(config))]
    modules += ["datatrove"] if config.run.executor != "local" else []
    modules += ["ray"] if config.run.executor == "ray" else []
    require(*modules, what="this build")
    for stage in wanted:
        stage.check(config)
    if config.run.executor != "slurm":
        return
    if missing := [name for name in SLURM_NEEDS if name not in config.run.options]:
        raise BuildError(
            f'run.options: Slurm needs {" and ".join(missing)}, such as {{partition: cpu, time: "12:00:00"}}'
        )
    if shutil.which("sbatch") is None:
        raise BuildError("run.executor=slurm: there is no sbatch here; start this where jobs are submitted")


def check_reachable(config: BuildConfig, stages: Collection[str]) -> None:
    """Find out whether the servers are there that these stages will ask, before hours of cutting.

    Only for a build on this machine: those who submit a job to a cluster often cannot reach its servers.

    Raises:
        ServerError: One of them cannot be asked.
    """
    folder, servers = BuildFolder(Path(config.out)), list[Server]()
    for name, stage in STAGES.items():
        asked = stage.servers(config) if name in stages else []
        if asked and not all(folder.manifest(name, shard) for shard in stage.shards(config, folder)):
            servers += [server.server() for server in asked]
    if servers:
        asyncio.run(check_servers(servers))


__all__ = ["check_needs", "check_reachable"]
