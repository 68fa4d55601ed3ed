"""Finding a user's files, and saying what is missing."""

import json
from dataclasses import replace

import pytest
from media_files import tone, write_media

from soundclip_hf.data.other_sets import readers as other_sets
from soundclip_hf.data.other_sets.manifest import AVManifest, Entry, probe


def clip(path, seconds=3.2, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"audio": "aac", "samples": tone(seconds, 16000), "rate": 16000} | options
    return write_media(path, video="mpeg4", fps=5, frames=None, **options)


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    root = tmp_path_factory.mktemp("media")
    clip(root / "a" / "vid1_000030.mp4")
    clip(root / "vid2.mp4")
    clip(root / "b" / "vid3_30.mp4", audio=None)
    (root / "vid4_30000_40000.mp4").write_bytes(b"no media")
    clip(root / "vid5_30.mp4", seconds=1.0)
    (root / "notes.txt").write_text("vid6")
    return root


def entry(number, start=30.0):
    return Entry(f"row{number}", f"vid{number}", start, None if start is None else start + 10)


def test_files_are_found_by_any_of_their_names(media):
    manifest = AVManifest("set", tuple(entry(number) for number in range(1, 8)))
    found = manifest.resolve(media, known={"vid7": "private"})
    assert [e.media_status for e in found] == [
        "ok",
        "too_short",  # a whole video of 3 seconds has nothing from second 30 on
        "no_audio",
        "decode_error",
        "ok",
        "missing",
        "private",
    ]
    assert [e.path and e.path.name for e in found.entries[:2]] == ["vid1_000030.mp4", "vid2.mp4"]
    assert [e.offset for e in found.entries[:2]] == [0.0, 30.0]
    report = found.coverage()
    assert report["total"] == report["videos"] == 7
    assert report["ok_share"] == 2 / 7
    assert sum(report[status] for status in ("ok", "too_short", "no_audio", "decode_error", "missing", "private")) == 7
    assert [e.sample_id for e in found.available()] == ["row1", "row5"]
    assert [e.media_status for e in manifest.resolve(media, probe=False)] == ["ok"] * 5 + ["missing"] * 2


def test_an_excerpt_of_unknown_offset_is_the_file_itself(media):
    (found,) = AVManifest("ave", (replace(entry(2, None), event=(0.0, 2.0)),)).resolve(media)
    assert (found.media_status, found.offset, found.path.name) == ("ok", 0.0, "vid2.mp4")


def test_a_plain_folder(media):
    manifest = other_sets.folder(media)
    assert {e.sample_id: e.media_status for e in manifest} == {
        "a/vid1_000030": "ok",
        "b/vid3_30": "no_audio",
        "vid2": "ok",
        "vid4_30000_40000": "decode_error",
        "vid5_30": "ok",
    }
    assert len(json.dumps(list(manifest.rows()))) > 100


def test_probe(media, tmp_path):
    assert probe(tmp_path / "none.mp4") == "missing"
    assert probe(media / "vid2.mp4") == "ok"
    assert probe(media / "vid2.mp4", start=0.5) == "too_short"


def test_wrong_arguments(media, tmp_path):
    manifest = AVManifest("set", (entry(1),))
    with pytest.raises(ValueError, match="is no folder"):
        manifest.resolve(tmp_path / "none")
    with pytest.raises(ValueError, match="'lost' is none of ok"):
        manifest.resolve(media, known={"vid1": "lost"})
    with pytest.raises(ValueError, match="more than once"):
        AVManifest("set", (entry(1), entry(1)))
    with pytest.raises(ValueError, match="no video files"):
        other_sets.folder(tmp_path)
    with pytest.raises(ValueError, match="is no folder"):
        other_sets.folder(tmp_path / "none")
