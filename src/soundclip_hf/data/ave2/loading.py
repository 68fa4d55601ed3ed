"""Loads a folder or Hub repository of shards, and subsets of it, as data sets. No row is copied.

A dataset card says the same with `configs:`, so that `load_dataset("org/ave2", "filtered")` gives the rows of
`Ave2("org/ave2").subset("filtered")`. Needs the `data` extra.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...extras import require
from .hub_access import NoManifestError, explained
from .shards import MANIFEST, read_manifest
from .subsets import SUBSETS, filters

# Paper, section 2.3: retrieval needs to know what a segment is and what it says, and no more.
COLUMNS: dict[str, tuple[str, ...]] = {
    "retrieval": (
        "sample_id",
        "youtube_id",
        "segment",
        "youtube_start_time",
        "youtube_end_time",
        "media_sha256",
        "media_status",
        "video_caption",
        "audio_caption",
        "audio_visual_label",
        "overall_score",
        "temporal_alignment_score",
    )
}
MEDIA = "media"
NAMES = (*SUBSETS, MEDIA)


class Ave2:
    """AVE-2, or a data set in its form, as `write_shards` and `soundclip ave2 push` leave it.

    Args:
        source: A folder, or a data set on a Hub, `org/name`.
        revision: Branch, tag or commit on the Hub; it is fixed to a commit here.
        token: For private and gated data sets; None takes that of `hf auth login`.

    Attributes:
        manifest: What `write_shards` returned.
        splits: Names of the splits.

    Raises:
        ValueError: A folder without manifest.
        HubAccessError: No such data set or revision, or no access to it.
    """

    def __init__(self, source: str | Path, *, revision: str | None = None, token: str | bool | None = None) -> None:
        self.source, self.token = str(source), token
        self.revision: str | None = None
        if Path(source).is_dir():
            if revision is not None:
                raise ValueError(f"{source}: is a folder, which has no revision {revision!r}; leave it out")
            self.source = str(Path(source).resolve())
            self.manifest = read_manifest(source)
        else:
            self.revision, self.manifest = _fetch_manifest(self.source, revision, token)
        self.splits = tuple(self.manifest["splits"])

    def subset(
        self,
        name: str = "default",
        *,
        split: str | None = None,
        media: bool = False,
        inclusive: bool = False,
        streaming: bool = False,
        cache_dir: str | Path | None = None,
    ) -> Any:
        """
        Args:
            name: One of `NAMES`: "default" is everything, "media" everything that has a clip, with it; for the others
                see `subsets.SUBSETS`.
            split: One of `splits`; None gives all of them.
            media: Read the rows with their clips: those of the subset whose clip is there, all columns and `video`.
                `datasets` decodes that column with torchcodec (`pip install torchcodec`, and FFmpeg on the machine);
                after `with_audio`, or `cast_column("video", Video(decode=False))`, it is bytes, and needs neither.
            inclusive: Take `>=` for `>`, see `subsets.filters`.
            streaming: Read while iterating, and write nothing.
            cache_dir: Of `datasets`.

        Returns:
            A `Dataset` (`IterableDataset` if streaming), or a dict of them by split.

        Raises:
            ValueError: No such subset or split, or no row is in it.
            HubAccessError: As for the class.
        """
        require("datasets", what="a subset of AVE-2")
        if name not in NAMES:
            raise ValueError(f"subset {name!r} is none of {', '.join(NAMES)}")
        if split is not None and split not in self.splits:
            raise ValueError(f"split {split!r} is none of {', '.join(self.splits)}")
        from datasets import load_dataset

        kind = MEDIA if media or name == MEDIA else "data"
        splits = _filled(self.manifest, name, kind, inclusive)
        if split not in (None, *splits) or not splits:
            where = f"split {split!r}" if split is not None else "any split"
            clips = (
                ""
                if kind == "data" or any(s["media_rows"] for s in self.manifest["splits"].values())
                else (": the shards were written without media")
            )
            raise ValueError(f"{self.source}: no row of {where} is in subset {name!r}{clips}")
        conditions = [] if name == MEDIA else filters(name, inclusive=inclusive)
        columns = None if kind == MEDIA else COLUMNS.get(name)
        with explained(self.source, self.revision):
            return load_dataset(
                self.source,
                data_files=self._files(kind, splits if split is None else [split]),
                filters=conditions or None,
                columns=None if columns is None else list(columns),
                split=split,
                revision=self.revision,
                token=self.token,
                streaming=streaming,
                cache_dir=None if cache_dir is None else str(cache_dir),
            )

    def _files(self, kind: str, splits: list[str]) -> dict[str, list[str]]:
        shards = [shard for shard in self.manifest["shards"] if shard["kind"] == kind]
        return {split: [shard["path"] for shard in shards if shard["split"] == split] for split in splits}


def configs(manifest: Mapping[str, Any], *, inclusive: bool = False) -> list[dict[str, Any]]:
    """The `configs:` of a dataset card: subsets as filters and columns on the same files, none of them copied.

    What is empty is left out.

    Args:
        manifest: Of the shards.
        inclusive: As in `Ave2.subset`.
    """
    made = []
    for name in NAMES:
        kind = MEDIA if name == MEDIA else "data"
        splits = _filled(manifest, name, kind, inclusive)
        if not splits:
            continue
        config: dict[str, Any] = {"config_name": name}
        if name == "default":
            config["default"] = True
        config["data_files"] = [{"split": split, "path": f"{kind}/{split}-*.parquet"} for split in splits]
        if name in COLUMNS:
            config["columns"] = list(COLUMNS[name])
        if conditions := [] if name == MEDIA else filters(name, inclusive=inclusive):
            config["filters"] = [list(condition) for condition in conditions]
        made.append(config)
    return made


def _filled(manifest: Mapping[str, Any], name: str, kind: str, inclusive: bool) -> list[str]:
    """Splits in which a subset has rows: `datasets` reads no others."""

    def rows(counts: Mapping[str, Any]) -> int:
        if name == MEDIA:
            return counts["media_rows"]
        return counts["subsets"][name][f"{kind}_inclusive" if inclusive else kind]

    return [split for split, counts in manifest["splits"].items() if rows(counts)]


def _fetch_manifest(repo: str, revision: str | None, token: str | bool | None) -> tuple[str, dict[str, Any]]:
    from huggingface_hub import HfApi, errors, hf_hub_download

    if repo.count("/") != 1 or repo.startswith((".", "/")):
        raise ValueError(f"{repo}: no such folder, and no org/name of a data set on a Hub")
    with explained(repo, revision):
        sha = HfApi().dataset_info(repo, revision=revision, token=token).sha
        assert sha is not None
        try:
            path = hf_hub_download(repo, MANIFEST, repo_type="dataset", revision=sha, token=token)
        except errors.RemoteEntryNotFoundError as error:
            reason = f"{repo}: has no {MANIFEST}, so it is not in this form; use load_dataset"
            raise NoManifestError(reason, sha) from error
    return sha, json.loads(Path(path).read_text(encoding="utf-8"))


__all__ = ["COLUMNS", "NAMES", "Ave2", "configs"]
