"""All of AVE-2 on a made-up world: long videos, captions, judgements, a Hub, and batches to train on."""

import pytest
import yaml
from ave2_build import Answering, long_videos, values
from chat_server import chat_server
from hub_client import client
from hub_server import serve

from soundclip_hf.bundled import TINY
from soundclip_hf.data.ave2.subsets import split_of

pytest.importorskip("datasets")
pytest.importorskip("httpx")

# The Hub's address is read at import, so this is a process of its own.
CODE = """
import json, sys
from soundclip_hf.cli import app
assert app(["ave2", "build", "--config", sys.argv[1]], standalone_mode=False) in (0, None)
import torch
from datasets import load_dataset
from torch.utils.data import DataLoader
from transformers import AutoProcessor
from soundclip_hf import SoundClipProcessor
from soundclip_hf.data import with_audio
from soundclip_hf.training.arguments import read_arguments
from soundclip_hf.training.collators import PairCollator
from soundclip_hf.training.pairs import open_pairs
filtered = load_dataset("org/ave2", "filtered", streaming=True, split="train")
media = with_audio(load_dataset("org/ave2", "media", split="train"))
sounds = [len(row["audio"]["array"]) for row in media]
words = "--dataset org/ave2 --dataset_config media --train_split train --eval_split eval --output_dir"
arguments, _ = read_arguments([*words.split(), sys.argv[2]])
train, held_out = open_pairs(arguments, seed=0)
tiny = AutoProcessor.from_pretrained(sys.argv[3])
collate = PairCollator(SoundClipProcessor(tiny.image_processor, tiny.feature_extractor))
(batch,) = DataLoader(train, batch_size=len(train), collate_fn=collate)
print(json.dumps({
    "filtered": {row["sample_id"]: row["video_caption"] for row in filtered},
    "media": list(media["sample_id"]),
    "sounds": sounds,
    "pixels": list(batch["pixel_values"].shape),
    "features": list(batch["input_features"].shape),
    "finite": bool(torch.isfinite(batch["input_features"]).all() and torch.isfinite(batch["pixel_values"]).all()),
    "bad": len(batch["bad"]),
    "held_out": len(held_out),
}))
"""


def test_from_long_videos_to_batches(tmp_path):
    videos = long_videos(tmp_path / "videos", count=4, scenes=2)
    expected = {
        f"{name}_{number:02d}": shown.row()["video_caption"]
        for name, scenes in videos.items()
        for number, shown in enumerate(scenes, 1)
    }
    shares = {"train": 0.5, "eval": 0.5}
    train = sorted(name for name in expected if split_of(name[:-3], shares) == "train")
    assert 0 < len(train) < len(expected)
    with serve() as hub, chat_server(Answering(videos)) as asked:
        changes = {"videos_per_shard": 2, "subset": {"eval_share": 0.5}}
        push = {"push": {"repo": "org/ave2", "options": {"private": True}}}
        config = tmp_path / "build.yaml"
        config.write_text(yaml.safe_dump(values(tmp_path / "videos", tmp_path / "out", asked.url, **changes, **push)))
        found = client(hub.url, tmp_path / "home", CODE, config, tmp_path / "training", TINY)
    assert found["filtered"] == {name: expected[name] for name in train}  # all of them are judged 8.4
    assert sorted(found["media"]) == train
    assert found["sounds"] == [48000] * len(train)
    assert found["pixels"][0] == found["features"][0] == len(train)
    assert found["finite"]
    assert found["bad"] == 0
    assert found["held_out"] == len(expected) - len(train)
