"""A small folder of shards, and a client of a Hub in a process of its own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ave2_rows import rows

from soundclip_hf.data.shards import Sizes, write_shards

SIZES = Sizes(data_rows=40, data_group_rows=16, media_bytes=40_000, media_group_bytes=16_000)


def shards(folder: Path, count: int = 120, *, media: bool = True, sizes: Sizes = SIZES) -> list[dict[str, Any]]:
    """Rows of two splits; every second has a clip, of bytes that are no video."""
    made = rows(count)
    clips = {}
    for number, row in enumerate(made):
        row["split"] = "eval" if number % 10 >= 8 else "train"
        if number % 2:
            clips[row["sample_id"]] = hashlib.sha256(b"%d" % number).digest() * 40
            row["media_status"] = "ok"
            row["media_sha256"] = hashlib.sha256(clips[row["sample_id"]]).hexdigest()
    write_shards(made, folder, media=(lambda row: clips[row["sample_id"]]) if media else None, sizes=sizes)
    return made


def client(
    hub_url: str, home: Path, code: str, *arguments: object, token: str | None = "hf_alice", xet: bool = False
) -> Any:
    """Run `code` with a Hub and a home of its own; what it prints last is JSON, and the result."""
    environment = {**os.environ, "HF_ENDPOINT": hub_url, "HF_HOME": str(home), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        environment.pop(name, None)
    if token is not None:
        environment["HF_TOKEN"] = token
    if not xet:
        environment["HF_HUB_DISABLE_XET"] = "1"
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


__all__ = ["SIZES", "client", "shards"]
