"""Sample files: what is written, that it can be read, and that it is the same each time."""

import json

import numpy as np
import pytest
from PIL import Image

from soundclip_hf.data.synthetic.sample_files import PICTURE_SCENE, write_sample_files
from soundclip_hf.data.synthetic.scenes import FIRST_TEST, scene
from soundclip_hf.media import load_sound, read_clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("samples")
    written = list(write_sample_files(made, 3))
    assert sorted(written) == sorted(path for path in made.rglob("*") if path.is_file())
    return made


def test_clips_show_and_play_what_their_name_says(folder):
    clips = sorted((folder / "clips").iterdir())
    assert [path.name for path in clips] == ["bird-2.mp4", "boat-0.mp4", "cat-3.mp4"]
    for path in clips:
        kind, number = path.stem.split("-")
        shown = scene(FIRST_TEST + int(number))
        assert shown.sources == (kind,)
        assert kind in {thing.kind for thing in shown.things}
        clip = read_clip(path, sampling_rate=16000)
        assert len(clip.waveform) == pytest.approx(48000, abs=2048)
        assert np.abs(np.asarray(clip.frame, float) - shown.picture).mean() < 12


def test_the_picture_has_a_sound_for_each_thing(folder):
    things = {thing.kind for thing in scene(PICTURE_SCENE).things}
    assert {path.stem for path in folder.glob("*.wav")} == things
    assert np.array_equal(np.asarray(Image.open(folder / "scene.png")), scene(PICTURE_SCENE).picture)
    sounds = [load_sound(folder / f"{kind}.wav", sampling_rate=16000) for kind in sorted(things)]
    assert all(sound.shape == (48000,) and np.abs(sound).max() > 0.05 for sound in sounds)
    assert not np.array_equal(sounds[0], sounds[1])


def test_lines_name_files_that_are_there(folder):
    clips = [json.loads(line) for line in (folder / "clips.jsonl").read_text().splitlines()]
    rows = [json.loads(line) for line in (folder / "questions.jsonl").read_text().splitlines()]
    assert len(clips) == 3
    assert len(rows) == 9
    assert all((folder / row["video"]).is_file() for row in clips + rows)
    assert rows[0] == {"video": "clips/boat-0.mp4", "question": "What makes the sound?", "answer": "The boat."}


def test_a_second_run_writes_the_same(folder, tmp_path):
    for path in list(write_sample_files(tmp_path, 1)):
        assert path.name.endswith(".jsonl") or path.read_bytes() == (folder / path.relative_to(tmp_path)).read_bytes()


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_more_clips_come_beside_those_of_an_earlier_run(folder, tmp_path):
    list(write_sample_files(tmp_path, 1))
    (tmp_path / "clips" / "mine-1.mp4").write_text("of the user")
    list(write_sample_files(tmp_path, 3))
    assert contents(tmp_path) == contents(folder) | {"clips/mine-1.mp4": b"of the user"}


@pytest.mark.parametrize("name", ["questions.jsonl", "scene.png", "clips/boat-0.mp4"])
def test_a_file_that_was_changed_is_not_lost(folder, tmp_path, name):
    list(write_sample_files(tmp_path, 1))
    (tmp_path / name).write_bytes(b"edited")
    before = contents(tmp_path)
    with pytest.raises(FileExistsError, match=f"has {name} with other content; choose another folder, or overwrite=Tr"):
        list(write_sample_files(tmp_path, 3))
    assert contents(tmp_path) == before
    list(write_sample_files(tmp_path, 3, overwrite=True))
    assert contents(tmp_path) == contents(folder)


def test_clips_of_a_larger_run_are_named_or_removed(folder, tmp_path):
    list(write_sample_files(tmp_path, 3))
    names = ("boat-1.mp4", "cat-3-mine.mp4", "dog-99999999999999999999.mp4")
    others = {f"clips/{name}": b"no scene has this name" for name in names}
    for name, content in others.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(FileExistsError, match=r"clips/bird-2\.mp4, clips/cat-3\.mp4 of an earlier run with more clips"):
        list(write_sample_files(tmp_path, 1))
    assert contents(tmp_path) == contents(folder) | others
    list(write_sample_files(tmp_path, 1, overwrite=True))
    assert {path.name for path in (tmp_path / "clips").iterdir()} == {"boat-0.mp4", *names}


def test_a_run_that_is_stopped_leaves_nothing_half_made(tmp_path):
    run = write_sample_files(tmp_path, 2)
    next(run)
    run.close()
    assert contents(tmp_path) == {}


def test_at_least_one_clip(tmp_path):
    with pytest.raises(ValueError, match="count=0: write at least one clip"):
        list(write_sample_files(tmp_path / "new", 0))
    assert not (tmp_path / "new").exists()
