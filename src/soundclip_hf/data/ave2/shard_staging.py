"""Collects finished shards, also over runs that were stopped, and puts all of them in place with their manifest."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...files import write_text
from .schema import features
from .shard_series import Limits, OtherRowsError, Series, Shard, shard_json
from .subsets import SUBSETS

MANIFEST, STAGING = "manifest.json", ".unfinished"


class Staging:
    """Shards until all are there: a hidden folder beside the final ones, with a record of each."""

    def __init__(self, target: Path, made_by: dict[str, Any], overwrite: bool) -> None:
        self.target, self.folder, self.made_by = target, target / STAGING, made_by
        settings = self.folder / "settings.json"
        self.manifest = read_manifest(target) if (target / MANIFEST).exists() else None
        if overwrite:
            shutil.rmtree(self.folder, ignore_errors=True)
        elif self.manifest is not None and {name: self.manifest.get(name) for name in made_by} != made_by:
            raise ValueError(
                f"{target}: holds shards that were made with other settings; give another folder, or overwrite=True"
            )
        self.finished = self.manifest is not None and not overwrite
        known = [] if self.manifest is None else self.manifest["shards"]
        if not self.finished:
            if settings.exists() and json.loads(settings.read_text(encoding="utf-8")) != made_by:
                shutil.rmtree(self.folder)
            for kind in ("data", "media", "records"):
                (self.folder / kind).mkdir(parents=True, exist_ok=True)
            for stale in self.folder.rglob(".*.partial"):
                stale.unlink(missing_ok=True)
            write_text(settings, json.dumps(made_by))
            known = [json.loads(path.read_text()) for path in sorted((self.folder / "records").glob("*.json"))]
        shards = [Shard(**{name: entry[name] for name in Shard.__dataclass_fields__}) for entry in known]
        self.known = {(shard.kind, shard.split, shard.number): shard for shard in shards if self._is_there(shard)}

    def _is_there(self, shard: Shard) -> bool:
        # Between the two renamings of `finish` shards are in place, and there is no manifest.
        swapped = self.finished or not (self.target / MANIFEST).exists()
        places = [self.folder / shard.kind, *([self.target / shard.kind] if swapped else [])]
        found = [path for place in places for path in place.glob(f"{shard.stem}*.parquet")]
        if any(path.stat().st_size == shard.bytes for path in found):
            return True
        if self.finished:
            raise ValueError(
                f"{self.target}: {shard.kind}/{shard.stem} is gone or cut off; make it again with overwrite=True"
            )
        return False

    def series(self, kind: str, split: str, limits: Limits) -> Series:
        if self.finished and (kind, split, 0) not in self.known:
            raise OtherRowsError(f"has no {kind} shards of {split!r}")
        found = {number: shard for (k, s, number), shard in self.known.items() if (k, s) == (kind, split)}
        schema = features(media=kind == "media").arrow_schema
        return Series(self.folder / kind, kind, split, schema, limits, found, self.record)

    def record(self, shard: Shard) -> None:
        write_text(self.folder / "records" / f"{shard.kind}-{shard.stem}.json", shard_json(shard))

    def finish(
        self, shards: list[Shard], passed: Mapping[tuple[str, str, str], int], rows_sha256: str
    ) -> dict[str, Any]:
        """Put all shards in place, then the manifest.

        Args:
            passed: Rows by split, subset and `data`, `media`, `data_inclusive` or `media_inclusive`.
        """
        gone = sorted(set(self.known) - {(shard.kind, shard.split, shard.number) for shard in shards})
        if gone:
            raise OtherRowsError(f"there are no rows of the {gone[0][0]} shards of {gone[0][1]!r}")
        splits = sorted({shard.split for shard in shards})
        entries = []
        for shard in sorted(shards, key=lambda shard: (shard.kind, shard.split, shard.number)):
            count = sum((other.kind, other.split) == (shard.kind, shard.split) for other in shards)
            name = f"{shard.stem}-of-{count:05d}.parquet"
            staged = self.folder / shard.kind / f"{shard.stem}.parquet"
            if staged.exists():
                os.replace(staged, staged.with_name(name))
            entries.append({"path": f"{shard.kind}/{name}", **asdict(shard)})
        counts: dict[str, dict[str, Any]] = {}
        for split in splits:
            counts[split] = {
                f"{kind}_rows": sum(shard.rows for shard in shards if (shard.kind, shard.split) == (kind, split))
                for kind in ("data", "media")
            }
            counts[split]["subsets"] = _by_subset(split, passed)
        manifest = {
            **self.made_by,
            "rows": sum(split["data_rows"] for split in counts.values()),
            "rows_sha256": rows_sha256,
            "splits": counts,
            "shards": entries,
        }
        if self.finished:
            if manifest != self.manifest:
                raise OtherRowsError("its rows came in another order")
            return manifest
        # From here to the new manifest, what is in place counts as unfinished.
        (self.target / MANIFEST).unlink(missing_ok=True)
        for kind in ("data", "media"):
            staged, made = self.folder / kind, any(shard.kind == kind for shard in shards)
            if any(staged.iterdir()) or not made:
                shutil.rmtree(self.target / kind, ignore_errors=True)
                if made:
                    os.replace(staged, self.target / kind)
        write_text(self.target / MANIFEST, json.dumps(manifest, indent=1) + "\n")
        shutil.rmtree(self.folder, ignore_errors=True)
        return manifest


def _by_subset(split: str, passed: Mapping[tuple[str, str, str], int]) -> dict[str, dict[str, int]]:
    kinds = ("data", "media", "data_inclusive", "media_inclusive")
    return {name: {kind: passed.get((split, name, kind), 0) for kind in kinds} for name in SUBSETS}


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """
    Raises:
        ValueError: The folder has no manifest, since `write_shards` did not finish or never ran, or something else in
            its place.
    """
    path = Path(folder) / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; write the shards first, or finish writing them") from None
    except ValueError as error:
        raise ValueError(f"{path}: cannot be read ({error}); write the shards again") from error
    missing = {"rows", "splits", "shards"} - set(manifest if isinstance(manifest, dict) else ())
    if missing:
        raise ValueError(f"{path}: is no manifest, it has no {min(missing)!r}; write the shards again")
    return manifest


__all__ = ["MANIFEST", "Staging", "read_manifest"]
