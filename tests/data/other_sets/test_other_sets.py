"""Real annotation tables parse completely; small ones of the formats whose tables are not here."""

import csv
import json
from collections import Counter

import numpy as np
import pytest
from shared_data import shared_path

from soundclip_hf.data.other_sets import readers as other_sets


@pytest.mark.parametrize(
    ("split", "rows", "excerpts"), [("train", 49838, 49838), ("val", 2475, 495), ("test", 4875, 975)]
)
def test_audiocaps(split, rows, excerpts):
    path = shared_path(f"annotations/audiocaps/{split}.csv")
    with path.open(newline="") as file:
        table = list(csv.DictReader(file))
    manifest = other_sets.audiocaps(path)
    assert len(table) == rows == sum(len(entry.captions) for entry in manifest)
    assert len(manifest) == excerpts
    ids = [row_id for entry in manifest for row_id in entry.extra["audiocap_ids"]]
    captions = dict(zip(ids, (caption for entry in manifest for caption in entry.captions)))
    assert captions == {int(row["audiocap_id"]): row["caption"] for row in table}
    assert {(e.youtube_id, e.start) for e in manifest} == {(r["youtube_id"], float(r["start_time"])) for r in table}
    assert {e.end - e.start for e in manifest} == {10.0}


@pytest.mark.parametrize(("name", "count"), [("test", 15446), ("AStest", 6927)])
def test_vggsound(name, count):
    path = shared_path(f"annotations/vggsound/{name}.csv")
    with path.open(newline="") as file:
        table = list(csv.reader(file))
    with shared_path("annotations/vggsound/stat.csv").open(newline="") as file:
        classes = {row[0] for row in csv.reader(file)}
    manifest = other_sets.vggsound(path)
    assert len(manifest) == len(table) == count
    assert [(f"{entry.sample_id}.mp4", entry.labels[0]) for entry in manifest] == [tuple(row) for row in table]
    assert {entry.labels[0] for entry in manifest} <= classes
    entry = manifest.entries[0]
    assert (entry.youtube_id, entry.start, entry.end) == ("glLQrEijrKg", 300.0, 310.0)


def test_vggsound_full_table(tmp_path):
    (tmp_path / "vggsound.csv").write_text(
        '---g-f_I2yQ,1,"people marching, running",test\n--0PQM4-hqg,30,waterfall,train\n'
    )
    first, second = other_sets.vggsound(tmp_path / "vggsound.csv")
    assert (first.sample_id, first.start, first.labels) == ("---g-f_I2yQ_000001", 1.0, ("people marching, running",))
    assert (second.end, second.split) == (40.0, "train")


def test_ave():
    path = shared_path("annotations/ave/Annotations.txt")
    lines = path.read_text().splitlines()
    manifest = other_sets.ave(path)
    assert len(manifest) == len(lines) == 4143
    assert manifest.coverage()["videos"] == 4097
    assert len({entry.labels[0] for entry in manifest}) == 28
    assert [
        f"{e.labels[0]}&{e.youtube_id}&{e.extra['quality']}&{e.event[0]:g}&{e.event[1]:g}" for e in manifest
    ] == lines
    assert all(0 <= entry.event[0] <= entry.event[1] <= 10 for entry in manifest)
    assert {entry.start for entry in manifest} == {None}
    assert Counter(entry.sample_id[-3:] for entry in manifest)["_02"] >= 45


def test_tvsum():
    pytest.importorskip("h5py")
    path = shared_path("annotations/tvsum/ydata-tvsum50.mat")
    manifest, scores = other_sets.tvsum(path), other_sets.tvsum_scores(path)
    assert len(manifest) == len(scores) == 50
    assert set(Counter(entry.labels[0] for entry in manifest).values()) == {5}  # ten categories of five videos
    first = manifest.entries[0]
    assert (first.sample_id, first.end, first.extra["frames"]) == ("AwmHb44_ouw", 353.593, 10597)
    assert first.extra["title"].startswith("#1")
    for entry in manifest:
        mean, each = scores[entry.sample_id]
        assert len(entry.youtube_id) == 11
        assert mean.shape == (entry.extra["frames"],)
        assert each.shape == (20, entry.extra["frames"])
        assert np.allclose(each.mean(0), mean, atol=1e-6)
        assert each.min() >= 1
        assert each.max() <= 5


