"""Files of captions: torn lines, failed samples, other settings, other files."""

import json

import pytest

from soundclip_hf.evaluation.generation.caption_files import CaptionFile, read_captions
from soundclip_hf.evaluation.judge import read_answers

SETTINGS = {"model": "m", "revision": "abc", "k": 8, "data": "1234"}
ROWS = [
    {"id": "a", "question": "?", "answer": "A bell."},
    {"id": "b", "question": "?", "error": "b: no such file"},
    {"id": "c", "question": "?", "answer": ""},
]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "captions" / "cell.jsonl"
    file = CaptionFile(path, SETTINGS)
    file.append(ROWS)
    file.close()
    return path


def test_what_is_written_is_read(path):
    captions = read_captions(path)
    assert captions.settings == SETTINGS
    assert captions.texts == {"a": "A bell.", "c": ""}
    assert captions.errors == {"b": "b: no such file"}


def test_failed_samples_are_done_again(path):
    file = CaptionFile(path, SETTINGS)
    assert file.done == {"a", "c"}
    assert read_captions(path).errors == {}
    file.append([{"id": "b", "answer": "Found."}])
    file.close()
    assert read_captions(path).texts == {"a": "A bell.", "c": "", "b": "Found."}


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_torn_last_line_is_taken_out(path, cut):
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert read_captions(path).texts == {"a": "A bell."}
    file = CaptionFile(path, SETTINGS)
    assert file.done == {"a"}
    file.append([ROWS[2]])
    file.close()
    assert read_captions(path).texts == {"a": "A bell.", "c": ""}


def test_a_torn_first_line_begins_again(path):
    path.write_bytes(path.read_bytes()[:10])
    with pytest.raises(ValueError, match="is empty, expected captions"):
        read_captions(path)
    file = CaptionFile(path, SETTINGS)
    file.close()
    assert file.done == set()
    assert path.read_bytes() == b""


def test_the_judge_reads_them(path):
    answers = read_answers([path])
    assert [answer.answer for answer in answers] == ["A bell.", "", ""]
    assert answers[0].settings == {"model": "m", "revision": "abc", "k": 8}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"revision": "def"}, "was made with revision='abc', now it is 'def'"),
        ({"k": 16}, "was made with k=8, now it is 16"),
        ({"data": "5678"}, "was made with data='1234', now it is '5678'"),
        ({"frame": "first"}, "was made with frame=None, now it is 'first'"),
    ],
)
def test_other_settings_are_not_mixed_in(path, changed, message):
    before = path.read_bytes()
    with pytest.raises(ValueError, match=message):
        CaptionFile(path, {**SETTINGS, **changed})
    assert len(path.read_bytes().splitlines()) == len(before.splitlines()) - 1  # the failed sample alone
    CaptionFile(path, SETTINGS).close()  # nobody holds its lock


def test_another_process_may_not_write(path):
    file = CaptionFile(path, SETTINGS)
    with pytest.raises(ValueError, match="another process is writing to it"):
        CaptionFile(path, SETTINGS)
    file.close()


@pytest.mark.parametrize(
    "line", ["[]", "no json", '{"id": "a", "answer": "x"}', '{"id": "a", "settings": {}}', '{"id": 1, "answer": "x"}']
)
def test_other_files_are_refused_and_stay(tmp_path, line):
    path = tmp_path / "mine.jsonl"
    path.write_text(line + "\n")
    for use in (lambda: CaptionFile(path, SETTINGS), lambda: read_captions(path)):
        with pytest.raises(ValueError, match="line 1 is no line of captions"):
            use()
    assert path.read_text() == line + "\n"


def test_captions_of_two_settings_are_not_read(path):
    with path.open("a") as file:
        file.write(json.dumps({"id": "d", "answer": "x", "settings": {**SETTINGS, "k": 9}}) + "\n")
    with pytest.raises(ValueError, match="was made with k=9, now it is 8"):
        read_captions(path)
