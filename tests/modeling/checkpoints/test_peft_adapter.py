"""LoRA and ears in one folder: what is saved of a model with PEFT layers, and loaded again in one call."""

import json
import re
import sys

import pytest
import torch
from hub_models import SAMPLES, adapter_model, logits
from rounding import assert_equal_to_rounding
from safetensors.torch import load_file, save_file
from tiny_inputs import build_inputs
from tiny_models import tiny_llava
from transformers import AutoModel, AutoModelForMultimodalLM, Trainer, TrainingArguments

from soundclip_hf import SoundClipModel, SoundLlava
from soundclip_hf.modeling.checkpoints.peft_layers import plain_names

peft = pytest.importorskip("peft")
ADAPTER = "soundclip_adapter.safetensors"
FILES = {ADAPTER, "config.json", "modules.json", "peft/adapter_config.json", "peft/adapter_model.safetensors"}
LANGUAGE = r".*language_model.*\.(q|v)_proj"
CASES = {
    "language model": {},
    "ears trained too": {"modules_to_save": ["audio_projection"]},
    "every linear layer": {"target_modules": "all-linear"},
    "head trained too": {"modules_to_save": ["lm_head", "audio_projection"]},
    "towers with DoRA": {
        "target_modules": r".*(vision_tower|audio_tower|language_model).*\.(q|v)_proj",
        "use_dora": True,
    },
    "encoder trained too": {"modules_to_save": ["audio_tower"]},
}


def settings(**options):
    # Random at the start: an untrained LoRA adds nothing, and could be lost unseen.
    return peft.LoraConfig(**{"r": 2, "target_modules": LANGUAGE, "init_lora_weights": False, **options})


@pytest.fixture
def model(tmp_path):
    """A model of saved parts, whose projector was trained."""
    tiny_llava("llava").save_pretrained(tmp_path / "base")
    made = adapter_model()
    made.model.audio_tower.save_pretrained(tmp_path / "encoder")
    made.config.base_model_name_or_path = str(tmp_path / "base")
    made.config.audio_encoder_name_or_path = str(tmp_path / "encoder")
    return made


def wrapped(model, **options):
    return peft.get_peft_model(model, settings(**options)).eval()


def assert_same(found, expected):
    """Equal weights in other places of memory may be summed in another order."""
    assert_equal_to_rounding(torch.tensor(found), torch.tensor(expected))


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_one_folder_and_one_call(model, options, tmp_path):
    plain = logits(model)
    made = wrapped(model, **options).get_base_model()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "modules_to_save" in name:
                parameter.add_(0.05)
    expected = logits(made)
    assert expected != plain
    made.save_pretrained(tmp_path / "out")
    assert files(tmp_path / "out") == FILES
    loaded = SoundLlava.from_pretrained(tmp_path / "out")
    assert_same(logits(loaded), expected)
    assert not loaded.training
    loaded.save_pretrained(tmp_path / "again")
    assert_same(logits(AutoModelForMultimodalLM.from_pretrained(tmp_path / "again")), expected)
    assert type(AutoModel.from_pretrained(tmp_path / "again")).__name__ == "SoundLlavaModel"


def test_merged_it_is_a_model_as_any_other(model, tmp_path):
    made = wrapped(model)
    expected = logits(model)
    merged = made.merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    assert "model.safetensors" in files(tmp_path / "merged")
    for one, other in zip(logits(SoundLlava.from_pretrained(tmp_path / "merged")), expected, strict=True):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-4)


def test_layers_that_were_injected(model, tmp_path):
    """As by transformers' `add_adapter`, which asks for newer versions of PEFT than there are."""
    try:
        model.add_adapter(settings())
    except ValueError:
        peft.inject_adapter_in_model(settings(), model)
    expected = logits(model.eval())
    model.save_pretrained(tmp_path / "out")
    assert files(tmp_path / "out") == FILES
    assert_same(logits(SoundLlava.from_pretrained(tmp_path / "out")), expected)


