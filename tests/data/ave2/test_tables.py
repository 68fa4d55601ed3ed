"""Folders of tables: what counts, and that clips stay out of memory."""

import pytest
from ave2_rows import rows

from soundclip_hf.data.ave2.schema import COLUMNS
from soundclip_hf.data.ave2.shards import write_shards
from soundclip_hf.data.ave2.tables import files, read_batches, read_rows, replacing
from soundclip_hf.files import sha256

pytest.importorskip("pyarrow")


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
