"""One list of endings: what one command takes for a clip or a sound, every other one does."""

import os
from pathlib import Path

import pytest

from soundclip_hf.data.other_sets import folder
from soundclip_hf.media_kinds import CLIPS, PICTURES, SOUNDS, kind_of, media_files


def test_an_ending_is_of_one_kind():
    assert not SOUNDS & PICTURES
    assert not SOUNDS & CLIPS
    assert not PICTURES & CLIPS
    assert all(ending == ending.lower() and ending.startswith(".") for ending in SOUNDS | PICTURES | CLIPS)


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("a.WMA", "audio"),
        ("b.aif", "audio"),
        ("c.webp", "image"),
        ("d.3gp", "video"),
        ("http://h/e.mp3?x=1.png", "audio"),
    ],
)
def test_kind_of(source, kind):
    assert kind_of(source) == kind


def test_clips_of_a_folder_at_any_depth(tmp_path):
    names = ["a.mpg", "b.3GP", "c.mp4", "deep/d.wmv"]
    for name in [*names, "e.wav", "f.txt"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.mp4").mkdir()
    found = media_files(tmp_path, CLIPS)
    assert [str(path.relative_to(tmp_path)) for path in found.paths] == names
    assert (found.hidden, found.other, found.unnamed) == (0, 2, [])
    assert found.passed_over() == "files passed over: 2 of other kinds"
    assert len([*folder(tmp_path)]) == len(names)


def test_hidden_files_are_passed_over_and_links_followed_once(tmp_path):
    """One walker for every command: what macOS and tools leave beside the media is no clip, and a loop ends."""
    for name in ["a.mp4", "._a.mp4", ".cache/b.mp4", "deep/c.mp4", "out/d.mp4"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    elsewhere = tmp_path.with_name(f"{tmp_path.name}_elsewhere")
    elsewhere.mkdir()
    (elsewhere / "e.mp4").touch()
    (tmp_path / "link").symlink_to(elsewhere)
    (tmp_path / "deep" / "up").symlink_to(tmp_path)
    (tmp_path / "broken.mp4").symlink_to(tmp_path / "nowhere.mp4")
    found = media_files(tmp_path, CLIPS, leave_out=tmp_path / "out")
    assert [str(path.relative_to(tmp_path)) for path in found.paths] == ["a.mp4", "deep/c.mp4", "link/e.mp4"]
    assert found.hidden == 2
    assert "2 hidden" in found.passed_over()


def test_a_name_that_is_not_utf8_is_named(tmp_path):
    try:
        (tmp_path / os.fsdecode(b"caf\xe9.mp4")).touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    (tmp_path / "a.mp4").touch()
    found = media_files(tmp_path, CLIPS)
    assert [path.name for path in found.paths] == ["a.mp4"]
    assert [os.fsencode(path.name) for path in found.unnamed] == [b"caf\xe9.mp4"]
    assert "1 with names not UTF-8" in found.passed_over()


def test_a_folder_that_is_not_there():
    with pytest.raises(FileNotFoundError):
        media_files(Path("/nonexistent"), CLIPS)
