"""`soundclip space`: it writes a folder once, and says how to upload it."""

import pytest

pytest.importorskip("gradio")


def test_a_space_is_written_once(soundclip, tmp_path):
    folder = tmp_path / "my-space"
    (row,) = soundclip("space", folder, "--json").rows
    assert row["upload"] == f"hf upload YOUR_NAME/my-space {folder} . --repo-type space"
    assert {*row["files"]} == {str(path) for path in folder.rglob("*") if path.is_file()}
    (folder / "mine.txt").write_text("mine")
    (folder / "app.py").write_text("print()")
    again = soundclip("space", folder)
    assert again.code == 1
    assert again.error == f"error: {folder}: is not empty; choose another folder, or add --overwrite"
    assert (folder / "app.py").read_text() == "print()"
    done = soundclip("space", folder, "org/model", "--overwrite")
    assert done.code == 0, done.stderr
    assert "hf upload YOUR_NAME/my-space" in done.stderr
    assert "'org/model'" in (folder / "app.py").read_text()
    assert (folder / "mine.txt").read_text() == "mine"


def test_what_no_space_can_show(soundclip, tmp_path):
    done = soundclip("space", tmp_path / "s", str(tmp_path))
    assert done.code == 2
    assert "publish it with `soundclip push`" in done.error
    (tmp_path / "file").write_text("")
    assert soundclip("space", tmp_path / "file").code == 2
