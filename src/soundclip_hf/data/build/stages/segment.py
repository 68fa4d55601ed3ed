"""The stage that cuts videos into clips; the clips are in one folder of the build."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...clips.cuts import Job
from ...clips.segment import VERSION, cut, cut_all
from ...clips.transcoding import check_backend
from ...pool import Crashed
from ..config import BuildConfig
from ..folder import BuildFolder
from .base import Stage, Work


class Segment(Stage):
    """Cuts videos into clips of three seconds."""

    name = "segment"
    after = None

    def identity(self, config: BuildConfig) -> dict[str, Any]:
        encoding = config.segment.cutting().encoding
        sizes = {"max_side": encoding.max_side, "preset": encoding.preset, "crf": encoding.crf}
        return {"version": VERSION, "source_dataset": config.source_dataset, **sizes}

    def workers(self, config: BuildConfig) -> int | None:
        return config.segment.workers

    def check(self, config: BuildConfig) -> None:
        check_backend(config.segment.backend)

    def inputs(self, folder: BuildFolder, shard: str) -> dict[str, Any]:
        """The videos' sizes and times."""
        return {video["video_id"]: [video["size"], video["mtime_ns"]] for video in folder.videos(shard)}

    def is_settled(self, manifest: dict[str, Any]) -> bool:
        """Not with videos that could not be read, nor with faults that may be those of a run that was interrupted."""
        if "lost" not in manifest:  # of a version that recorded both alike
            return not {"rejected: decode_error", "rejected: crashed"} & {*manifest.get("counts", {})}
        return not manifest["lost"]

    def make(self, work: Work) -> tuple[Path, dict[str, Any]]:
        file, said = super().make(work)
        return file, said | {"lost": dict(work.lost)}

    def rows(self, work: Work) -> Iterator[dict[str, Any]]:
        for video in work.folder.videos(work.shard):
            if video["video_id"] in work.crashed:
                work.counts["rejected: crashed"] += 1
                work.lost[video["video_id"]] = f"{video['path']}: crashed: its worker processes died"
                continue
            made = cut(Job(video["path"], video["video_id"]), work.folder.clips(), work.config.segment.cutting())
            work.counts["videos"] += 1
            work.counts.update(f"rejected: {reject.reason}" for reject in made.rejects)
            if made.lost is not None:
                work.lost[made.job.video_id] = f"{video['path']}: {made.lost.reason}: {made.lost.detail}"
            yield from made.rows(work.config.source_dataset)

    def crashed(self, config: BuildConfig, folder: BuildFolder, shard: str, crash: Crashed) -> tuple[str, ...]:
        """One video that takes its process down must not cost the others of its shard: each is cut by itself."""
        jobs = [Job(video["path"], video["video_id"]) for video in folder.videos(shard)]
        cuts = cut_all(jobs, folder.clips(), config.segment.cutting(), 1)
        return tuple(made.job.video_id for made in cuts if any(reject.reason == "crashed" for reject in made.rejects))


__all__ = ["Segment"]
