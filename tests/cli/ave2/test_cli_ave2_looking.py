"""`soundclip ave2 stats --plot`, `sample` and `agreement` of several raters."""

import csv
import json

import pytest
from ave2_rows import rows

from soundclip_hf.data.ave2.schema import SCORES
from soundclip_hf.data.ave2.shards import write_shards
from soundclip_hf.data.ave2.tables import write_parquet
from soundclip_hf.data.stats.rating_sheet import SHEET_COLUMNS
from soundclip_hf.files import sha256

pytest.importorskip("pyarrow")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("judged") / "table.parquet"
    write_parquet(rows(120), path)
    return path


def test_stats_draws_and_leaves_the_numbers(soundclip, table, tmp_path):
    pytest.importorskip("matplotlib")
    outcome = soundclip("ave2", "stats", table, "--plot", tmp_path / "scores.png", "--json")
    assert outcome.code == 0, outcome.stderr
    assert json.loads((tmp_path / "scores.json").read_text()) == outcome.rows[0]
    assert (tmp_path / "scores.png").read_bytes().startswith(b"\x89PNG")
    assert "scores.png" in outcome.stderr
    wrong = soundclip("ave2", "stats", table, "--plot", tmp_path / "scores.txt")
    assert (wrong.code, "a picture is a .png" in wrong.error) == (1, True)


def test_sample_fill_in_compare(soundclip, table, tmp_path):
    sheet = tmp_path / "sheet.csv"
    outcome = soundclip("ave2", "sample", table, "--out", sheet, "--per-type", 3, "--seed", 4, "--json")
    assert outcome.code == 0, outcome.stderr
    assert (outcome.rows[0]["rows"], outcome.rows[0]["table"]["all"]) == (24, 15)
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        drawn = list(csv.DictReader(file))
    raters = []
    for number in range(2):
        path = tmp_path / f"rater{number}.csv"
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, SHEET_COLUMNS)
            writer.writeheader()
            writer.writerows(row | dict.fromkeys(SCORES, (place + number) % 11) for place, row in enumerate(drawn))
        raters.append(path)
    two = soundclip("ave2", "agreement", raters[0], table, "--repeats", 20, "--json")
    assert [row["score"] for row in two.rows] == list(SCORES)
    assert two.rows[0]["n"] == 24
    three = soundclip("ave2", "agreement", *raters, table, "--repeats", 20, "--json")
    assert three.rows[0]["given"] == [24, 24, 24]
    assert three.rows[0]["pairs"][0]["exact"] == 0
    low, high = three.rows[0]["alpha_ordinal_ci"]
    assert low <= three.rows[0]["alpha_ordinal"] <= high
    text = soundclip("ave2", "agreement", *raters, table, "--repeats", 20).stdout
    assert f"alpha {three.rows[0]['alpha_ordinal']:.4f} ({low:.4f} to {high:.4f})" in text


def test_an_empty_sheet_agrees_with_nobody(soundclip, table, tmp_path):
    sheet = tmp_path / "sheet.csv"
    soundclip("ave2", "sample", table, "--out", sheet, "--per-type", 1)
    outcome = soundclip("ave2", "agreement", sheet, table)
    assert (outcome.code, outcome.stdout) == (1, "")
    assert outcome.stderr.count("no row has two ratings") == len(SCORES)


def test_clips_that_were_not_looked_at_are_not_called_whole(soundclip, table):
    assert "media_missing" not in soundclip("ave2", "verify", table).stdout


def test_sample_says_which_types_are_rare(soundclip, table, tmp_path):
    outcome = soundclip("ave2", "sample", table, "--out", tmp_path / "sheet.csv", "--per-type", 100)
    assert outcome.code == 0
    assert "warning: all:" in outcome.stderr
    assert "of 100 rows" in outcome.stderr


def test_wrong_arguments(soundclip, table, tmp_path):
    one = soundclip("ave2", "agreement", table)
    assert (one.code, "needs two or more tables" in one.error) == (2, True)
    sheet = soundclip("ave2", "sample", table, "--out", tmp_path / "sheet.xlsx")
    assert (sheet.code, "a sheet is a .csv file" in sheet.error) == (2, True)
    key = soundclip("ave2", "agreement", table, table, "--key", "id")
    assert (key.code, "has no column 'id'" in key.error) == (1, True)


def test_a_file_of_something_else_is_told_what_is_wanted(soundclip, tmp_path):
    (tmp_path / "clips.jsonl").write_text('{"id": "boat-0", "video": "clips/boat-0.mp4"}\n')
    done = soundclip("ave2", "view", tmp_path / "clips.jsonl", "--out", tmp_path / "page")
    assert done.code == 1
    assert "clips.jsonl, line 1: column 'id' is not in the schema of AVE-2" in done.error
    assert "such as segments.jsonl of `soundclip ave2 segment`" in done.error


def test_view(soundclip, table, tmp_path):
    outcome = soundclip("ave2", "view", table, "--out", tmp_path / "page", "--limit", 50, "--json")
    assert outcome.code == 0, outcome.stderr
    page = tmp_path / "page" / "index.html"
    assert outcome.rows == [{"rows": 50, "clips": 0, "limited": True, "page": str(page)}]
    assert "first 50 rows only" in outcome.stderr
    assert "<title>table.parquet</title>" in page.read_text()
    again = soundclip("ave2", "view", table, "--out", tmp_path / "page")
    assert (again.code, "is there already" in again.error) == (1, True)


def test_verify_checks_shards_against_their_manifest(soundclip, tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"clip" * 1000)
    clip = {"media_status": "ok", "media_sha256": sha256(tmp_path / "clip.mp4")}
    write_shards([row | clip for row in rows(12)], tmp_path / "set", media=lambda row: tmp_path / "clip.mp4")
    outcome = soundclip("ave2", "verify", tmp_path / "set", "--json")
    assert outcome.code == 0, outcome.stdout
    assert (outcome.rows[0]["rows"], outcome.rows[0]["shards_changed"]) == (12, [])
    (media,) = (tmp_path / "set" / "media").glob("*.parquet")
    media.write_bytes(media.read_bytes().replace(b"clip", b"clop", 1))
    outcome = soundclip("ave2", "verify", tmp_path / "set", "--json")
    assert (outcome.code, outcome.rows[0]["shards_changed"]) == (1, [f"media/{media.name}"])
    assert f"media/{media.name}: changed, by the manifest" in outcome.stderr
    media.unlink()
    outcome = soundclip("ave2", "verify", tmp_path / "set")
    assert (outcome.code, f"shards_missing  ['media/{media.name}']" in outcome.stdout) == (1, True)
    (data,) = (tmp_path / "set" / "data").glob("*.parquet")
    data.write_bytes(data.read_bytes()[:100])
    outcome = soundclip("ave2", "verify", tmp_path / "set")
    assert (outcome.code, "cannot be read as Parquet" in outcome.error) == (1, True)
    assert f"data/{data.name}: changed" in outcome.stderr
