"""Reads the YAML file of a build: one dataclass of settings for each stage."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...settings import SettingError, override, read_config, read_settings
from ..ave2.subsets import SUBSETS
from ..clips.cuts import Cutting
from ..clips.video_source import Encoding
from ..inference.server import check_shared_limits
from ..inference.server_settings import ServerSettings


@dataclass(frozen=True)
class SegmentSettings:
    """How videos are cut. `workers` processes; None is one per core."""

    max_side: int | None = None
    preset: str = "veryfast"
    crf: int = 23
    backend: str = "auto"
    workers: int | None = None

    def cutting(self) -> Cutting:
        return Cutting(Encoding(max_side=self.max_side, preset=self.preset, crf=self.crf), backend=self.backend)


@dataclass(frozen=True)
class AnnotateSettings:
    """Where captions come from: a model that sees, a model that hears, a table of your own, or several of these.

    Attributes:
        video, audio: The models; None asks none. If both have one `base_url`, they share the limits of that server.
        captions: Your table (`caption_tables.read_captions`); its captions are not asked for again.
        columns: Names in that table -> ours.
        frames, max_side: Of the pictures that are sent.
        workers: Processes, which share the limits of the servers: at most as many as `concurrency`.
    """

    video: ServerSettings | None = None
    audio: ServerSettings | None = None
    captions: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    frames: int = 4
    max_side: int = 512
    workers: int = 1


@dataclass(frozen=True)
class JudgeSettings:
    """Who scores the clips; `mode` "captions" (the paper's way) or "media". Without a server all scores are null."""

    server: ServerSettings | None = None
    mode: str = "captions"
    frames: int = 4
    max_side: int = 512
    workers: int = 1

    def __post_init__(self) -> None:
        if self.mode not in ("captions", "media"):
            raise SettingError(f"mode={self.mode!r}: give captions or media")


@dataclass(frozen=True)
class SubsetSettings:
    """Which rows stay, and the share of videos that become "eval". Subsets are views, so "default" keeps all rows."""

    keep: str = "default"
    inclusive: bool = False
    eval_share: float = 0.02
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.keep not in SUBSETS:
            raise SettingError(f"keep={self.keep!r} is none of {', '.join(SUBSETS)}")
        if not 0 <= self.eval_share < 1:
            raise SettingError(f"eval_share={self.eval_share}: give a share of at least 0 and below 1")


@dataclass(frozen=True)
class ShardSettings:
    """`media`: whether the clips are written too, beside the table."""

    media: bool = True


@dataclass(frozen=True)
class PushSettings:
    """`repo` None pushes nothing; `options` go to the function that pushes, such as `private: true`."""

    repo: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunSettings:
    """Where stages run: "local" processes, or datatrove's "slurm" or "ray" executor with their own `options`."""

    executor: str = "local"
    tasks: int = 1
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.executor not in ("local", "datatrove", "slurm", "ray"):
            raise SettingError(f"executor={self.executor!r}: give local, slurm, ray or datatrove")
        if self.tasks < 1:
            raise SettingError(f"tasks={self.tasks}: give at least 1")


@dataclass(frozen=True)
class BuildConfig:
    """A data set from long videos to a Hub.

    Attributes:
        videos: Files, or folders of them.
        out: Everything is written here.
        source_dataset: Goes into the column of that name.
        videos_per_shard: A shard is what a kill can cost at most.
    """

    videos: tuple[str, ...] = ()
    out: str = "out/ave2"
    source_dataset: str | None = None
    videos_per_shard: int = 20
    segment: SegmentSettings = field(default_factory=SegmentSettings)
    annotate: AnnotateSettings = field(default_factory=AnnotateSettings)
    judge: JudgeSettings = field(default_factory=JudgeSettings)
    subset: SubsetSettings = field(default_factory=SubsetSettings)
    shard: ShardSettings = field(default_factory=ShardSettings)
    push: PushSettings = field(default_factory=PushSettings)
    run: RunSettings = field(default_factory=RunSettings)

    def __post_init__(self) -> None:
        if self.videos_per_shard < 1:
            raise SettingError(f"videos_per_shard={self.videos_per_shard}: give at least 1")
        captioners = {"annotate.video": self.annotate.video, "annotate.audio": self.annotate.audio}
        check_shared_limits({name: server for name, server in captioners.items() if server is not None})
        servers = [("judge", self.judge.workers, self.judge.server)]
        servers += [("annotate", self.annotate.workers, server) for server in captioners.values()]
        for stage, workers, server in servers:
            processes = workers if self.run.executor == "local" else self.run.tasks
            if server is not None and server.max_cost is not None and processes > 1:
                name = f"{stage}.workers" if self.run.executor == "local" else "run.tasks"
                raise SettingError(f"{stage}: max_cost is kept by one process; set {name}: 1 instead of {processes}")


def read_build_config(path: str | Path, overrides: tuple[str, ...] | list[str] = ()) -> BuildConfig:
    """
    Args:
        path: A YAML file.
        overrides: Such as "judge.server.model=mistral", which count more.

    Raises:
        SettingError: A file that is no YAML mapping, an unknown setting, a value that does not fit.
    """
    import yaml

    values = read_config(Path(path))
    for text in overrides:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise SettingError(f"{text!r}: write a setting as name=value, such as judge.server.model=mistral")
        try:
            override(values, name, yaml.safe_load(value))
        except yaml.YAMLError as error:
            raise SettingError(f"{text!r}: the value is no YAML ({' '.join(str(error).split())})") from error
    return read_settings(BuildConfig, values)


__all__ = ["BuildConfig", "ServerSettings", "read_build_config"]
