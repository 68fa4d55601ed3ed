"""Folders of tables: what counts, and that clips stay out of memory."""

import datetime

import pytest
from ave2_rows import rows

from soundclip_hf.data import Ave2
from soundclip_hf.data.ave2.schema import COLUMNS, features, stored
from soundclip_hf.data.ave2.shards import write_shards
from soundclip_hf.data.ave2.tables import files, read_batches, read_rows, replacing, write_parquet
from soundclip_hf.data.ave2.validation import validate
from soundclip_hf.files import sha256

pyarrow = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.parquet")


def test_rows_of_a_published_folder_count_once_and_come_without_clips(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"clip")
    given = [row | {"media_status": "ok", "media_sha256": sha256(tmp_path / "clip.mp4")} for row in rows(12)]
    write_shards(given, tmp_path / "set", media=lambda row: tmp_path / "clip.mp4")
    assert [path.parent.name for path in files(tmp_path / "set")] == ["data"]
    for folder in ("set", "set/media"):
        read = [*read_rows(tmp_path / folder)]
        assert [row["sample_id"] for row in read] == [row["sample_id"] for row in given]
        assert all(set(row) == set(COLUMNS) for row in read)
    assert sum(batch.num_rows for batch in read_batches(tmp_path / "set", ["sample_id"])) == 12


def test_replacing_leaves_the_old_file_when_writing_fails(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(IsADirectoryError), replacing(path) as partial:
        partial.with_name(partial.name).write_text("half") and tmp_path.write_text("no file")
    assert path.read_text() == "old"
    with replacing(path) as partial:
        partial.write_text("new")
    assert path.read_text() == "new"
    assert [*tmp_path.iterdir()] == [path]


def test_rows_are_read_in_the_formats_of_datasets(tmp_path):
    """A column that one format cannot hold would keep every row from being read."""
    datasets = pytest.importorskip("datasets")
    given = [row | {"retrieved_at": "2026-01-31T12:00:00+00:00"} for row in rows(12)]
    write_shards(given, tmp_path / "set")
    loaded = Ave2(tmp_path / "set").subset(split="train", cache_dir=tmp_path / "cache")
    assert isinstance(loaded, datasets.Dataset)
    for form in ("numpy", "torch"):
        shown = loaded.with_format(form)[0]
        assert shown["retrieved_at"] == "2026-01-31T12:00:00+00:00"
        assert int(shown["segment"]) == given[0]["segment"]


def test_earlier_tables_have_a_timestamp(tmp_path):
    """Its rows become those of today, and can be written again."""
    moment = datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC)
    schema = features().arrow_schema
    at = schema.get_field_index("retrieved_at")
    earlier = schema.set(at, pyarrow.field("retrieved_at", pyarrow.timestamp("ms", "UTC"))).remove_metadata()
    coded = [{name: stored(name, value) for name, value in row.items()} for row in rows(3)]
    table = pyarrow.Table.from_pylist([row | {"retrieved_at": moment} for row in coded], schema=earlier)
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    read = [*read_rows(tmp_path / "a.parquet")]
    assert [row["retrieved_at"] for row in read] == [moment.isoformat()] * 3
    assert not [*validate(read)]
    assert write_parquet(read, tmp_path / "b.parquet") == 3
    assert [*read_rows(tmp_path / "b.parquet")] == read
