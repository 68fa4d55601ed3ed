"""A projector is trained on AVE-2's `media` part: a subset of it by name, from shards, at once or as a stream."""

import json

import pytest
from synthetic_ave2 import write_ave2

from soundclip_hf.training.arguments import ArgumentsError


@pytest.fixture(scope="module")
def ave2(tmp_path_factory):
    """Fourteen scenes as clips, ten of them for training."""
    folder = tmp_path_factory.mktemp("ave2")
    return write_ave2(folder / "set", folder / "clips")


@pytest.mark.parametrize("stream", [(), ("--streaming", "true", "--max_steps", 2)], ids=["rows", "stream"])
def test_a_subset_of_ave2_is_a_data_set_to_align_on(run, ave2, tmp_path, stream):
    result = run("--dataset", ave2, "--dataset_config", "media", "--eval_split", "eval", *stream)
    assert result.n == 4
    losses = [entry["loss"] for entry in json.loads((tmp_path / "out" / "curve.json").read_text()) if "loss" in entry]
    assert len(losses) == 2  # one batch of six of ten clips, twice


def test_rows_without_clips_are_refused_by_name(run, ave2):
    with pytest.raises(ArgumentsError, match="the dataset has no sound: its columns are sample_id"):
        run("--dataset", ave2, "--dataset_config", "default", "--eval_split", "eval")
