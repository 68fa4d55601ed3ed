"""A projector is trained on AVE-2's `media` part: a subset of it by name, from shards, at once or as a stream."""

import hashlib
import json

import pytest

from soundclip_hf.data.schema import complete
from soundclip_hf.data.shards import write_shards
from soundclip_hf.data.synthetic import scene, write_mp4
from soundclip_hf.publishing.ave2_card import ave2_card
from soundclip_hf.training.arguments import ArgumentsError


@pytest.fixture(scope="module")
def ave2(tmp_path_factory):
    """Fourteen scenes as clips, ten of them for training, in shards with their card."""
    clips = tmp_path_factory.mktemp("clips")
    rows = []
    for number in range(14):
        shown = scene(number)
        path = clips / f"synthetic-{number}_01.mp4"
        write_mp4(path, [shown], size=64)
        found = {"media_sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "media_status": "ok"}
        row = shown.row() | found | {"split": "train" if number < 10 else "eval"}
        rows.append(complete({name: value for name, value in row.items() if value is not None}))
    folder = tmp_path_factory.mktemp("ave2") / "set"
    write_shards(rows, folder, media=clips)
    (folder / "README.md").write_text(ave2_card(folder, "org/ave2"), encoding="utf-8")
    return folder


@pytest.mark.parametrize("stream", [(), ("--streaming", "true", "--max_steps", 2)], ids=["rows", "stream"])
def test_a_subset_of_ave2_is_a_data_set_to_align_on(run, ave2, tmp_path, stream):
    result = run("--dataset", ave2, "--dataset_config", "media", "--eval_split", "eval", *stream)
    assert result.n == 4
    losses = [entry["loss"] for entry in json.loads((tmp_path / "out" / "curve.json").read_text()) if "loss" in entry]
    assert len(losses) == 2  # one batch of six of ten clips, twice


def test_rows_without_clips_are_refused_by_name(run, ave2):
    with pytest.raises(ArgumentsError, match="the dataset has no sound: its columns are sample_id"):
        run("--dataset", ave2, "--dataset_config", "default", "--eval_split", "eval")
