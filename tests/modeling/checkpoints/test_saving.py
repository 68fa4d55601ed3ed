"""What is saved of a model whose base is frozen: the adapter alone, also in the checkpoints of a stock `Trainer`."""

import json

import pytest
import torch
from hub_models import adapter_model
from rounding import assert_same_weights
from safetensors.torch import load_file
from tiny_inputs import Sample, build_inputs
from tiny_models import tiny_llava, tiny_sound_llava
from transformers import LlavaForConditionalGeneration, Trainer, TrainingArguments

from soundclip_hf import SoundClipModel, SoundLlava
from soundclip_hf.modeling.checkpoints.base_sample import is_unchanged, take_sample

ADAPTER, INDEX = "soundclip_adapter.safetensors", "model.safetensors.index.json"


@pytest.fixture
def model(tmp_path):
    """A model whose projector alone is to be trained, and its parts on disk."""
    tiny_llava("llava").save_pretrained(tmp_path / "base")
    made = adapter_model()
    made.model.audio_tower.save_pretrained(tmp_path / "encoder")
    made.config.base_model_name_or_path = str(tmp_path / "base")
    made.config.audio_encoder_name_or_path = str(tmp_path / "encoder")
    made.requires_grad_(False)
    made.model.audio_projection.requires_grad_(True)
    return made


def weights(folder):
    return {path.name for path in folder.iterdir() if "safetensors" in path.name}


def test_the_whole_model_is_saved_unless_its_base_is_named_and_frozen(model, tmp_path):
    model.save_pretrained(tmp_path / "adapter")
    assert weights(tmp_path / "adapter") == {ADAPTER, INDEX}
    model.save_pretrained(tmp_path / "asked", adapter_only=True)
    assert weights(tmp_path / "asked") == {ADAPTER}
    model.save_pretrained(tmp_path / "whole", adapter_only=False)
    model.lm_head.requires_grad_(True)
    model.save_pretrained(tmp_path / "tuned")
    model.requires_grad_(False)
    model.save_pretrained(tmp_path / "nothing trained")
    model.model.audio_projection.requires_grad_(True)
    model.config.base_model_name_or_path = None
    model.save_pretrained(tmp_path / "no base")
    for name in ("whole", "tuned", "nothing trained", "no base"):
        assert weights(tmp_path / name) == {"model.safetensors"}, name


def test_an_encoder_that_is_trained_too_is_saved(model, tmp_path):
    model.model.audio_tower.requires_grad_(True)
    with torch.no_grad():
        model.model.audio_tower.encoder.conv1.bias.add_(1)
    model.save_pretrained(tmp_path / "out")
    assert "audio_tower.encoder.conv1.bias" in load_file(tmp_path / "out" / ADAPTER)
    loaded = SoundLlava.from_pretrained(tmp_path / "out")
    assert_same_weights(loaded, model)
    assert model.config.audio_encoder_name_or_path is not None  # only what is saved says that the encoder is in it


class Rows(torch.utils.data.Dataset):
    def __init__(self, model):
        inputs = build_inputs(model, [Sample([((28, 28), 1)])])
        self.row = {**inputs, "labels": inputs["input_ids"]}

    def __len__(self):
        return 4

    def __getitem__(self, place):
        return self.row


def trainer(model, folder, **options):
    settings = {"max_steps": 4, "save_steps": 2, "learning_rate": 0.01, "use_cpu": True, "report_to": "none"}
    settings |= {"per_device_train_batch_size": 1, "disable_tqdm": True, "remove_unused_columns": False, **options}
    arguments = TrainingArguments(str(folder), **settings)
    return Trainer(
        model, arguments, train_dataset=Rows(model), eval_dataset=Rows(model), data_collator=lambda rows: rows[0]
    )


