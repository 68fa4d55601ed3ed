"""The stage that writes the rows of all shards as the folder that is published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ....files import read_json
from ...ave2.shards import MANIFEST, write_shards
from ...ave2.tables import read_rows
from ..config import BuildConfig
from ..folder import CODE_VERSION, BuildError, BuildFolder
from .base import Stage, Work


class Shard(Stage):
    """Writes the data set's shards, of rows and of clips, and their manifest."""

    name = "shard"
    after = "subset"
    per_shard = False

    def identity(self, config: BuildConfig) -> dict[str, Any]:
        return {"media": config.shard.media}

    def reads(self, folder: BuildFolder, shard: str) -> list[str]:
        return folder.shards()

    def make(self, work: Work) -> tuple[Path, dict[str, Any]]:
        folder, media = work.folder, work.config.shard.media
        names = folder.shards()
        # An empty data set would replace a good one.
        if not any((folder.manifest(self.after, name) or {}).get("rows") for name in names):
            raise BuildError(f"shard: no clip is left; see what segment and subset say, and {folder.clips()}/*.json")
        rows = (row for name in names for row in read_rows(folder.table(self.after, name)))
        known, wanted = read_json(folder.upload() / MANIFEST), {"source": work.inputs, "media": media}
        wanted["code_version"] = CODE_VERSION
        made = write_shards(
            rows,
            folder.upload(),
            media=folder.clips() if media else None,
            source=work.inputs,
            # What an earlier state of this build made is replaced.
            overwrite=known is not None and any(known.get(name) != value for name, value in wanted.items()),
        )
        return folder.upload() / MANIFEST, {"rows": made["rows"], "splits": made["splits"]}


__all__ = ["Shard"]
