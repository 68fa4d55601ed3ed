"""`soundclip ave2 coverage`: clips in folders and in archives, of tables of any set."""

import tarfile

import pytest
from media_files import tone, write_media

from soundclip_hf.data.other_sets.manifest import AVManifest, Entry
from soundclip_hf.data.other_sets.manifest_files import read_manifest


@pytest.fixture
def folder(tmp_path):
    media = tmp_path / "media"
    media.mkdir()
    for number in (1, 2):
        write_media(
            media / f"vid{number}_000030.mp4",
            video="mpeg4",
            audio="aac" if number == 1 else None,
            samples=tone(3.2, 16000),
            rate=16000,
            fps=5,
        )
    table = "".join(f'vid{number},30,"a, b",test\n' for number in range(1, 5))
    (tmp_path / "vggsound.csv").write_text(table)
    return tmp_path


def test_a_folder_and_the_subset_that_is_left(soundclip, folder):
    (folder / "gone.csv").write_text("youtube_id,media_status\nvid3,private\n")
    arguments = ["vggsound", folder / "vggsound.csv", "--media", folder / "media", "--known", folder / "gone.csv"]
    outcome = soundclip("ave2", "coverage", *arguments, "--subset", folder / "ok.jsonl", "--json")
    assert outcome.code == 0, outcome.stderr
    report = outcome.rows[0]
    assert (report["total"], report["ok"], report["no_audio"], report["private"], report["missing"]) == (4, 1, 1, 1, 1)
    left = read_manifest(folder / "ok.jsonl")
    assert [entry.sample_id for entry in left] == ["vid1_000030"]
    assert report["ok_sha256"] == left.fingerprint()
    assert left.fingerprint() == AVManifest("any", (Entry("vid1_000030", "x"),)).fingerprint()
    text = soundclip("ave2", "coverage", *arguments).stdout
    assert "25.0%" in text
    assert left.fingerprint() in text


def test_archives_with_damage(soundclip, folder):
    (folder / "tars").mkdir()
    with tarfile.open(folder / "tars" / "a.tar.gz", "w:gz") as archive:
        for path in sorted((folder / "media").iterdir()):
            archive.add(path, path.name)
    (folder / "tars" / "b.tar.gz").write_bytes(b"cut")
    arguments = ["vggsound", folder / "vggsound.csv", "--media", folder / "tars", "--json"]
    outcome = soundclip("ave2", "coverage", *arguments)
    assert outcome.code == 0, outcome.stderr
    assert (outcome.rows[0]["ok"], outcome.rows[0]["no_audio"], outcome.rows[0]["missing"]) == (1, 1, 2)
    assert outcome.rows[0]["damaged"][0].startswith("b.tar.gz: breaks off after 0 clips")
    assert "damaged: b.tar.gz" in outcome.stderr


def test_plain_tables_and_folders(soundclip, folder):
    (folder / "t.csv").write_text("path\nvid1_000030.mp4\nnone.mp4\n")
    report = soundclip("ave2", "coverage", "table", folder / "t.csv", "--media", folder / "media", "--json").rows[0]
    assert (report["ok"], report["missing"]) == (1, 1)
    report = soundclip("ave2", "coverage", "folder", folder / "media", "--json").rows[0]
    assert (report["ok"], report["no_audio"]) == (1, 1)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["kinetics", "{}/vggsound.csv"], 2, "kinetics: is none of ave"),
        (["vggsound", "{}/vggsound.csv"], 2, "--media is missing"),
        (["vggsound", "{}/none.csv", "--media", "{}"], 1, "none.csv: no such file"),
        (["vggsound", "{}/vggsound.csv", "--media", "{}/none"], 1, "is no folder"),
        (["vggsound", "{}/vggsound.csv", "--media", "{}/media", "--known", "{}/vggsound.csv"], 2, "'youtube_id'"),
    ],
)
def test_bad_input_is_one_line(soundclip, folder, arguments, code, words):
    outcome = soundclip("ave2", "coverage", *[argument.format(folder) for argument in arguments])
    assert (outcome.code, words in outcome.error) == (code, True), outcome.stderr


def test_nothing_there_is_a_failure(soundclip, folder):
    (folder / "empty").mkdir()
    outcome = soundclip("ave2", "coverage", "vggsound", folder / "vggsound.csv", "--media", folder / "empty", "--json")
    assert (outcome.code, outcome.rows[0]["missing"]) == (1, 4)
