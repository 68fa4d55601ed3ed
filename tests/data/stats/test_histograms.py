"""The picture of the scores: it shows what the report says, and appears whole or not at all."""

import json
import shutil

import numpy as np
import pytest
from ave2_rows import rows
from PIL import Image

from soundclip_hf.data.ave2.tables import read_batches, write_parquet
from soundclip_hf.data.stats.histograms import BARS, draw_histograms
from soundclip_hf.data.stats.statistics import COLUMNS, statistics

pytest.importorskip("matplotlib")
pytest.importorskip("pyarrow")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    table = tmp_path_factory.mktemp("table") / "t.parquet"
    write_parquet(rows(200), table)
    return json.loads(json.dumps(statistics(read_batches(table, COLUMNS)).report()))


def test_it_draws_what_json_says(report, tmp_path):
    draw_histograms(report, tmp_path / "a.svg", "table <t>")
    text = (tmp_path / "a.svg").read_text()
    assert "<svg" in text
    assert text.count(f"fill: {BARS}") == 5 * 11 + 51
    draw_histograms(report, tmp_path / "a.png", "a name that is long " * 12)
    draw_histograms(report, tmp_path / "a.pdf", "t")
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    assert {path.name for path in tmp_path.iterdir()} == {"a.svg", "a.png", "a.pdf"}
    with Image.open(tmp_path / "a.png") as picture:
        pixels = np.asarray(picture.convert("L"))
    # Nothing is cut off: the edge is blank, also under the long title.
    assert all((edge == 255).all() for edge in (pixels[:3], pixels[-3:], pixels[:, :3], pixels[:, -3:]))
    assert (pixels < 250).mean() > 0.02


def test_bars_follow_the_counts(report, tmp_path):
    """All rows at score 10: the picture of the first panel has one bar, at its right end."""
    counts = {name: [0] * (len(values) - 1) + [7] for name, values in report["histograms"].items()}
    draw_histograms({"numbers": {"rows": 7}, "histograms": counts}, tmp_path / "a.png", "t")
    with Image.open(tmp_path / "a.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    wanted = [int(BARS[place : place + 2], 16) for place in (1, 3, 5)]
    first = pixels[: pixels.shape[0] // 2, : pixels.shape[1] // 3]
    columns = np.flatnonzero((abs(first - wanted).sum(-1) < 12).any(0))
    assert columns.min() > 0.8 * first.shape[1]


def test_reports_without_anything_to_draw(report, tmp_path):
    with pytest.raises(ValueError, match=r"a picture is a \.png"):
        draw_histograms(report, tmp_path / "a.txt", "t")
    with pytest.raises(ValueError, match="no histogram of temporal_alignment"):
        draw_histograms({}, tmp_path / "a.png", "t")
    empty = {name: [0] * len(values) for name, values in report["histograms"].items()}
    with pytest.raises(ValueError, match="nothing to draw"):
        draw_histograms(report | {"histograms": empty}, tmp_path / "a.png", "t")
    with pytest.raises(FileNotFoundError):
        draw_histograms(report, tmp_path / "none" / "a.png", "t")
    shutil.rmtree(tmp_path / "none", ignore_errors=True)
    assert not list(tmp_path.iterdir())
