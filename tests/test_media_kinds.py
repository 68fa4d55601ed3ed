"""One list of endings: what one command takes for a clip or a sound, every other one does."""

import pytest

from soundclip_hf.data.other_sets import folder
from soundclip_hf.media_kinds import CLIPS, PICTURES, SOUNDS, clips_in, kind_of


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
    assert sorted(str(path.relative_to(tmp_path)) for path in clips_in(tmp_path)) == names
    assert len([*folder(tmp_path)]) == len(names)
