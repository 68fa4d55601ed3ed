"""Samples: every kind of source gives the same scenes, in order, with what is known about them."""

import json
import os
import wave

import numpy as np
import pytest
from PIL import Image
from synthetic_ave2 import write_ave2

from soundclip_hf.data.ave2.tables import read_rows
from soundclip_hf.data.synthetic import FIRST_TEST, RATE, scene
from soundclip_hf.evaluation.samples import Samples, open_samples, read_sample
from soundclip_hf.evaluation.samples.sample import Sample
from soundclip_hf.media import MediaError


@pytest.fixture(scope="module")
def ave2(tmp_path_factory):
    root = tmp_path_factory.mktemp("ave2")
    write_ave2(root / "shards", root / "clips", train=3, test=2)
    return root


def write_wav(path, sound, rate=RATE):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes((sound * 32767).astype("<i2").tobytes())


def test_synthetic_scenes_are_those_that_the_bundled_model_has_not_met():
    found = open_samples("synthetic", limit=4)
    assert len(found) == 4
    for sample in found:
        shown = scene(sample.scene)
        assert shown.number >= FIRST_TEST
        assert shown.sounding
        assert sample.row["visible_active_sources"] == [shown.things[place].kind for place in shown.sounding]
    media = read_sample(found[0], sampling_rate=RATE)
    np.testing.assert_array_equal(np.asarray(media.picture), scene(found[0].scene).picture)
    np.testing.assert_array_equal(media.sound, scene(found[0].scene).sound)


def test_every_form_of_a_data_set_gives_the_same_samples(ave2, tmp_path):
    """Shards, a table with a folder of media, a table that names its media, and the folder of clips."""
    shards = open_samples(ave2 / "shards", split="train")
    rows = [row for row in read_rows(ave2 / "shards") if row["split"] == "train"]
    table = tmp_path / "rows.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    beside = open_samples(table, media=ave2 / "clips")
    named = tmp_path / "named.jsonl"
    clips = [{"id": row["sample_id"], "video": f"{ave2 / 'clips' / row['sample_id']}.mp4"} for row in rows]
    named.write_text("".join(json.dumps(row) + "\n" for row in clips))
    folder = open_samples(ave2 / "clips", limit=3)
    assert shards.ids == beside.ids == open_samples(named).ids == folder.ids
    assert shards.groups == beside.groups == open_samples(named).groups == folder.groups
    assert shards[0].row["audio_caption"] == beside[0].row["audio_caption"] == scene(0).row()["audio_caption"]
    sounds = [read_sample(samples[1], sampling_rate=16000).sound for samples in (shards, beside, folder)]
    np.testing.assert_array_equal(sounds[0], sounds[1])
    np.testing.assert_array_equal(sounds[0], sounds[2])


def test_the_split_for_evaluation_is_taken(ave2):
    assert open_samples(ave2 / "shards").name.endswith(", eval")
    assert len(open_samples(ave2 / "shards")) == 2
    with pytest.raises(ValueError, match=r"split 'test'.*eval, train"):
        open_samples(ave2 / "shards", split="test")


def test_sounds_beside_pictures_and_a_sound_in_place_of_a_clips_own(ave2, tmp_path):
    write_wav(tmp_path / "bell.wav", np.full(RATE, 0.5))
    Image.new("RGB", (8, 6), "red").save(tmp_path / "bell.png")
    (found,) = open_samples(tmp_path)
    media = read_sample(found, sampling_rate=8000)
    assert media.picture.size == (8, 6)
    assert media.sound.shape == (8000,)
    clip = Sample("a", "a", audio=str(tmp_path / "bell.wav"), video=str(ave2 / "clips" / "synthetic-0_01.mp4"))
    np.testing.assert_allclose(read_sample(clip, sampling_rate=RATE).sound, 0.5, atol=1e-4)


