"""Where a build keeps what: the plan of its shards, each stage's shards, and their manifests.

A shard is done if its manifest names what it is made of now, and its file is there. Files come before manifests, both
whole or not at all, so a kill at any moment leaves shards that are done and shards that are not, and nothing between.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ...files import InUseError, lock_folder, read_json, remove_leftovers, sha256, write_json

WHOLE = "all"
CODE_VERSION = f"soundclip-hf {version('soundclip-hf')}"


class BuildError(RuntimeError):
    """The build cannot go on; the message says what to do."""


@dataclass(frozen=True)
class BuildFolder:
    """The folder `out` of a build."""

    out: Path

    def clips(self) -> Path:
        return self.out / "clips"

    def upload(self) -> Path:
        """What `shard` writes and `push` sends."""
        return self.out / "upload"

    def table(self, stage: str, shard: str) -> Path:
        return self.out / stage / f"{shard}.parquet"

    def dead_letters(self, stage: str, shard: str) -> Path:
        return self.out / "dead_letters" / f"{stage}-{shard}.parquet"

    def answers(self, stage: str) -> Path:
        return self.out / "answers" / f"{stage}.sqlite"

    def _manifest(self, stage: str, shard: str) -> Path:
        return self.out / "manifests" / stage / f"{shard}.json"

    def manifest(self, stage: str, shard: str) -> dict[str, Any] | None:
        """Of a shard whose file is there as the manifest says."""
        found = read_json(self._manifest(stage, shard))
        if found is None or "bytes" not in found:
            return None
        try:
            whole = os.path.getsize(self.out / found["file"]) == found["bytes"]
        except OSError:
            return None
        return found if whole else None

    def write_manifest(self, stage: str, shard: str, file: Path, values: dict[str, Any]) -> dict[str, Any]:
        """Say that a shard is done; `file` is its table, or what stands for its folder."""
        known: dict[str, Any] = {"stage": stage, "shard": shard, "file": file.relative_to(self.out).as_posix()}
        known |= {"bytes": file.stat().st_size, "sha256": sha256(file)}
        self._manifest(stage, shard).parent.mkdir(parents=True, exist_ok=True)
        write_json(self._manifest(stage, shard), known | values)
        return known | values

    def forget(self, stage: str, shard: str) -> None:
        self._manifest(stage, shard).unlink(missing_ok=True)

    def shards(self) -> list[str]:
        """By the plan, in order.

        Raises:
            BuildError: There is no plan yet.
        """
        found = sorted(path.stem for path in (self.out / "plan").glob("*.json"))
        if not found:
            raise BuildError(f"{self.out}: has no plan; start with the stage 'segment'")
        return found

    def videos(self, shard: str) -> list[dict[str, Any]]:
        """Of a shard: `path`, `video_id`, `size` and `mtime_ns`."""
        found = read_json(self.out / "plan" / f"{shard}.json")
        if found is None:
            raise BuildError(f"{self.out}/plan/{shard}.json: is gone; start with the stage 'segment'")
        return found["videos"]

    def write_videos(self, shard: str, videos: list[dict[str, Any]]) -> None:
        (self.out / "plan").mkdir(parents=True, exist_ok=True)
        write_json(self.out / "plan" / f"{shard}.json", {"videos": videos})

    def left_out(self) -> dict[str, str]:
        """Why files that were given are in no shard, by their paths."""
        return (read_json(self.out / "left_out.json") or {}).get("files", {})

    def write_left_out(self, files: dict[str, str]) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        write_json(self.out / "left_out.json", {"files": files})

    def lost(self) -> dict[str, str]:
        """The videos that the last run could not use, by path or id, and why; the next run tries them again."""
        found = self.left_out()
        for shard in self.shards():
            found |= (self.manifest("segment", shard) or {}).get("lost", {})
        return found

    def begin(self, stage: str, identity: dict[str, Any]) -> None:
        """Say what a stage is made with, or check that it is still the same.

        Raises:
            BuildError: It has been begun with something else: shards of both would be mixed.
        """
        path = self._manifest(stage, "stage")
        for folder in (path.parent, self.out / stage, self.out / "dead_letters", self.out / "answers"):
            folder.mkdir(parents=True, exist_ok=True)
        known = read_json(path)
        done = any(other.name != path.name for other in path.parent.glob("*.json"))
        if known is None or not done:
            write_json(path, identity)
            return
        was, now = _flat(known), _flat(identity)
        other = [name for name in sorted({*was, *now}) if was.get(name) != now.get(name)]
        if other:
            diff = "; ".join(f"{name} was {_short(was.get(name))} and is now {_short(now.get(name))}" for name in other)
            raise BuildError(
                f"{stage}: {self.out} was begun with other settings: {diff}. Both must not be mixed: set out to a new "
                f"folder, or start this stage and those after it anew with restart={stage!r}"
            )

    def restart(self, stages: Iterable[str], plan: bool) -> None:
        """Forget what stages have made, and the plan too. Clips and answers stay: they are known by their content."""
        for name in stages:
            folder = self.out / "manifests" / name
            for path in [*folder.glob("*.json"), *(self.out / name).glob("*.parquet")]:
                path.unlink(missing_ok=True)
        if plan:
            for path in (self.out / "plan").glob("*.json"):
                path.unlink(missing_ok=True)

    def tidy(self, stage: str) -> None:
        """Remove shards that the plan no longer has."""
        planned = {*self.shards(), WHOLE, "stage"}
        for folder, suffix in ((self.out / stage, ".parquet"), (self.out / "manifests" / stage, ".json")):
            for path in folder.iterdir() if folder.is_dir() else ():
                if path.suffix == suffix and path.stem not in planned:
                    path.unlink(missing_ok=True)

    def clean(self) -> None:
        """Remove the temporary files that killed processes have left."""
        for folder, _, _ in os.walk(self.out):
            remove_leftovers(Path(folder))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """
        Raises:
            BuildError: Another process of this machine builds here.
        """
        try:
            lock = lock_folder(self.out)
        except InUseError as error:
            raise BuildError(f"{self.out}: another build is running here; wait for it, or stop it") from error
        with lock:
            yield


def _flat(values: dict[str, Any], name: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dots in the names."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{name}{key}.") if isinstance(value, dict) else {f"{name}{key}": value}
    return found


def _short(value: Any) -> str:
    """A value for a message; of a hash, its first digits are enough."""
    return f"{value[:12]}…" if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) else repr(value)


__all__ = ["WHOLE", "BuildError", "BuildFolder"]
