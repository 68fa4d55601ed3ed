"""Plans the shards of a build from its videos: shards of an earlier plan stay, new videos get new shards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...files import expand_user
from ...media_kinds import CLIPS, media_files
from ..clips.cuts import id_fault
from .config import BuildConfig
from .folder import BuildError, BuildFolder


def make_plan(config: BuildConfig, folder: BuildFolder) -> int:
    """Write which shard has which videos; returns the number of shards.

    Files that cannot be used at all are in no shard, and `BuildFolder.left_out` names them. A video that is gone before
    it was cut stays in its shard, and is lost until it is back.

    Raises:
        BuildError: No videos, or two with one name.
    """
    found, left_out = _videos(config)
    try:
        shards = folder.shards()
    except BuildError:
        shards = []
        if not found:
            more = f" that can be used, such as {min(left_out)}: {left_out[min(left_out)]}" if left_out else ""
            raise BuildError(f"videos: has no video files{more}; name files, or folders of them") from None
    folder.write_left_out(left_out)
    planned: set[str] = set()
    for shard in shards:
        known = folder.videos(shard)
        now = [found.get(video["video_id"], video) for video in known]
        planned.update(video["video_id"] for video in known)
        if now != known:
            folder.write_videos(shard, now)
    new = [video for name, video in found.items() if name not in planned]
    first = 1 + max((int(shard) for shard in shards), default=-1)
    groups = range(0, len(new), config.videos_per_shard)
    for number, start in enumerate(groups, first):
        folder.write_videos(f"{number:05d}", new[start : start + config.videos_per_shard])
    return first + len(groups)


def _videos(config: BuildConfig) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """The videos by id, and by path what cannot be used and why."""
    found: dict[str, dict[str, Any]] = {}
    left_out: dict[str, str] = {}
    for path in _files(config, left_out):
        shown = str(path).encode(errors="backslashreplace").decode()
        if fault := id_fault(path.stem) or ("" if shown == str(path) else "is not UTF-8, and no table can hold it"):
            left_out[shown] = f"its name {fault}; rename the file"
            continue
        try:
            state = path.stat()
        except OSError as error:
            left_out[shown] = error.strerror or str(error)
            continue
        name = path.stem
        if (other := found.get(name)) is not None and other["path"] != str(path):
            raise BuildError(f"{path} and {other['path']} would both be video {name!r}; rename one of them")
        found[name] = {"video_id": name, "path": str(path), "size": state.st_size, "mtime_ns": state.st_mtime_ns}
    return dict(sorted(found.items())), left_out


def _files(config: BuildConfig, left_out: dict[str, str]) -> Iterator[Path]:
    for name in config.videos:
        given = expand_user(name).absolute()
        if given.is_dir():
            listed = media_files(given, CLIPS)
            yield from (*listed.paths, *listed.unnamed)
        elif given.exists():
            yield given
        elif given.suffix.lower() in CLIPS:  # one of a list of files
            left_out[str(given)] = "No such file or directory"
        else:
            raise BuildError(f"videos: {given}: no such file or folder")


__all__ = ["make_plan"]
