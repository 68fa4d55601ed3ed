"""The estimate of memory, against numbers worked out by hand and against what autograd keeps."""

from types import SimpleNamespace
from weakref import WeakSet

import pytest
import torch
from tiny_inputs import MIXED, build_inputs
from tiny_models import tiny_sound_llava, tiny_text_config

from soundclip_hf.training.finetuning.memory import DecoderLayer, estimate_memory
from soundclip_hf.training.finetuning.presets import LoraSettings, PartRow, apply_preset, parameter_table

TABLE = [
    PartRow("vision_tower", 100, 0, 200),
    PartRow("language_model", 1000, 0, 2000),
    PartRow("lora", 10, 10, 40),
]
TEXT = SimpleNamespace(hidden_size=8, num_hidden_layers=3, vocab_size=50)
LAYER = DecoderLayer(
    hidden=8,
    intermediate=16,
    heads=2,
    key_value_heads=1,
    head_size=4,
    trained=False,
    lora=((8, 2),),
    lora_dropout=True,
    weights=200,
    stored=2,
)
# Norms 2 x 4 x 8; attention 2 x (8 + 4) x 2 and 4 x 2; MLP 3 x 16 x 2; LoRA 2 x (8 + 2) and the mask's 8: for 4 tokens.
ONE_LAYER = 4 * (64 + 48 + 8 + 96 + 20 + 8)
LAST_NORM = 4 * 4 * 8
LOGITS = 3 * 4 * 4 * 50


@pytest.mark.parametrize(
    ("checkpointing", "activations"),
    [(True, 3 * (4 * 8 * 2) + LAST_NORM), (False, 3 * ONE_LAYER + LAST_NORM)],
)
def test_one_device(checkpointing, activations):
    found = estimate_memory(TABLE, TEXT, LAYER, tokens=4, element_size=2, gradient_checkpointing=checkpointing)
    assert LOGITS > ONE_LAYER
    assert found.to_dict() == {
        "weights": 2240,
        "copies": 0,
        "gradients": 40,
        "optimizer": 80,
        "activations": activations,
        "working": LOGITS,
        "total": 2240 + 40 + 80 + activations + LOGITS,
    }


def test_sharding_divides_what_is_trained_and_the_language_model():
    one, four = (
        estimate_memory(TABLE, TEXT, LAYER, tokens=4, element_size=2, gradient_checkpointing=True, devices=devices)
        for devices in (1, 4)
    )
    assert (four.weights, four.gradients, four.optimizer) == (2040 // 4 + 200, 10, 20)
    assert four.copies == 2 * (2 * 200 + 2 * 8 * 50)
    assert (four.activations, four.working) == (one.activations, one.working)


def test_autocast_copies_weights_of_another_precision():
    found = {
        checkpointing: estimate_memory(
            TABLE, TEXT, LAYER, tokens=4, element_size=4, gradient_checkpointing=checkpointing
        ).copies
        for checkpointing in (True, False)
    }
    assert found == {True: 4 * (200 + 400), False: 4 * (3 * 200 + 400)}


class Kept:
    """A tensor of the graph; it lives as long as the graph needs it."""

    def __init__(self, tensor):
        self.tensor = tensor


def kept_bytes(model, inputs, autocast):
    """What autograd keeps of a forward pass, without weights."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    alive = WeakSet()

    def pack(tensor):
        kept = Kept(tensor)
        alive.add(kept)
        return kept

    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=autocast),
    ):
        loss = model(**inputs).loss
    storages = {one.tensor.untyped_storage().data_ptr(): one.tensor.untyped_storage().nbytes() for one in alive}
    assert loss.requires_grad
    return sum(size for key, size in storages.items() if key not in own)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(("dtype", "autocast"), [("float32", False), ("bfloat16", True), ("float32", True)])
@pytest.mark.parametrize("preset", ["projector", "lora+projector", "full-lm"])
def test_it_is_what_autograd_keeps(preset, dtype, autocast, checkpointing):
    text = tiny_text_config(hidden_size=64, intermediate_size=176, num_hidden_layers=6)
    model = tiny_sound_llava("llava", dtype=getattr(torch, dtype), text_config=text)
    apply_preset(model, preset, LoraSettings(r=8, dropout=0.05))
    model.train()
    if checkpointing:
        model.activation_checkpointing_enable()
    inputs = build_inputs(model, [MIXED[0]] * 8)
    inputs["labels"] = inputs["input_ids"].clone()
    tokens, element = inputs["input_ids"].numel(), 2 if autocast else 4
    layer = DecoderLayer.of(model.model.language_model, text)
    found = estimate_memory(
        parameter_table(model), text, layer, tokens=tokens, element_size=element, gradient_checkpointing=checkpointing
    )
    expected = found.activations + 4 * tokens * text.vocab_size  # of the logits, their softmax is kept
    if checkpointing:  # a layer's copies come and go with it
        expected += found.copies and 2 * text.hidden_size * text.vocab_size
    else:
        expected += found.copies
        # On CPUs the mask of dropout is float32; on GPUs it is one byte.
        expected += 3 * sum(width for width, _ in layer.lora) * tokens * text.num_hidden_layers
    assert kept_bytes(model, inputs, autocast) == pytest.approx(expected, rel=0.06)