def test_data_sets_of_datasets(tmp_path):
    """`save_to_disk` and a folder of Parquet, with columns of sounds and pictures."""
    datasets = pytest.importorskip("datasets")
    write_wav(tmp_path / "a.wav", np.zeros(100))
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    rows = {"id": ["x"], "audio": [str(tmp_path / "a.wav")], "image": [str(tmp_path / "a.png")], "caption": ["hm"]}
    made = datasets.Dataset.from_dict(rows)
    made = made.cast_column("audio", datasets.Audio(decode=False)).cast_column("image", datasets.Image(decode=False))
    made.cast_column("audio", datasets.Audio()).save_to_disk(tmp_path / "saved")
    (found,) = open_samples(tmp_path / "saved")
    assert (found.id, found.row) == ("x", {"id": "x", "caption": "hm"})
    assert read_sample(found, sampling_rate=RATE).sound.shape == (100,)
    datasets.Dataset.from_dict({"id": ["x"], "text": ["y"]}).save_to_disk(tmp_path / "words")
    with pytest.raises(ValueError, match="columns are id, text"):
        open_samples(tmp_path / "words")


def test_unique_groups_leave_one_segment_of_each_video():
    ids = ["a_01", "a_02", "b_01", "b_02", "c_01"]
    found = Samples("set", lambda index: Sample(ids[index], ids[index][0]), ids, [name[0] for name in ids])
    drawn = [found.unique_groups(seed) for seed in range(20)]
    for part in drawn:
        assert part.groups == ["a", "b", "c"]
    assert {tuple(part.ids) for part in drawn} == {(a, b, "c_01") for a in ids[:2] for b in ids[2:4]}
    assert found.unique_groups(3).ids == found.unique_groups(3).ids


def test_identity_changes_with_content_and_not_with_the_place(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.mp4").write_bytes(b"12345")
    one, two = (open_samples(tmp_path / name) for name in ("one", "two"))
    assert one.identity() == two.identity()
    (tmp_path / "two" / "a.mp4").write_bytes(b"123456")
    assert one.identity() != open_samples(tmp_path / "two").identity()
    scenes = open_samples("synthetic", limit=3)
    assert scenes.identity() != scenes[:2].identity()


def test_rows_without_media_are_named(tmp_path, ave2):
    table = tmp_path / "t.jsonl"
    table.write_text('{"sample_id": "synthetic-0_01"}\n{"sample_id": "gone_01"}\n')
    found = open_samples(table, media=ave2 / "clips")
    assert found.ids == ["synthetic-0_01"]
    assert found.left_out == ("gone_01",)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('{"video": "a.mp4"}\n', "row 1: has neither sample_id nor id"),
        ('{"id": "a", "video": "a.mp4"}\n{"id": "a", "video": "b.mp4"}\n', "two samples have the id 'a'"),
        ('{"id": "a", "video": "a.mp4", "image": "a.png"}\n', "a: has both 'image' and 'video'"),
        ('{"id": "a"}\n', r"no sample with a sound or a picture \(1 rows without media\)"),
        ("[1]\n", "line 1: is no JSON object"),
        ("{\n", "line 1: "),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, lines, message):
    table = tmp_path / "t.jsonl"
    table.write_text(lines)
    with pytest.raises(ValueError, match=message):
        open_samples(table)


def test_sources_that_cannot_be_used(tmp_path):
    with pytest.raises(ValueError, match="no such file or folder"):
        open_samples(tmp_path / "none")
    with pytest.raises(ValueError, match="holds neither a table, nor clips"):
        open_samples(tmp_path)
    with pytest.raises(ValueError, match="split='eval': synthetic has none"):
        open_samples("synthetic", split="eval")
    with pytest.raises(ValueError, match="limit=0: must be at least 1"):
        open_samples("synthetic", limit=0)


def test_a_file_that_cannot_be_read_is_named_with_its_sample(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no clip")
    with pytest.raises(MediaError, match=r"^a: .*a\.mp4"):
        read_sample(open_samples(tmp_path)[0], sampling_rate=16000)


def test_files_of_a_folder_that_are_no_samples_are_named(tmp_path):
    for name in (b"a.mp4", b"sub.wav", b"cover.png", b"caf\xe9.mp4"):
        with open(os.path.join(os.fsencode(tmp_path), name), "wb"):
            pass
    found = open_samples(tmp_path)
    assert found.ids == ["a"]
    # A picture alone has no sound to lose.
    assert found.left_out == ("sub.wav", "caf\\xe9.mp4")
