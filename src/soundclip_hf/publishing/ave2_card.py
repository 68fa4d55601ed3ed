"""Writes the dataset card of a folder of AVE-2 shards: subsets, statistics and conditions of use."""

from __future__ import annotations

import math
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..data.ave2.loading import MEDIA, configs
from ..data.ave2.schema import DIMENSIONS, SEGMENT_TYPES
from ..data.ave2.shards import read_manifest
from ..data.ave2.tables import read_batches
from ..data.ave2.terms import CONDITIONS
from ..data.stats.statistics import COLUMNS, PAPER, statistics

TEMPLATE = Path(__file__).parent / "templates" / "ave2_card.md.j2"
# The Hub's names for sizes of data sets.
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10**7, "1M<n<10M"))


def ave2_card(
    folder: str | Path,
    repo: str,
    *,
    title: str | None = None,
    licence: str = "cc-by-4.0",
    inclusive: bool = False,
) -> str:
    """The text of README.md.

    Args:
        folder: As `data.shards.write_shards` leaves it; its statistics are counted here.
        repo: `org/name`, for the examples.
        title: None takes the name of `repo`.
        licence: Of the annotations, as the Hub spells it.
        inclusive: Subsets take `>=` for `>`, see `data.subsets.filters`.

    Raises:
        ValueError: The folder has no manifest.
    """
    from huggingface_hub import DatasetCard, DatasetCardData

    manifest = read_manifest(folder)
    numbers = statistics(read_batches(Path(folder) / "data", COLUMNS)).numbers()
    subsets = configs(manifest, inclusive=inclusive)
    about = DatasetCardData(
        pretty_name=title or repo.split("/")[-1],
        license=licence,
        size_categories=[_size(manifest["rows"])],
        task_categories=["video-classification", "audio-classification"],
        tags=["soundclip-hf", "audio-visual", "alignment", "video", "audio"],
        configs=subsets,
    )
    made = DatasetCard.from_template(
        about,
        template_str=TEMPLATE.read_text(encoding="utf-8"),
        repo=repo,
        title=about.pretty_name,
        licence=licence,
        manifest=manifest,
        subsets=[{**subset, "rows": _rows(manifest, subset["config_name"], inclusive)} for subset in subsets],
        media_rows=sum(split["media_rows"] for split in manifest["splits"].values()),
        conditions=CONDITIONS,
        scores=[_score(numbers, name) for name in (*DIMENSIONS, "overall")],
        types=[{"name": name, "rows": numbers[f"type.{name}"]} for name in SEGMENT_TYPES.values()],
        numbers={name: _shown(value) for name, value in numbers.items()},
        paper=PAPER,
        version=version("soundclip-hf"),
    )
    return str(made)


def _rows(manifest: dict[str, Any], name: str, inclusive: bool) -> int:
    splits = manifest["splits"].values()
    if name == MEDIA:
        return sum(split["media_rows"] for split in splits)
    return sum(split["subsets"][name]["data_inclusive" if inclusive else "data"] for split in splits)


def _score(numbers: dict[str, float], name: str) -> dict[str, Any]:
    row = {part: _shown(numbers[f"{part}.{name}"]) for part in ("mean", "std", "median")}
    failed = numbers["rows"] - numbers["judged"] if name == "overall" else numbers[f"null.{name}"]
    return {"name": name, **row, "null": failed, "paper": PAPER.get(f"mean.{name}", "")}


def _shown(value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3f}" if math.isfinite(value) else "–"


def _size(rows: int) -> str:
    return next((name for limit, name in SIZES if rows < limit), "10M<n<100M")


__all__ = ["ave2_card"]