def test_precisions_stay(model, tmp_path):
    model.save_pretrained(tmp_path / "ears", adapter_only=True)
    half = SoundLlava.from_pretrained(tmp_path / "ears", dtype=torch.bfloat16)
    made = wrapped(half).get_base_model()
    assert {value.dtype for name, value in made.named_parameters() if "lora_" in name} == {torch.float32}
    expected = half_logits(made)
    made.save_pretrained(tmp_path / "out")
    loaded = SoundLlava.from_pretrained(tmp_path / "out", dtype="auto")
    assert loaded.dtype == torch.bfloat16
    assert {value.dtype for name, value in loaded.named_parameters() if "lora_" in name} == {torch.float32}
    torch.testing.assert_close(half_logits(loaded), expected, atol=2e-2, rtol=0)


def half_logits(model):
    with torch.no_grad():
        return model(**build_inputs(model, SAMPLES, dtype=torch.bfloat16)).logits


def test_what_peft_itself_saves(model, tmp_path):
    """Beside the ears, alone, and with the ears in `modules_to_save`."""
    model.save_pretrained(tmp_path / "ears", adapter_only=True)
    loaded = SoundLlava.from_pretrained(tmp_path / "ears")
    made = wrapped(loaded)
    expected = logits(loaded)
    made.save_pretrained(tmp_path / "ears")
    assert "adapter_config.json" in files(tmp_path / "ears")
    assert_same(logits(SoundLlava.from_pretrained(tmp_path / "ears")), expected)
    assert_same(logits(AutoModelForMultimodalLM.from_pretrained(tmp_path / "ears")), expected)
    (tmp_path / "ears" / "adapter_config.json").rename(tmp_path / "moved.json")
    # PEFT names as base what was loaded: the folder with the ears, and not the LLaVA below it.
    made.save_pretrained(tmp_path / "lora")
    assert json.loads((tmp_path / "lora" / "adapter_config.json").read_text())["base_model_name_or_path"] == str(
        tmp_path / "ears"
    )
    assert_same(logits(AutoModelForMultimodalLM.from_pretrained(tmp_path / "lora")), expected)
    again = peft.PeftModel.from_pretrained(SoundLlava.from_pretrained(tmp_path / "ears"), tmp_path / "lora")
    assert_same(logits(again.get_base_model()), expected)


def test_peft_reads_the_folder(model, tmp_path):
    wrapped(model).get_base_model().save_pretrained(tmp_path / "out")
    ears = adapter_model()
    ears.load_state_dict(load_file(tmp_path / "out" / ADAPTER), strict=False)
    loaded = peft.PeftModel.from_pretrained(ears, tmp_path / "out", subfolder="peft")
    assert logits(loaded.get_base_model()) == logits(model)
    about = json.loads((tmp_path / "out" / "peft" / "adapter_config.json").read_text())
    assert about["base_model_name_or_path"] == str(tmp_path / "base")


def test_the_base_may_be_a_whole_model(model, tmp_path):
    with torch.no_grad():
        model.lm_head.weight.add_(0.1)
        model.model.audio_tower.encoder.conv1.bias.add_(1)
    model.save_pretrained(tmp_path / "whole", adapter_only=False)
    made = wrapped(SoundLlava.from_pretrained(tmp_path / "whole")).get_base_model()
    expected = logits(made)
    with pytest.raises(ValueError, match="holds the whole model that the PEFT adapter belongs to"):
        made.save_pretrained(tmp_path / "whole")
    made.save_pretrained(tmp_path / "out")
    assert files(tmp_path / "out") == FILES
    assert_same(logits(SoundLlava.from_pretrained(tmp_path / "out")), expected)


def test_what_cannot_be_saved_is_refused(model, tmp_path):
    made = wrapped(model)
    with pytest.raises(ValueError, match="adapter_only=False: the model has PEFT layers"):
        model.save_pretrained(tmp_path / "out", adapter_only=False)
    made.add_adapter("second", settings())
    made.base_model.set_adapter(["default", "second"])
    with pytest.raises(ValueError, match=r"2 PEFT adapters are in use \(default, second\)"):
        model.save_pretrained(tmp_path / "out")
    model.config.base_model_name_or_path = None
    with pytest.raises(ValueError, match=r"An adapter needs config\.base_model_name_or_path"):
        model.save_pretrained(tmp_path / "out")
    part = adapter_model()
    part.model.language_model = peft.get_peft_model(part.model.language_model, settings(target_modules=["q_proj"]))
    with pytest.raises(ValueError, match="PEFT layers were added to a part"):
        part.save_pretrained(tmp_path / "out")
    assert not (tmp_path / "out" / "config.json").exists()


