"""Outputs of the commands that measure: one that cannot be written is told before anything is measured."""

import pytest

FILES = {
    "audit": "audit --out {}.json",
    "retrieval": "eval retrieval --data synthetic --out {}.json",
    "cache": "eval retrieval --data synthetic --out r.json --cache {}.json",
    "geometry": "eval geometry --data synthetic --out {}.json",
    "overlay": "eval overlay --out {}.png",
    "plot": "eval plot ranks nothing.json --out {}.png",
    "tradeoff": "tradeoff --paper --plot {}.png",
}
FOLDERS = {
    "generation": "eval generation --data synthetic --out {}",
    "judge": "eval judge a.jsonl --server http://127.0.0.1:9/v1 --judge-model m --out {}",
    "suite": "eval suite --config eval/tiny --out {}",
    "table1": "reproduce table1 --data synthetic --out {}",
}


def words(command, place):
    return [word.format(place) for word in command.split()]


@pytest.mark.parametrize("command", [*FILES.values(), *FOLDERS.values()], ids=[*FILES, *FOLDERS])
def test_below_a_file(soundclip, tmp_path, command):
    (tmp_path / "text").write_text("a file")
    done = soundclip(*words(command, tmp_path / "text" / "x"))
    assert done.code == 1
    assert f"{tmp_path / 'text'} is a file and can hold no files; name another place" in done.error
    assert done.stdout == ""
    assert (tmp_path / "text").read_text() == "a file"


@pytest.mark.parametrize("command", FILES.values(), ids=list(FILES))
def test_a_folder_in_place_of_a_file(soundclip, tmp_path, command):
    for ending in (".json", ".png"):
        (tmp_path / f"x{ending}").mkdir()
    done = soundclip(*words(command, tmp_path / "x"))
    assert done.code == 2
    assert "is a folder; name a file" in done.error


@pytest.mark.parametrize("command", FOLDERS.values(), ids=list(FOLDERS))
def test_a_file_in_place_of_a_folder(soundclip, tmp_path, command):
    (tmp_path / "text").write_text("a file")
    done = soundclip(*words(command, tmp_path / "text"))
    assert done.code == 2
    assert f"--out {tmp_path / 'text'}: is a file; name a folder" in done.error


@pytest.mark.parametrize("option", ["--alignments", "--alphas", "--top-k", "--patches", "--metrics"])
def test_lists_without_a_value(soundclip, tmp_path, option):
    done = soundclip("eval", "generation", "--data", "synthetic", "--out", tmp_path / "g", option, ",")
    assert done.code == 2
    assert f"{option} ',': holds no value" in done.error