def test_audioset(tmp_path):
    (tmp_path / "eval_segments.csv").write_text(
        "# Segments csv created Sun Mar  5 10:54:25 2017\n"
        "# num_ytids=2, num_segs=2, num_unique_labels=3, num_positive_labels=3\n"
        "# YTID, start_seconds, end_seconds, positive_labels\n"
        '--4gqARaEJE, 0.000, 10.000, "/m/068hy,/m/07q6cd_"\n'
        '-0RWZT-miFs, 420.000, 427.500, "/m/09x0r"\n'
    )
    (tmp_path / "names.csv").write_text('index,mid,display_name\n0,/m/09x0r,Speech\n1,/m/068hy,"Pets, home"\n')
    first, second = other_sets.audioset(tmp_path / "eval_segments.csv", tmp_path / "names.csv")
    assert first.labels == ("Pets, home", "/m/07q6cd_")
    assert first.split == "eval"
    assert (second.sample_id, second.start, second.end, second.labels) == ("-0RWZT-miFs_420", 420.0, 427.5, ("Speech",))


def ego4d_video(name, **sound):
    return {
        "video_uid": name,
        "duration_sec": 12.5,
        "scenarios": ["Cooking"],
        "video_metadata": sound,
        "device": "GoPro",
    }


def test_ego4d(tmp_path):
    audible = {"audio_start_sec": 0.0, "audio_duration_sec": 12.4, "audio_base_denominator": 48000}
    videos = [
        ego4d_video("a", **audible),
        ego4d_video("b", **dict.fromkeys(audible)),
        ego4d_video("c", audio_duration_sec=3.5),
    ]
    path = tmp_path / "ego4d.json"
    path.write_text(json.dumps({"version": "v2", "videos": videos, "clips": []}))
    manifest = other_sets.ego4d(path)
    assert [entry.sample_id for entry in manifest] == ["a", "c"]
    first = manifest.entries[0]
    assert (first.youtube_id, first.start, first.end, first.labels) == ("a", 0.0, 12.5, ("Cooking",))
    assert first.extra == {"has_audio": True, "device": "GoPro", "source": None}
    assert [entry.sample_id for entry in other_sets.ego4d(path, has_audio=False)] == ["b"]
    assert [entry.extra["has_audio"] for entry in other_sets.ego4d(path, has_audio=None)] == [True, False, True]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[]", "is no ego4d.json"),
        ("{", "is no ego4d.json"),
        ('{"videos": [{"video_uid": "a"}]}', "video 0 lacks 'video_metadata'"),
        ('{"videos": [{"video_uid": "a", "video_metadata": {}}]}', "audio_base_denominator and audio_duration_sec"),
    ],
)
def test_what_is_not_ego4d(tmp_path, content, words):
    (tmp_path / "ego4d.json").write_text(content)
    with pytest.raises(ValueError, match=words):
        other_sets.ego4d(tmp_path / "ego4d.json")


@pytest.mark.parametrize(
    ("reader", "text", "words"),
    [
        (other_sets.audiocaps, "youtube_id,caption\na,b\n", "no column 'audiocap_id'"),
        (other_sets.audiocaps, "audiocap_id,youtube_id,start_time,caption\n1,a,soon,b\n", "'soon' is no time"),
        (other_sets.audioset, "abc, 0.0, 10.0\n", "3 fields, expected 4"),
        (other_sets.vggsound, "abc.mp4,bell\n", "neither"),
        (other_sets.ave, "Bell&abc&good&0\n", "line 1: 4 fields, expected 5"),
        (other_sets.vggsound, "abcdefghijk_000001.mp4,a\nabcdefghijk_000001.mp4,a\n", "more than once"),
    ],
)
def test_broken_tables_are_errors(tmp_path, reader, text, words):
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(ValueError, match=words):
        reader(tmp_path / "table.csv")
