"""What a stage of a build is: one class in one module, which says what decides its output and makes one shard of it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from ...ave2.tables import read_rows, write_parquet
from ...inference.asking import Prompt
from ...inference.server_settings import ServerSettings
from ...pool import Crashed
from ..config import BuildConfig
from ..folder import WHOLE, BuildError, BuildFolder

# `push(folder, repo, **options)` returns what to note down about it.
Pusher = Callable[..., Mapping[str, Any]]


@dataclass
class Work:
    """One shard of one stage.

    Attributes:
        inputs: What it is made of, as of `Stage.inputs`.
        processes: How many of them ask the same server: its limits are divided by this.
        crashed: Videos that take their process down; they are rejected.
        push: Sends a folder to a Hub; for the stage that does.
        counts: What was done, by name.
        lost: Videos that could not be used and are tried again by the next run, with the reason.
    """

    config: BuildConfig
    folder: BuildFolder
    shard: str
    inputs: dict[str, Any]
    processes: int = 1
    crashed: tuple[str, ...] = ()
    push: Pusher | None = None
    counts: Counter[str] = field(default_factory=Counter)
    lost: dict[str, str] = field(default_factory=dict)


class Stage:
    """
    One stage. Most turn the rows of a shard into rows, Parquet in and Parquet out, and implement `rows` alone.

    Attributes:
        name: In commands, folders and messages.
        after: The stage whose shards it reads; None for the first.
        per_shard: It makes one file for each shard of the plan, with settings that must not change under way. Otherwise
            it is one job, whose result is replaced as a whole.
        asks_a_server: Its processes share the limits of the servers, and what failed can be asked again.
        in_this_process: A job that mostly waits, for which no worker is started.
    """

    name: ClassVar[str]
    after: ClassVar[str | None]
    per_shard: ClassVar[bool] = True
    asks_a_server: ClassVar[bool] = False
    in_this_process: ClassVar[bool] = False

    def identity(self, config: BuildConfig) -> dict[str, Any]:
        """What of the settings and the code decides the output, as JSON: models, prompts, sizes, versions."""
        raise NotImplementedError

    def workers(self, config: BuildConfig) -> int | None:
        """Processes on this machine, before `processes` limits them; None for one per core."""
        return 1

    def servers(self, config: BuildConfig) -> list[ServerSettings]:
        """The servers that the stage asks."""
        return []

    def processes(self, config: BuildConfig, wanted: int) -> int:
        """How many of the wanted processes may run at a time: each sends a request to each server at least."""
        return min([wanted, *(server.concurrency for server in self.servers(config))])

    def packages(self, config: BuildConfig) -> list[str]:
        """Optional packages beyond those that every build needs."""
        return []

    def check(self, config: BuildConfig) -> None:
        """Raises what would stop the stage later: a program that is not there."""

    def check_alone(self, config: BuildConfig) -> None:
        """Raises where the stage is all that is asked for, and would do nothing."""

    def is_settled(self, manifest: dict[str, Any]) -> bool:
        """Whether a shard that is made of what it should be needs no second attempt; `manifest` is its own."""
        return True

    def shards(self, config: BuildConfig, folder: BuildFolder) -> list[str]:
        """Names of its shards; empty if there is nothing to do."""
        return folder.shards() if self.per_shard else [WHOLE]

    def inputs(self, folder: BuildFolder, shard: str) -> dict[str, Any]:
        """What a shard is made of, by content: the hashes of the shards that it reads.

        Raises:
            BuildError: The stage before has not made them yet.
        """
        found = {}
        for name in self.reads(folder, shard):
            if (made := folder.manifest(str(self.after), name)) is None:
                raise BuildError(f"{self.name}: {self.after}/{name} is missing; run the stage {self.after!r} first")
            found[f"{self.after}/{name}"] = made["sha256"]
        return found

    def reads(self, folder: BuildFolder, shard: str) -> list[str]:
        """The shards of the stage before that a shard is made of."""
        return [shard]

    def make(self, work: Work) -> tuple[Path, dict[str, Any]]:
        """Make a shard; returns its file, and what its manifest says beside what all manifests say."""
        file = work.folder.table(self.name, work.shard)
        return file, {"rows": write_parquet(self.rows(work), file)}

    def rows(self, work: Work) -> Iterator[dict[str, Any]]:
        """The rows of a shard."""
        raise NotImplementedError

    def before(self, work: Work) -> Iterator[dict[str, Any]]:
        """The rows that a shard is made of."""
        return read_rows(work.folder.table(str(self.after), work.shard))

    def crashed(self, config: BuildConfig, folder: BuildFolder, shard: str, crash: Crashed) -> tuple[str, ...]:
        """Called where worker processes keep dying over a shard; returns the videos to leave out.

        Raises:
            BuildError: The shard cannot be made.
        """
        where = "" if shard == WHOLE else f", shard {shard}"
        raise BuildError(f"{self.name}{where}: {crash.detail}; is there enough memory?")


def request_identity(server: ServerSettings, prompt: Prompt) -> dict[str, Any]:
    """What decides the answers of a model, for the identity of a stage."""
    request = {"model": server.model, "seed": server.seed, "max_tokens": server.max_tokens}
    if server.extra_body:  # as a hash, since it may hold what nobody should read
        text = json.dumps(server.extra_body, sort_keys=True)
        request["extra_body_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    return request | {"prompt_id": prompt.prompt_id, "prompt_sha256": prompt.sha256}


__all__ = ["Pusher", "Stage", "Work", "request_identity"]
