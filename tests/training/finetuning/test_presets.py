"""Presets train what they say, LoRA never lands in a tower, and the table counts it."""

import pytest
import torch
from tiny_models import tiny_sound_llava

from soundclip_hf.training.finetuning.presets import (
    LORA,
    PRESETS,
    LoraSettings,
    apply_preset,
    parameter_table,
    part_of,
    table_text,
)
from soundclip_hf.training.settings_parser import ArgumentsError


@pytest.mark.parametrize("variant", ["llava", "llava_next"])
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_trains_its_parts_alone(variant, name):
    model = tiny_sound_llava(variant)
    before = model.state_dict().keys()
    apply_preset(model, name)
    trained = {part_of(key) for key, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {*PRESETS[name].parts, *([LORA] if PRESETS[name].lora else [])}
    for row in parameter_table(model):
        assert row.trained == (row.parameters if row.part in trained else 0)
    assert PRESETS[name].lora or model.state_dict().keys() == before


@pytest.mark.parametrize("variant", ["llava", "llava_next"])
def test_lora_lands_in_every_layer_of_the_language_model_and_nowhere_else(variant):
    model = tiny_sound_llava(variant)
    apply_preset(model, "lora", LoraSettings(r=2))
    modules = {key.partition(".lora_")[0] for key, _ in model.named_parameters() if ".lora_" in key}
    layers = model.config.text_config.num_hidden_layers
    assert len(modules) == 7 * layers
    assert all(name.startswith("model.language_model.layers.") for name in modules)


def test_lora_of_a_half_precision_model_is_in_float32():
    model = tiny_sound_llava("llava").to(torch.bfloat16)
    apply_preset(model, "lora")
    assert {parameter.dtype for parameter in model.parameters() if parameter.requires_grad} == {torch.float32}


@pytest.mark.parametrize(
    ("name", "targets", "message"),
    [
        ("lora", r".*\.q_proj", r"matches \d+ weights outside the language model, such as model.audio_tower"),
        ("lora", "nothing", "lora_targets='nothing'"),
        ("lroa", LoraSettings.targets, r"preset='lroa': is unknown; there are 'projector' \(the sound's"),
    ],
)
def test_what_cannot_be_trained(name, targets, message):
    with pytest.raises(ArgumentsError, match=message):
        apply_preset(tiny_sound_llava("llava"), name, LoraSettings(targets=targets))


def test_the_table_in_words():
    model = tiny_sound_llava("llava")
    apply_preset(model, "projector")
    total = sum(parameter.numel() for parameter in model.parameters())
    trained = sum(parameter.numel() for parameter in model.model.audio_projection.parameters())
    lines = table_text(parameter_table(model)).splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == [
        "audio_tower",
        "audio_projection",
        "vision_tower",
        "multi_modal_projector",
        "language_model",
    ]
    assert lines[-1].split() == ["all", f"{total:,}", f"{trained:,}", f"({100 * trained / total:.3g}", "%)"]
