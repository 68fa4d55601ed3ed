"""`soundclip samples`: the model understands what it writes."""

import json

import pytest


def test_one_picture_and_three_sounds(soundclip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (row,) = soundclip("samples", "samples", "--count", 1, "--json").rows
    assert len(row["files"]) == 7
    told = soundclip("samples", "samples", "--count", 1)
    assert told.stdout == "7 files in samples\n"
    assert "soundclip describe samples/scene.png samples/piano.wav" in told.stderr
    answers = [soundclip("describe", "samples/scene.png", f"samples/{kind}.wav").stdout for kind in ("piano", "clock")]
    assert answers == ["The piano.\n", "The clock.\n"]
    done = soundclip("describe", "--manifest", "samples/clips.jsonl", "--out", "answers.jsonl")
    assert done.code == 0
    assert json.loads((tmp_path / "answers.jsonl").read_text())["id"] == "boat-0"


@pytest.mark.parametrize("place", ["file", "file/below", "folder"])
def test_a_file_in_the_way(soundclip, tmp_path, place):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "clips").write_text("")
    done = soundclip("samples", tmp_path / place)
    assert done.code in (1, 2)
    assert f"{tmp_path / place}" in done.error
    assert "name a" in done.error
    assert (tmp_path / "file").read_text() == ""


def test_edited_questions_are_lost_with_overwrite_only(soundclip, tmp_path):
    assert soundclip("samples", tmp_path, "--count", 1).code == 0
    questions = tmp_path / "questions.jsonl"
    questions.write_text("{}\n")
    done = soundclip("samples", tmp_path, "--count", 1)
    assert done.code == 1
    assert done.error == (
        f"error: {tmp_path}: has questions.jsonl with other content; choose another folder, or --overwrite to lose them"
    )
    assert questions.read_text() == "{}\n"
    assert soundclip("samples", tmp_path, "--count", 1, "--overwrite").code == 0
    assert len(questions.read_text().splitlines()) == 3
