"""Checkpoints that were edited: refused at once, with the reason, before memory is taken or a file outside is read."""

import json
import re
import shutil
import time

import pytest
import torch
from checkpoint_loads import INDEX, LOADS, write_originals
from huggingface_hub import save_torch_state_dict
from safetensors.torch import save_file

from soundclip_hf import WhisperClipModel
from soundclip_hf.modeling.checkpoint_files import checkpoint_files, read_shapes, read_weight_map
from soundclip_hf.modeling.checkpoints.adapter import ADAPTER_NAME


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    return write_originals(tmp_path_factory.mktemp("originals"))


@pytest.fixture
def folders(originals, tmp_path, monkeypatch):
    """A copy to be edited; the adapter names its base and encoder relative to the working directory."""
    shutil.copytree(originals, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


# Those whose checkpoint has an index.
SHARDED = [name for name, load in LOADS.items() if load.edited != "adapter"]


@pytest.mark.parametrize(
    "place",
    [
        *("../outside.safetensors", "/etc/model.safetensors", "a/../../b.safetensors", "weights.bin"),
        *(r"..\outside.safetensors", r"C:\a.safetensors", "https://example.com/a.safetensors", "", 3, None),
    ],
)
@pytest.mark.parametrize("name", SHARDED)
def test_an_index_that_points_elsewhere(name, place, folders):
    load = LOADS[name]
    index = folders / load.edited / INDEX
    content = json.loads(index.read_text())
    first = next(key for key in content["weight_map"] if "vision_tower" in key or "encoder" in key)
    shutil.copy(folders / load.edited / content["weight_map"][first], folders / "outside.safetensors")
    content["weight_map"][first] = place
    index.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"{INDEX} names the file {re.escape(repr(place))}"):
        load.make()


@pytest.mark.parametrize("name", SHARDED)
def test_an_index_that_names_another_file(name, folders):
    """A file that is missing, and one that does not hold the tensor."""
    load = LOADS[name]
    index = folders / load.edited / INDEX
    content = json.loads(index.read_text())
    first = next(key for key in content["weight_map"] if load.module in key)
    right = content["weight_map"][first]
    content["weight_map"][first] = next(file for file in content["weight_map"].values() if file != right)
    index.write_text(json.dumps(content))
    # Some read all files, where the tensor is found in spite of the index.
    outcome = None
    try:
        load.make()
    except ValueError as error:
        outcome = str(error)
    assert outcome is None or f"lacks '{first}', which the index says it holds" in outcome, outcome
    content["weight_map"][first] = "model-99.safetensors"
    index.write_text(json.dumps(content))
    with pytest.raises(OSError, match=r"model-99\.safetensors"):
        load.make()


def edit(config, path, value):
    *parents, last = path.split(".")
    for key in parents:
        config = config[key]
    config[last] = value


# Of each folder: sizes that somebody changed in the configuration that is read.
CHANGES = [
    ("llava adapter, base", "adapter", "text_config.hidden_size", 1_000_000),
    ("llava adapter, base", "adapter", "text_config.num_hidden_layers", 1_000_000),
    ("llava adapter, base", "adapter", "vision_config.intermediate_size", 10**9),
    ("llava adapter, base", "adapter", "sound_config.projector_hidden_size", 1_000_000),
    ("llava adapter, base", "adapter", "sound_config.audio_config.encoder_layers", 1_000_000),
    ("llava adapter, base", "adapter", "sound_config.audio_config.encoder_ffn_dim", 10**9),
    ("llava full", "full", "text_config.vocab_size", 10**9),
    ("llava full", "full", "vision_config.num_hidden_layers", 1_000_000),
    ("llava full", "full", "sound_config.audio_config.max_source_positions", 10**9),
    ("clip adapter, base", "adapter", "vision_config.num_hidden_layers", 1_000_000),
    ("clip adapter, base", "adapter", "sound_config.projector_hidden_size", 1_000_000),
    ("clip full", "full", "vision_config.intermediate_size", 10**9),
    ("clip own", "dual", "vision_config.num_hidden_layers", 1_000_000),
    ("clip own", "dual", "audio_config.encoder_ffn_dim", 10**9),
    ("encoder", "encoder", "d_model", 1_000_000),
    ("encoder", "encoder", "encoder_layers", 1_000_000),
]


@pytest.mark.parametrize(("load", "edited", "field", "value"), CHANGES)
def test_a_configuration_of_another_size(load, edited, field, value, folders):
    file = folders / edited / "config.json"
    config = json.loads(file.read_text())
    edit(config, field, value)
    file.write_text(json.dumps(config))
    started = time.process_time()
    with pytest.raises(ValueError, match=r"config\.json belongs to another checkpoint or was changed"):
        LOADS[load].make()
    assert time.process_time() - started < 60  # built in full, it would not end, or not fit


@pytest.mark.parametrize("name", LOADS)
def test_pickles_are_not_read(name, folders):
    load = LOADS[name]
    for file in (folders / load.edited).glob("*model*"):
        file.unlink()
    (folders / load.edited / ADAPTER_NAME).unlink(missing_ok=True)
    for file in ("pytorch_model.bin", "adapter.bin", "soundclip_adapter.bin"):
        torch.save({"x": torch.zeros(2)}, folders / load.edited / file)
    with pytest.raises(
        (OSError, ValueError), match=ADAPTER_NAME if load.edited == "adapter" else r"model\.safetensors"
    ) as caught:
        load.make()
    assert "weights_only" not in str(caught.value)


def test_an_encoder_takes_no_other_kind_of_file(folders):
    with pytest.raises(ValueError, match="use_safetensors=False: only safetensors checkpoints are read"):
        WhisperClipModel.from_pretrained("encoder", use_safetensors=False)


def test_headers(tmp_path):
    save_file({"a": torch.zeros(2, 3), "b": torch.zeros(())}, tmp_path / "model.safetensors")
    assert read_shapes(checkpoint_files(tmp_path)) == {"a": (2, 3), "b": ()}
    (tmp_path / "shards").mkdir()
    two = {"a": torch.zeros(50, 50), "b": torch.zeros(50, 50)}
    save_torch_state_dict(two, tmp_path / "shards", max_shard_size="12KB")
    assert set(read_weight_map(tmp_path / "shards" / INDEX)) == {"a", "b"}
    assert len(checkpoint_files(tmp_path / "shards")) == 2
    (tmp_path / "empty").mkdir()
    assert checkpoint_files(tmp_path / "empty") == []
    (tmp_path / "model.safetensors").write_bytes(b"\x08")
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        read_shapes(checkpoint_files(tmp_path))
    for content in ("no json", "[]", '{"weight_map": 1}'):
        (tmp_path / "shards" / INDEX).write_text(content)
        with pytest.raises(ValueError, match="not a readable checkpoint index"):
            checkpoint_files(tmp_path / "shards")
