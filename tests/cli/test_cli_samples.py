"""`soundclip samples`: the model understands what it writes."""

import json


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


def test_a_file_in_the_way(soundclip, tmp_path):
    (tmp_path / "samples").write_text("")
    done = soundclip("samples", tmp_path / "samples")
    assert done.code == 1
    assert f"{tmp_path / 'samples'}" in done.error