def test_checkpoints_of_a_trainer_hold_the_adapter_alone(model, tmp_path):
    start = {name: value.clone() for name, value in model.state_dict().items()}
    first = trainer(model, tmp_path / "run", save_strategy="steps")
    first.train()
    first.save_model()
    for folder in (tmp_path / "run", tmp_path / "run" / "checkpoint-2"):
        assert weights(folder) == {ADAPTER, INDEX}
        with pytest.raises(KeyError, match="metadata"):  # a LLaVA would get a random language model
            LlavaForConditionalGeneration.from_pretrained(folder)
    assert_same_weights(SoundLlava.from_pretrained(tmp_path / "run"), model)
    SoundClipModel.from_pretrained(tmp_path / "run")
    after = {name: value.clone() for name, value in model.state_dict().items()}
    moved = {name for name in start if not torch.equal(start[name], after[name])}
    assert moved
    assert all("audio_projection" in name for name in moved)
    # Resumed in the middle, it ends with the same weights.
    model.load_state_dict(start)
    trainer(model, tmp_path / "run", save_strategy="no").train(resume_from_checkpoint=tmp_path / "run" / "checkpoint-2")
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, after[name], msg=name)


def test_the_best_checkpoint_is_loaded_at_the_end(model, tmp_path):
    options = {"save_strategy": "steps", "eval_strategy": "steps", "eval_steps": 2, "load_best_model_at_end": True}
    # Every step lowers the loss, and the highest is asked for: the first checkpoint is the best.
    run = trainer(model, tmp_path / "run", max_steps=6, metric_for_best_model="loss", greater_is_better=True, **options)
    run.train()
    best = tmp_path / "run" / "checkpoint-2"
    assert run.state.best_model_checkpoint == str(best)
    for name, value in load_file(best / ADAPTER).items():
        assert torch.equal(model.model.state_dict()[name], value), name


def test_names_of_an_adapter_are_taken_by_load_state_dict(model, tmp_path):
    model.save_pretrained(tmp_path, adapter_only=True)
    other = tiny_sound_llava("llava")
    tensors = load_file(tmp_path / ADAPTER)
    result = other.load_state_dict(tensors, strict=False)
    assert not result.unexpected_keys
    assert torch.equal(other.model.audio_projection.fc3.bias, model.model.audio_projection.fc3.bias)
    other.model.load_state_dict(tensors, strict=False)


def test_the_base_of_a_whole_checkpoint_is_not_taken_for_the_one_that_it_names(model, tmp_path):
    with torch.no_grad():
        model.lm_head.weight.add_(1)
    model.save_pretrained(tmp_path / "tuned", adapter_only=False)
    loaded = SoundLlava.from_pretrained(tmp_path / "tuned")
    loaded.freeze_base_model()
    loaded.save_pretrained(tmp_path / "again")
    assert_same_weights(SoundLlava.from_pretrained(tmp_path / "again"), model)


def test_a_sample_tells_whether_a_base_was_changed():
    model = tiny_sound_llava("llava")
    sample = take_sample(model)
    assert is_unchanged(model, sample)
    assert not is_unchanged(model, None)
    with torch.no_grad():
        model.model.audio_projection.fc1.weight.add_(1)
    assert is_unchanged(model, sample)  # no part of the base
    assert is_unchanged(model.half(), sample)
    optimizer = torch.optim.Adam(model.model.language_model.parameters(), lr=1e-3)
    for parameter in model.model.language_model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert not is_unchanged(model, sample)


def test_a_sample_of_a_large_parameter_lies_inside_it():
    large = torch.nn.Module()
    large.weight = torch.nn.Parameter(torch.empty(32_833_536, dtype=torch.int8), requires_grad=False)
    large.weight[-1] = 7
    assert take_sample(large)["weight"][-1] == 7


def test_the_index_is_removed_when_it_no_longer_holds(model, tmp_path):
    model.save_pretrained(tmp_path)
    assert set(json.loads((tmp_path / INDEX).read_text())) == {"weight_map"}
    model.save_pretrained(tmp_path, adapter_only=True)
    assert weights(tmp_path) == {ADAPTER}
