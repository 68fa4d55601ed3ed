"""Writes a page to look through a table of AVE-2 and its clips; it needs no server and no network."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from ...files import replacing_folder
from ..ave2.schema import DIMENSIONS, REASONS, SCORES, SEGMENT_TYPES, SOURCES
from ..ave2.tables import read_rows
from .clips import extracted, linked, parquet_with_clips

PAGE = Path(__file__).with_name("page")
CHUNK_ROWS = 500
LIMIT = 10_000
CAPTIONS = {
    "video_caption": "Picture",
    "audio_caption": "Sound",
    "environmental_audio": "Surroundings",
    "speech_content": "Speech",
}
KINDS = dict(zip(SOURCES, ("visible", "invisible", "silent")))


def write_page(
    table: str | Path,
    out: str | Path,
    *,
    media: str | Path | None = None,
    limit: int = LIMIT,
    title: str | None = None,
    progress: Callable[[Iterable[Any], int], Iterable[Any]] = lambda steps, count: steps,
) -> dict[str, Any]:
    """Write `index.html` and what it loads; open it in any browser.

    Args:
        table: As `tables.read_rows` reads it. Parquet with a `video` column brings its own clips, and so does a folder
            with `data/` and `media/`, as `shards.write_shards` makes it.
        out: A new folder; it appears whole or not at all.
        media: A folder of `<sample_id>.mp4`, which the page links to by relative paths, or Parquet with a `video`
            column, whose clips are written into the page's folder.
        limit: Rows that are shown, from the first; a browser keeps all of them in memory.
        progress: Wraps the writing of clips, as `tqdm` does; it is given them and their number.

    Returns:
        `rows`, `clips` (rows that have one), and `limited`, whether the table is longer.

    Raises:
        ValueError: `out` is there and is not empty; no rows; `media` has no clips at all.
    """
    target = Path(out)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"{target}: is there already; delete it, or give a new folder")
    if limit < 1:
        raise ValueError(f"limit={limit}: show at least one row")
    source = iter(read_rows(table))
    rows = list(islice(source, limit))
    if not rows:
        raise ValueError(f"{table}: has no rows")
    limited = next(source, None) is not None
    ids = {row["sample_id"] for row in rows}
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing_folder(target) as partial:
        links = _links(Path(table), None if media is None else Path(media), target, partial, ids, progress)
        chunks = _write_rows(rows, links, partial / "rows")
        made = {"rows": len(rows), "clips": sum(row["sample_id"] in links for row in rows), "limited": limited}
        _write_index(partial, title or Path(table).name, chunks, made)
    return made


def page_row(row: Mapping[str, Any], clip: str | None) -> dict[str, Any]:
    """What the page knows of a row; text is cut nowhere, and numbers that are none are null."""
    shown: dict[str, Any] = {
        "id": str(row["sample_id"]),
        "clip": clip,
        "status": row.get("media_status"),
        "type": row.get("segment_type"),
        "label": row.get("audio_visual_label"),
        "scores": [_number(row.get(name)) for name in (*SCORES, "overall_score")],
        "captions": [[title, str(row[name])] for name, title in CAPTIONS.items() if row.get(name)],
    }
    if any(row.get(name) for name in REASONS):
        shown["reasons"] = [row.get(name) for name in REASONS]
    return shown | {kind: [*map(str, row[name])] for name, kind in KINDS.items() if row.get(name) is not None}


def _number(value: Any) -> float | None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return round(value, 2) if number and value == value else None


def _links(
    table: Path,
    media: Path | None,
    target: Path,
    partial: Path,
    ids: set[str],
    progress: Callable[[Iterable[Any], int], Iterable[Any]],
) -> dict[str, str]:
    if media is not None and not media.exists():
        raise ValueError(f"{media}: no such folder; give the one with the clips")
    tables = parquet_with_clips(table if media is None else media)
    if tables:
        return dict(progress(extracted(tables, partial / "clips", ids), len(ids)))
    links = {} if media is None else linked(media, target, ids)
    if media is not None and not links:
        raise ValueError(f"{media}: has no clip of these rows; clips are named <sample_id>.mp4")
    return links


def _write_rows(rows: list[dict[str, Any]], links: Mapping[str, str], folder: Path) -> list[str]:
    folder.mkdir()
    names = []
    for start in range(0, len(rows), CHUNK_ROWS):
        names.append(f"{start // CHUNK_ROWS:05d}.js")
        part = [page_row(row, links.get(row["sample_id"])) for row in rows[start : start + CHUNK_ROWS]]
        # Scripts load from file://, where fetching JSON is forbidden.
        text = json.dumps(part, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
        (folder / names[-1]).write_text(f"addRows({text});\n", encoding="ascii")
    return names


def _write_index(folder: Path, title: str, chunks: list[str], made: Mapping[str, Any]) -> None:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(loader=FileSystemLoader(PAGE), autoescape=True, undefined=StrictUndefined)
    dimensions = (*DIMENSIONS, "overall")
    page = environment.get_template("index.html.jinja").render(
        title=title, chunks=chunks, types=SEGMENT_TYPES.values(), dimensions=dimensions, **made
    )
    for name in ("style.css", "view.js"):
        shutil.copyfile(PAGE / name, folder / name)
    (folder / "index.html").write_text(page, encoding="utf-8")


__all__ = ["LIMIT", "page_row", "write_page"]
