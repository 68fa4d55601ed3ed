"""Numbers against NumPy and the standard library, the paper's own sums, and tables of any kind."""

import json
import statistics as standard
import time

import numpy as np
import pytest
from ave2_rows import rows
from shared_data import shared_path

from soundclip_hf.data.ave2.schema import DIMENSIONS, SCORES, SOURCES
from soundclip_hf.data.ave2.tables import read_batches, read_rows, write_parquet
from soundclip_hf.data.ave2.validation import validate
from soundclip_hf.data.stats.statistics import COLUMNS, PAPER, statistics

pyarrow = pytest.importorskip("pyarrow")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "train.parquet"
    assert write_parquet(rows(240), path) == 240
    return path


def test_numbers_against_the_rows_themselves(table):
    given = rows(240)
    found = statistics(read_batches(table, COLUMNS)).numbers()
    judged = [row for row in given if row["overall_score"] is not None]
    assert (found["rows"], found["judged"]) == (240, len(judged))
    overall = [row["overall_score"] for row in judged]
    assert found["mean.overall"] == pytest.approx(standard.mean(overall))
    assert found["median.overall"] == pytest.approx(standard.median(overall))
    assert found["std.overall"] == pytest.approx(standard.pstdev(overall))
    assert found["above_8.overall"] == sum(score > 8 for score in overall) / len(overall)
    assert found["at_least_8.overall"] == sum(score >= 8 for score in overall) / len(overall)
    visible = [row for row in judged if row["has_visible"]]
    for name, score in zip(DIMENSIONS, SCORES):
        values = [row[score] for row in judged]
        assert found[f"mean.{name}"] == pytest.approx(standard.mean(values))
        assert found[f"median.{name}"] == standard.median(values)
        assert found[f"null.{name}"] == 24
        values = [row[score] for row in visible]
        assert found[f"visible_rows.std.{name}"] == pytest.approx(standard.pstdev(values))
        assert found[f"visible_rows.median.{name}"] == standard.median(values)
        assert found[f"visible_rows.above_8.{name}"] == sum(value > 8 for value in values) / len(values)
        assert found[f"visible_rows.at_least_8.{name}"] == sum(value >= 8 for value in values) / len(values)
    for kind, column in zip(("visible", "invisible", "silent"), SOURCES):
        names = [name for row in judged for name in row[column]]
        assert found[f"with.{kind}"] == sum(bool(row[column]) for row in judged)
        assert found[f"names.{kind}"] == len(set(names))
        assert found[f"per_segment.{kind}"] == pytest.approx(len(names) / len(judged))
    for name in {row["segment_type"] for row in judged}:
        assert found[f"type.{name}"] == sum(row["segment_type"] == name for row in judged)
    assert set(PAPER) <= set(found)


def test_the_papers_counts_agree_with_each_other():
    """Table 16 sums to the number of rows, and its rows to the three counts of section 2.2."""
    types = {name.removeprefix("type."): count for name, count in PAPER.items() if name.startswith("type.")}
    assert sum(types.values()) == PAPER["rows"]
    for kind in ("visible", "invisible", "silent"):
        named = [f"{kind}_only", "all", *(name for name in types if kind in name.split("_") and "only" not in name)]
        assert sum(types[name] for name in named) == PAPER[f"with.{kind}"]


def test_no_rows_and_failed_rows_have_no_mean():
    assert np.isnan(statistics([]).numbers()["mean.overall"])
    counted = statistics([pyarrow.RecordBatch.from_pylist([dict.fromkeys(COLUMNS)], schema=empty_schema())]).numbers()
    assert (counted["rows"], counted["judged"], counted["type.no_source"]) == (1, 0, 0)


def empty_schema():
    kinds = dict.fromkeys(SCORES, pyarrow.int8()) | dict.fromkeys(SOURCES, pyarrow.list_(pyarrow.string()))
    return pyarrow.schema(list(kinds.items()))


def test_every_kind_of_table_reads_the_same(tmp_path, table):
    given = rows(240)
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in given))
    read = [list(read_rows(path)) for path in (table, table.parent, tmp_path / "a.jsonl")]
    for each in read:
        assert list(validate(each)) == []
        assert [row["sample_id"] for row in each] == [row["sample_id"] for row in given]
        assert [row["segment_type"] for row in each] == [row["segment_type"] for row in given]
    reports = [statistics(read_batches(path, COLUMNS)).report() for path in (table, tmp_path / "a.jsonl")]
    assert json.dumps(reports[0]["histograms"]) == json.dumps(reports[1]["histograms"])
    assert reports[0]["commonest"]["silent"][0][1] >= reports[0]["commonest"]["silent"][-1][1]
    assert reports[0]["numbers"] == reports[1]["numbers"]


def test_the_published_rows():
    found = statistics(read_batches(shared_path("clips/annotations.json"), COLUMNS)).numbers()
    assert found["rows"] == found["judged"] == found["with.visible"] == 4
    assert found["mean.overall"] == pytest.approx((47 + 44 + 45 + 42) / 20)
    assert found["visible_rows.above_8.sound_source_visibility"] == 0
    assert found["visible_rows.at_least_8.sound_source_visibility"] == 1


def test_broken_tables_are_errors(tmp_path):
    for name, content, words in (
        ("a.parquet", b"no parquet", "cannot be read as Parquet"),
        ("b.csv", b"a,b", "is no .parquet"),
        ("c.jsonl", b'{"youtube_id": "a"}\n', "line 1"),
        ("d.jsonl", b'{"youtube_id": "a", "segment": 1, "temporal_alignment_score": "high"}\n', "does not fit"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=words):
            list(read_batches(tmp_path / name, COLUMNS))
    with pytest.raises(ValueError, match="no such file"):
        list(read_rows(tmp_path / "none"))
    pyarrow.parquet.write_table(pyarrow.table({"sample_id": ["a"]}), tmp_path / "e.parquet")
    with pytest.raises(ValueError, match="has no column 'temporal_alignment_score'"):
        list(read_batches(tmp_path / "e.parquet", COLUMNS))
    with pytest.raises(ValueError, match="does not fit"):
        write_parquet([rows(1)[0] | {"segment": "one"}], tmp_path / "f.parquet")
    assert not list(tmp_path.glob("*f.parquet*"))


@pytest.mark.slow
def test_the_papers_size_in_seconds():
    random = np.random.default_rng(0)
    count = int(PAPER["rows"])
    columns = {name: pyarrow.array(random.integers(0, 11, count), pyarrow.int8()) for name in SCORES}
    for name in SOURCES:
        lengths = random.integers(0, 3, count)
        offsets = pyarrow.array(np.concatenate([[0], np.cumsum(lengths)]), pyarrow.int32())
        values = pyarrow.array([f"name {number}" for number in random.integers(0, 150_000, lengths.sum())])
        columns[name] = pyarrow.ListArray.from_arrays(offsets, values)
    batches = pyarrow.table(columns).to_batches(10_000)
    start = time.process_time()  # what else the machine does counts for nothing
    found = statistics(batches).numbers()
    assert time.process_time() - start < 20
    assert found["rows"] == count
