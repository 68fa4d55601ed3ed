"""Files that appear whole or not at all."""

import hashlib

import pytest

from soundclip_hf.files import read_json, replacing, sha256, write_json, write_text


def fail_while_writing(path):
    with replacing(path) as partial:
        partial.write_text("half")
        assert path.read_text() == "old"
        raise RuntimeError


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError):
        fail_while_writing(path)
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "old"
    with replacing(path) as partial:
        partial.write_text("new")
    assert path.read_text() == "new"


def test_json(tmp_path):
    path = tmp_path / "a.json"
    assert read_json(path) is None
    write_json(path, {"b": "é", "a": [1]})
    assert read_json(path) == {"a": [1], "b": "é"}
    path.write_text(path.read_text()[:-4])
    assert read_json(path) is None


def test_sha256(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(content)
    assert sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()
