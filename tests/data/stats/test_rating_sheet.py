"""Samples for people to rate, and the sheets that come back."""

import csv
from collections import Counter
from itertools import pairwise

import pytest
from ave2_rows import rows

from soundclip_hf.data.ave2.schema import SCORES, SEGMENT_TYPES, complete
from soundclip_hf.data.ave2.tables import write_parquet
from soundclip_hf.data.stats.agreement import agreement
from soundclip_hf.data.stats.rating_sheet import SHEET_COLUMNS, read_ratings, stratified, write_sheet

pytest.importorskip("pyarrow")
SCORE = SCORES[0]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("judged") / "table.parquet"
    write_parquet(rows(400), path)
    return path


def filled(path, scores, **options):
    """What a rater, and their spreadsheet, make of a sheet."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        sheet = list(csv.DictReader(file))
    for row in sheet:
        row |= scores(row["sample_id"].lstrip("'"))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, SHEET_COLUMNS, **options)
        writer.writeheader()
        writer.writerows(sheet)


def test_every_type_gives_the_same_number(table):
    kinds = {row["sample_id"]: row["segment_type"] for row in rows(400)}
    chosen, seen = stratified(table, 5, seed=1)
    assert Counter(kinds[row["sample_id"]] for row in chosen) == dict.fromkeys(SEGMENT_TYPES.values(), 5)
    assert seen == {str(kind).lower(): count for kind, count in Counter(kinds.values()).items()}
    assert stratified(table, 5, seed=1)[0] == chosen
    assert stratified(table, 5, seed=2)[0] != chosen
    in_order = [kinds[row["sample_id"]] for row in chosen]
    assert sum(one == other for one, other in pairwise(in_order)) < 15  # 32 if they stood type by type


def test_a_type_with_few_rows_gives_all(table):
    chosen, seen = stratified(table, 1000)
    assert len(chosen) == sum(count for kind, count in seen.items() if kind != "none")
    assert len({row["sample_id"] for row in chosen}) == len(chosen)


def test_every_row_is_as_likely_as_another(tmp_path):
    given = [complete({"youtube_id": str(n), "segment": 1}) | {"segment_type": "all"} for n in range(10)]
    write_parquet(given, tmp_path / "t.parquet")
    drawn = Counter(row["youtube_id"] for seed in range(400) for row in stratified(tmp_path / "t.parquet", 3, seed)[0])
    # 120 expected of each, with a standard deviation of 9.
    assert set(drawn) == {str(n) for n in range(10)}
    assert all(80 < count < 160 for count in drawn.values()), drawn


def test_a_filled_sheet_goes_into_agreement(table, tmp_path):
    judged = {row["sample_id"]: row for row in rows(400)}
    chosen, _ = stratified(table, 5)
    sheet = tmp_path / "sheet.csv"
    write_sheet(chosen, sheet)
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        empty = list(csv.DictReader(file))
    assert tuple(empty[0]) == SHEET_COLUMNS
    assert {row[score] for row in empty for score in SCORES} == {""}
    assert read_ratings(sheet)[0] == {"sample_id": chosen[0]["sample_id"]} | dict.fromkeys(SCORES)
    assert (empty[0]["youtube_start_time"], [row["number"] for row in empty][-1]) == (
        f"{chosen[0]['youtube_start_time']:.3f}",
        "40",
    )
    filled(sheet, lambda name: {score: judged[name][score] for score in SCORES} | {SCORE: ""})
    found = agreement(read_ratings(sheet), read_ratings(table), repeats=0)
    assert found[SCORES[1]]["n"] == 40
    assert found[SCORES[1]]["kappa_quadratic"] == 1
    assert found[SCORE]["n"] == 0


def test_spreadsheets_rewrite_sheets(tmp_path):
    """Semicolons, decimal commas, and ids that look like formulas."""
    sheet = tmp_path / "sheet.csv"
    start = {"youtube_start_time": 0.0, "youtube_end_time": None}
    write_sheet(
        [{"sample_id": name, "youtube_id": name[:-3]} | start for name in ("-abc_01", "=1+1_02", "x_01")], sheet
    )
    assert "'-abc_01" in sheet.read_text(encoding="utf-8-sig")
    filled(sheet, lambda name: {SCORE: "8,0", SCORES[1]: " 3 "}, delimiter=";")
    assert [(row["sample_id"], row[SCORE], row[SCORES[1]]) for row in read_ratings(sheet)] == [
        ("-abc_01", 8, 3),
        ("=1+1_02", 8, 3),
        ("x_01", 8, 3),
    ]


@pytest.mark.parametrize("text", ["11", "-1", "7.5", "good", "nan", "inf"])
def test_a_score_that_is_none(tmp_path, text):
    sheet = tmp_path / "sheet.csv"
    write_sheet(
        [dict.fromkeys(("youtube_id", "youtube_start_time", "youtube_end_time")) | {"sample_id": "x_01"}], sheet
    )
    filled(sheet, lambda name: {SCORE: text})
    with pytest.raises(ValueError, match=f"sample_id x_01: {SCORE} is '{text}'; give a whole number from 0 to 10"):
        read_ratings(sheet)


def test_tables_that_cannot_be_used(tmp_path, table):
    (tmp_path / "other.csv").write_text("sample_id,score\n1,2\n")
    with pytest.raises(ValueError, match="has no column 'temporal_alignment_score'"):
        read_ratings(tmp_path / "other.csv")
    with pytest.raises(ValueError, match="has no column 'id'"):
        read_ratings(table, "id")
    with pytest.raises(ValueError, match="no such file"):
        read_ratings(tmp_path / "none.csv")
    write_parquet([row | {"segment_type": None} for row in rows(3)], tmp_path / "unjudged.parquet")
    with pytest.raises(ValueError, match="judge the table first"):
        stratified(tmp_path / "unjudged.parquet", 1)
