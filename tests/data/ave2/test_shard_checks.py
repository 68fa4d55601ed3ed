"""A published folder against its manifest."""

import pytest
from ave2_rows import rows

from soundclip_hf.data.ave2.shard_checks import verify_shards
from soundclip_hf.data.ave2.shards import write_shards
from soundclip_hf.data.ave2.tables import files
from soundclip_hf.files import sha256

pytest.importorskip("pyarrow")


@pytest.fixture
def published(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"clip" * 1000)
    given = [row | {"media_status": "ok", "media_sha256": sha256(tmp_path / "clip.mp4")} for row in rows(12)]
    write_shards(given, tmp_path / "set", media=lambda row: tmp_path / "clip.mp4")
    return tmp_path / "set"


def test_shards_that_changed_or_went(published):
    assert verify_shards(published) == {"shards_missing": [], "shards_changed": []}
    (media,) = (published / "media").glob("*.parquet")
    content = bytearray(media.read_bytes())
    content[len(content) // 2] ^= 1
    media.write_bytes(content)
    name = f"media/{media.name}"
    assert verify_shards(published) == {"shards_missing": [], "shards_changed": [name]}
    media.unlink()
    assert verify_shards(published) == {"shards_missing": [name], "shards_changed": []}
    with pytest.raises(ValueError, match="no such file"):
        verify_shards(published / "data")


def test_unfinished_shards_do_not_count(published):
    (published / "data" / ".unfinished").mkdir()
    (published / "data" / ".unfinished" / "a.parquet").write_bytes(b"half")
    assert len(files(published)) == 1
