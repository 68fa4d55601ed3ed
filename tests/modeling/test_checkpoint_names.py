"""Names of checkpoints: what `tiny` and `org/name@revision` mean, for every class and command."""

import json

import pytest
import torch

from soundclip_hf import (
    SoundClipModel,
    SoundClipProcessor,
    SoundLlava,
    SoundLlavaConfig,
    SoundLlavaProcessor,
    WhisperClipModel,
)
from soundclip_hf.bundled import TINY
from soundclip_hf.cli.loading import BUNDLED, ModelChoice
from soundclip_hf.cli.output import UsageError
from soundclip_hf.modeling.checkpoint_names import bundled_name, checkpoint_name
from soundclip_hf.publishing.parts import find_parts
from soundclip_hf.training.arguments import AlignmentArguments, ArgumentsError
from soundclip_hf.training.finetuning.presets import apply_preset


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (("org/name", None), ("org/name", None)),
        (("org/name@v1", None), ("org/name", "v1")),
        (("org/name@v1", "main"), ("org/name", "v1")),
        (("org/name@refs/pr/1", None), ("org/name", "refs/pr/1")),
        (("org/name@v1", "v1"), ("org/name", "v1")),
        (("org/name", "v1"), ("org/name", "v1")),
        (("tiny", None), (str(TINY), None)),
        (("./out@2", None), ("./out@2", None)),
        (("/data/a@b", "main"), ("/data/a@b", "main")),
    ],
)
def test_what_a_name_means(given, meant):
    assert checkpoint_name(*given) == meant


def test_a_folder_is_preferred(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()
    assert checkpoint_name("tiny") == (str(TINY), None)  # no checkpoint is in it
    (tmp_path / "tiny" / "config.json").write_text("{}")
    assert checkpoint_name("tiny") == ("tiny", None)
    (tmp_path / "a@b").mkdir()
    assert checkpoint_name("a@b") == ("a@b", None)


@pytest.mark.parametrize("name", ["org/name@", "@v1"])
def test_half_a_name_is_an_error(name):
    with pytest.raises(ValueError, match="write the revision after the @"):
        checkpoint_name(name)


def test_two_revisions_are_an_error():
    with pytest.raises(ValueError, match="names the revision 'v1', but revision is 'v2'"):
        checkpoint_name("org/name@v1", "v2")
    with pytest.raises(UsageError, match=r"--model .*names the revision 'v1', but --revision is 'v2'"):
        ModelChoice("org/name@v1", "v2")
    with pytest.raises(ArgumentsError, match=r"base_model .*but base_model_revision is 'v2'"):
        AlignmentArguments(base_model="org/name@v1", base_model_revision="v2")


def test_every_class_knows_the_bundled_model():
    model = SoundLlava.from_pretrained("tiny")
    dual = SoundClipModel.from_pretrained("tiny")
    assert torch.equal(model.model.audio_projection.fc1.weight, dual.audio_projection.fc1.weight)
    for processor in (SoundLlavaProcessor, SoundClipProcessor):
        assert processor.from_pretrained("tiny").feature_extractor.sampling_rate == 16000
    assert SoundLlavaConfig.from_pretrained("tiny").sound_config.token_budget == model.config.sound_config.token_budget


def test_an_audio_encoder_is_looked_for_under_the_same_name():
    with pytest.raises(ValueError, match="bundled/tiny"):  # which is no audio encoder
        WhisperClipModel.from_pretrained("tiny")


def test_commands_and_training_know_both_forms():
    assert ModelChoice("tiny").shown_name == BUNDLED
    choice = ModelChoice("org/name@v1")
    assert (choice.source, choice.revision) == ("org/name", "v1")
    settings = AlignmentArguments(base_model="tiny", audio_encoder="org/ears@v2")
    assert settings.base_model == str(TINY)
    assert (settings.audio_encoder, settings.audio_encoder_revision) == ("org/ears", "v2")


def test_the_bundled_model_is_stored_by_its_name(tmp_path):
    """An adapter on it is loaded wherever the package is installed, and is published without a base to look up."""
    assert bundled_name(TINY) == bundled_name(f"{TINY}/../tiny") == "tiny"
    assert bundled_name(tmp_path) == str(tmp_path)
    model = SoundLlava.from_pretrained("tiny")
    apply_preset(model, "lora")
    model.save_pretrained(tmp_path / "lora")
    for file in ("config.json", "peft/adapter_config.json"):
        assert json.loads((tmp_path / "lora" / file).read_text())["base_model_name_or_path"] == "tiny"
    again = SoundLlava.from_pretrained(tmp_path / "lora")
    assert again.config.base_model_name_or_path == "tiny"
    assert SoundClipModel.from_pretrained(tmp_path / "lora").config.vision_hidden_size == 128
    assert find_parts(json.loads((tmp_path / "lora" / "config.json").read_text()), None, needed=True) == ([], {})
