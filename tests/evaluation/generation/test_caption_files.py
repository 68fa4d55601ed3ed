"""Files of captions: torn lines, failed samples, other settings, other files."""

import json

import pytest

from soundclip_hf.evaluation.generation.caption_files import CaptionFile, read_captions

SETTINGS = {"model": "m", "revision": "abc", "k": 8, "data": "1234"}
ROWS = [{"id": "a", "caption": "A bell."}, {"id": "b", "error": "b: no such file"}, {"id": "c", "caption": ""}]


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
    file.append([{"id": "b", "caption": "Found."}])
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
    file = CaptionFile(path, SETTINGS)
    file.close()
    assert file.done == set()
    assert read_captions(path).settings == SETTINGS


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


@pytest.mark.parametrize("line", ["[]", '{"id": "a", "caption": "x"}', "no json", '{"settings": 3}'])
def test_other_files_are_refused_and_stay(tmp_path, line):
    path = tmp_path / "mine.jsonl"
    path.write_text(line + "\n")
    for use in (lambda: CaptionFile(path, SETTINGS), lambda: read_captions(path)):
        with pytest.raises(ValueError, match="line 1 is no line of captions"):
            use()
    assert path.read_text() == line + "\n"


def test_a_row_of_another_kind_is_named(path):
    with path.open("a") as file:
        file.write(json.dumps({"id": "d", "answer": "x"}) + "\n")
    with pytest.raises(ValueError, match="line 5 is no line of captions"):
        read_captions(path)


def test_a_later_format_is_refused(path):
    head, *rest = path.read_text().splitlines()
    path.write_text("\n".join([json.dumps({**json.loads(head), "format": 9}), *rest]) + "\n")
    with pytest.raises(ValueError, match="is of format 9, expected 1"):
        CaptionFile(path, SETTINGS)