def test_what_does_not_fit_is_refused(model, tmp_path, monkeypatch):
    wrapped(model).get_base_model().save_pretrained(tmp_path)
    weights = tmp_path / "peft" / "adapter_model.safetensors"
    good = load_file(weights)
    name = next(iter(good))
    for bad, words in (
        ({key: value for key, value in good.items() if key != name}, "Missing in adapter_model.safetensors: model."),
        (
            {**good, "base_model.model.lm_head.lora_A.weight": torch.zeros(2, 48)},
            "Unknown to the model: lm_head.lora_A",
        ),
        ({**good, name: good[name][:1].clone()}, "(1, 48) against (2, 48)"),
    ):
        save_file(bad, weights, metadata={"format": "pt"})
        with pytest.raises(ValueError, match=f"does not fit the model.*{re.escape(words)}"):
            SoundLlava.from_pretrained(tmp_path)
    weights.write_bytes(b"x" * 20)
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        SoundLlava.from_pretrained(tmp_path)
    weights.unlink()
    with pytest.raises(OSError, match=r"has no adapter_model\.safetensors"):
        SoundLlava.from_pretrained(tmp_path)
    save_file(good, weights, metadata={"format": "pt"})
    (tmp_path / "adapter_config.json").write_text((tmp_path / "peft" / "adapter_config.json").read_text())
    with pytest.raises(ValueError, match="holds another: one can be loaded"):
        SoundLlava.from_pretrained(tmp_path)
    (tmp_path / "adapter_config.json").unlink()
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ImportError, match=r"holds a PEFT adapter.* needs peft, .* pip install 'soundclip-hf\[train\]'"):
        SoundLlava.from_pretrained(tmp_path)


def test_the_dual_encoder_reads_what_lora_left_alone(model, tmp_path):
    made = wrapped(model, modules_to_save=["audio_projection"]).get_base_model()
    with torch.no_grad():
        made.model.audio_projection.fc3.bias.add_(1)
    made.save_pretrained(tmp_path / "language")
    bias = SoundClipModel.from_pretrained(tmp_path / "language").audio_projection.fc3.bias
    assert torch.equal(bias, made.model.audio_projection.fc3.bias)
    other = SoundLlava.from_pretrained(tmp_path / "language")
    assert torch.equal(other.model.audio_projection.fc3.bias, bias)
    changed = wrapped(adapter_like(model), target_modules=r".*vision_tower.*\.q_proj").get_base_model()
    changed.save_pretrained(tmp_path / "vision")
    with pytest.raises(ValueError, match=r"changes the towers \(vision_tower\..*lora_A"):
        SoundClipModel.from_pretrained(tmp_path / "vision")


def adapter_like(model):
    made = adapter_model()
    for name in ("base_model_name_or_path", "audio_encoder_name_or_path"):
        setattr(made.config, name, getattr(model.config, name))
    return made


def test_checkpoints_of_a_trainer(model, tmp_path):
    made = wrapped(model, modules_to_save=["audio_projection"]).get_base_model()
    row = {**build_inputs(made, SAMPLES[:1])}
    row["labels"] = row["input_ids"]
    options = {"max_steps": 2, "save_steps": 2, "learning_rate": 0.01, "use_cpu": True, "report_to": "none"}
    options |= {"per_device_train_batch_size": 1, "disable_tqdm": True, "remove_unused_columns": False}
    run = Trainer(
        made, TrainingArguments(str(tmp_path), **options), train_dataset=[row] * 2, data_collator=lambda rows: rows[0]
    )
    run.train()
    expected = logits(made.eval())
    assert files(tmp_path / "checkpoint-2") >= FILES
    assert_same(logits(SoundLlava.from_pretrained(tmp_path / "checkpoint-2")), expected)


def test_names_without_peft(model):
    before = set(model.state_dict())
    assert plain_names(model) == {name: name for name in before}
    made = wrapped(model, modules_to_save=["audio_projection"]).get_base_model()
    names = plain_names(made)
    assert set(names) == before
    state = made.state_dict()
    assert {names["model.audio_projection.fc1.bias"], names["lm_head.weight"]} == {
        "model.audio_projection.modules_to_save.default.fc1.bias",
        "lm_head.weight",
    }
    assert all(name in state for name in names.values())
