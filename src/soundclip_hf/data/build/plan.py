"""Plans the shards of a build from its videos: shards of an earlier plan stay, new videos get new shards."""

from __future__ import annotations

from typing import Any

from ...files import expand_user
from ...media_kinds import CLIPS, media_files
from .config import BuildConfig
from .folder import BuildError, BuildFolder


def make_plan(config: BuildConfig, folder: BuildFolder) -> int:
    """Write which shard has which videos; returns the number of shards.

    Raises:
        BuildError: No videos, two with one name, or one that is gone before it was cut.
    """
    found = _videos(config)
    try:
        shards = folder.shards()
    except BuildError:
        shards = []
        if not found:
            raise BuildError("videos: has no video files; name files, or folders of them") from None
    planned: set[str] = set()
    for shard in shards:
        known = folder.videos(shard)
        now = [found.get(video["video_id"], video) for video in known]
        planned.update(video["video_id"] for video in known)
        gone = [video for video in known if video["video_id"] not in found]
        if gone and folder.manifest("segment", shard) is None:
            raise BuildError(
                f"{gone[0]['path']}: this video is gone, and was not cut yet; put it back, or plan anew with "
                "restart='segment'"
            )
        if now != known:
            folder.write_videos(shard, now)
    new = [video for name, video in found.items() if name not in planned]
    first = 1 + max((int(shard) for shard in shards), default=-1)
    groups = range(0, len(new), config.videos_per_shard)
    for number, start in enumerate(groups, first):
        folder.write_videos(f"{number:05d}", new[start : start + config.videos_per_shard])
    return first + len(groups)


def _videos(config: BuildConfig) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name in config.videos:
        given = expand_user(name).absolute()
        if not given.exists():
            raise BuildError(f"videos: {given}: no such file or folder")
        for path in media_files(given, CLIPS).paths if given.is_dir() else [given]:
            name, state = path.stem, path.stat()
            if (other := found.get(name)) is not None and other["path"] != str(path):
                raise BuildError(f"{path} and {other['path']} would both be video {name!r}; rename one of them")
            values = {"path": str(path), "size": state.st_size, "mtime_ns": state.st_mtime_ns}
            found[name] = {"video_id": name, **values}
    return dict(sorted(found.items()))


__all__ = ["make_plan"]
