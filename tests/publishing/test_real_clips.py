"""The four published clips, with the authors' annotations: checked, written, pushed, loaded and decoded."""

import hashlib
import json

import numpy as np
import pytest
from hub_client import client
from hub_server import serve
from shared_data import shared_path

from soundclip_hf.data.ave2.shards import write_shards
from soundclip_hf.data.ave2.subsets import split_of
from soundclip_hf.data.ave2.upstream import from_upstream
from soundclip_hf.data.ave2.validation import validate
from soundclip_hf.media import read_clip

pytest.importorskip("datasets")

SCRIPT = """
import hashlib, json, sys
from datasets import load_dataset
from soundclip_hf import read_clip
from soundclip_hf.data import Ave2, with_audio
from soundclip_hf.publishing.ave2_push import push_folder
push_folder(sys.argv[1], "org/clips", private=True, tag="v1.0")
def seen(ds):
    return [{
        "id": row["sample_id"],
        "file": hashlib.sha256(row["video"]["bytes"]).hexdigest(),
        "sound": hashlib.sha256(row["audio"]["array"].tobytes()).hexdigest(),
        "rate": row["audio"]["sampling_rate"],
        "frame": read_clip(row["video"]["bytes"]).frame.size,
        "score": row["overall_score"],
        "caption": row["video_caption"],
    } for row in ds]
stored = with_audio(load_dataset("org/clips", "media", split="train"))
streamed = with_audio(load_dataset("org/clips", "media", split="train", streaming=True, revision="v1.0"))
filtered = with_audio(Ave2("org/clips").subset("filtered", split="train", media=True, streaming=True), 48000)
table = load_dataset("org/clips", split="train")
print(json.dumps([seen(stored), seen(streamed), seen(filtered), table.column_names, table["segment_type"][:]]))
"""


def test_from_annotations_to_sound_and_back(tmp_path):
    clips = shared_path("clips")
    given = [
        row | {"split": split_of(row["youtube_id"], {"train": 1.0})}
        for row in from_upstream(clips / "annotations.json")
    ]
    assert list(validate(given)) == []
    manifest = write_shards(given, tmp_path / "out", media=clips)
    assert manifest["splits"]["train"]["media_rows"] == manifest["rows"] == 4
    with serve() as hub:
        stored, streamed, filtered, columns, types = client(hub.url, tmp_path / "home", SCRIPT, tmp_path / "out")
        assert hub.settings["datasets/org/clips"].private
        card = hub.files("datasets/org/clips")["README.md"].read().decode()
    assert stored == streamed
    assert "video" not in columns
    assert types == [0, 4, 3, 3]
    for row, found in zip(given, stored, strict=True):
        path = clips / f"{row['sample_id']}.mp4"
        clip = read_clip(path, sampling_rate=16000)
        assert found["id"] == row["sample_id"]
        assert found["file"] == row["media_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert found["sound"] == hashlib.sha256(clip.waveform.tobytes()).hexdigest()
        assert found["rate"] == 16000
        assert tuple(found["frame"]) == clip.frame.size
        assert found["score"] == np.float32(row["overall_score"])
        assert found["caption"] == row["video_caption"]
    assert [row["id"] for row in filtered] == [row["sample_id"] for row in given if row["overall_score"] > 8]
    assert {row["rate"] for row in filtered} == {48000}
    published = json.loads((clips / "annotations.json").read_text())
    visible = sum(len(row["visible_active_sources"]) for row in published) / 4
    assert f"Sources per segment: {visible:.3f} seen and heard" in card
