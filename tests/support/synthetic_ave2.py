"""A small AVE-2 of synthetic scenes with real clips: shards and card, as they are published."""

import hashlib
from pathlib import Path

from soundclip_hf.data.ave2.schema import SCORES, complete
from soundclip_hf.data.ave2.shards import write_shards
from soundclip_hf.data.synthetic.scenes import scene, write_mp4
from soundclip_hf.publishing.ave2_card import ave2_card


def write_ave2(folder: Path, clips: Path, train: int = 10, test: int = 4) -> Path:
    """Every second row has scores of 9, the others of 7."""
    clips.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(train + test):
        shown = scene(number)
        path = clips / f"synthetic-{number}_01.mp4"
        write_mp4(path, [shown], size=64)
        known = {name: value for name, value in shown.row().items() if value is not None}
        found = {"media_sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "media_status": "ok"}
        scores = dict.fromkeys(SCORES, 9 if number % 2 else 7)
        rows.append(complete(known | found | scores | {"split": "train" if number < train else "eval"}))
    write_shards(rows, folder, media=clips)
    (folder / "README.md").write_text(ave2_card(folder, "org/ave2"), encoding="utf-8")
    return folder


__all__ = ["write_ave2"]
