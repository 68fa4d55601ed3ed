"""Which files of a command line, and which fields of a manifest, belong together."""

import json

import pytest

from soundclip_hf.cli.describe.items import items_of_arguments, read_manifest
from soundclip_hf.cli.output import CliError, UsageError
from soundclip_hf.media_kinds import kind_of


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("a.mp4", "video"),
        ("a.WAV", "audio"),
        ("a.b.jpeg", "image"),
        ("noending", "video"),
        ("https://host.org/x/siren.ogg?token=1.mp4", "audio"),
        ("https://host.org/street.jpg", "image"),
    ],
)
def test_kind_of(source, kind):
    assert kind_of(source) == kind


@pytest.mark.parametrize(
    ("sources", "media"),
    [
        (["a.mp4"], [{"video": "a.mp4"}]),
        (["a.mp4", "b.mp4"], [{"video": "a.mp4"}, {"video": "b.mp4"}]),
        (["s.jpg", "s.wav"], [{"image": "s.jpg", "audio": "s.wav"}]),
        (["a.mp4", "s.wav"], [{"video": "a.mp4", "audio": "s.wav"}]),
        (
            ["a.mp4", "s.jpg", "s.wav", "b.mp4"],
            [{"video": "a.mp4"}, {"image": "s.jpg", "audio": "s.wav"}, {"video": "b.mp4"}],
        ),
        (["s.jpg", "t.jpg"], [{"image": "s.jpg"}, {"image": "t.jpg"}]),
        (["s.wav", "t.wav"], [{"audio": "s.wav"}, {"audio": "t.wav"}]),
        (["s.wav", "a.mp4"], [{"audio": "s.wav"}, {"video": "a.mp4"}]),
        (["s.wav", "s.jpg", "t.wav"], [{"audio": "s.wav"}, {"image": "s.jpg", "audio": "t.wav"}]),
    ],
)
def test_a_sound_belongs_to_what_is_right_before_it(sources, media):
    items = items_of_arguments(sources)
    assert [item.media for item in items] == media
    assert [item.id for item in items] == ["+".join(part.values()) for part in media]


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (["s.jpg", "s.wav", "t.wav"], "t.wav: s.wav is already the sound of s.jpg"),
        (["a.mp4", "s.wav", "t.wav"], "t.wav: s.wav is already the sound of a.mp4"),
        (["s.wav", "s.jpg"], "does s.wav belong to s.jpg"),
    ],
)
def test_what_could_mean_two_things_is_refused(sources, message):
    with pytest.raises(UsageError, match=message) as caught:
        items_of_arguments(sources)
    assert "--manifest" in str(caught.value)


def test_the_same_file_twice_has_two_ids():
    assert [item.id for item in items_of_arguments(["a.mp4", "a.mp4"])] == ["a.mp4", "a.mp4#2"]


def test_manifest_lines(tmp_path):
    lines = [
        {"id": "x", "video": "a.mp4", "question": "Why?", "caption": "ignored"},
        {"image": "s.jpg", "audio": "sub/s.wav"},
        {"id": 7, "path": "/elsewhere/s.flac"},
        {"id": "line separator \u2028", "video": "https://host.org/b.mp4"},
    ]
    manifest = tmp_path / "clips.jsonl"
    text = "\n\n".join(json.dumps(line, ensure_ascii=False) for line in lines) + "\n"
    manifest.write_text(text + 'no json\n[1]\n{"id": "y"}\n{"id": "z", "video": 3}\n', encoding="utf-8")
    items = read_manifest(manifest)
    assert [item.id for item in items[:4]] == ["x", "s.jpg+sub/s.wav", "7", "line separator \u2028"]
    assert items[0].question == "Why?"
    assert items[0].media == {"video": "a.mp4"}
    assert [item.locate(next(iter(item.media.values()))) for item in items[:4]] == [
        str(tmp_path / "a.mp4"),
        str(tmp_path / "s.jpg"),
        "/elsewhere/s.flac",
        "https://host.org/b.mp4",
    ]
    for item, words in zip(
        items[4:], ("line 8: is no JSON", "not a JSON object", "no media", "'video' is 3"), strict=True
    ):
        assert words in (item.error or "")


def test_manifests_that_cannot_be_used(tmp_path):
    manifest = tmp_path / "clips.jsonl"
    with pytest.raises(CliError, match="No such file"):
        read_manifest(manifest)
    manifest.write_text("\n")
    with pytest.raises(CliError, match="is empty"):
        read_manifest(manifest)
    manifest.write_text('{"id": "a", "video": "a.mp4"}\n{"id": "a", "video": "b.mp4"}\n')
    with pytest.raises(CliError, match="lines 1 and 2 have the same id 'a'"):
        read_manifest(manifest)
    manifest.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CliError, match="is UTF-16 text; save it as UTF-8"):
        read_manifest(manifest)
