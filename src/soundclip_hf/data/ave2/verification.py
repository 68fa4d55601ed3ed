"""Checks a table of AVE-2 and its clips: counts, hashes, splits and provenance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ...files import sha256
from .validation import BadRow, validate

# Counts that were published. The release is three segments each of 190,046 excerpts; the paper's other count, 580,145,
# is a slip of two.
EXPECTED = {"paper": 580_147, "release": 570_138}
SHOWN = 20


def verify(rows: Iterable[Mapping[str, Any]], media: str | Path | None = None) -> dict[str, Any]:
    """Check a whole table, reading it once.

    Args:
        rows: As `tables.read_rows` reads them.
        media: Folder of the clips, `<sample_id>.mp4`; None leaves hashes unchecked.

    Returns:
        `ok`; `rows`, `videos`, `splits` (rows of each), `media_status`; `expected`, the published counts; `bad_rows`,
        how many, and `bad`, the first of them; `leaks`, videos in several splits; `prompts` and `models`, rows by what
        judged them: more than one prompt means that scores cannot be compared; and of the clips `media_checked`,
        `media_missing` and `media_changed`, the last two as ids.
    """
    splits: Counter[str | None] = Counter()
    status: Counter[Any] = Counter()
    prompts: Counter[str] = Counter()
    models: Counter[str] = Counter()
    where: dict[str, Any] = {}
    leaks: set[str] = set()
    missing: list[str] = []
    changed: list[str] = []
    bad: list[BadRow] = []
    count = bad_rows = checked = 0

    def counted() -> Iterator[Mapping[str, Any]]:
        nonlocal count
        for row in rows:
            count += 1
            look(row)
            yield row

    def look(row: Mapping[str, Any]) -> None:
        nonlocal checked
        splits[row.get("split")] += 1
        status[row.get("media_status")] += 1
        if row.get("judge_prompt_sha256"):
            prompts[row["judge_prompt_sha256"]] += 1
        if row.get("judge_model"):
            models[row["judge_model"]] += 1
        video = row.get("youtube_id")
        if isinstance(video, str) and where.setdefault(video, row.get("split")) != row.get("split"):
            leaks.add(video)
        if media is not None and row.get("media_sha256"):
            clip = Path(media) / f"{row['sample_id']}.mp4"
            checked += 1
            if not clip.is_file():
                missing.append(row["sample_id"])
            elif sha256(clip) != row["media_sha256"]:
                changed.append(row["sample_id"])

    for fault in validate(counted()):
        bad_rows += 1
        if len(bad) < SHOWN:
            bad.append(fault)
    return {
        "ok": count > 0 and not (bad_rows or leaks or missing or changed or len(prompts) > 1),
        "rows": count,
        "videos": len(where),
        "splits": {str(name): number for name, number in splits.items()},
        "media_status": {str(name): number for name, number in status.items()},
        "expected": EXPECTED,
        "bad_rows": bad_rows,
        "bad": [{"index": row.index, "sample_id": row.sample_id, "reasons": list(row.reasons)} for row in bad],
        "leaks": sorted(leaks)[:SHOWN],
        "prompts": dict(prompts),
        "models": dict(models),
        "media_checked": checked,
        "media_missing": missing[:SHOWN],
        "media_changed": changed[:SHOWN],
    }


__all__ = ["EXPECTED", "verify"]
