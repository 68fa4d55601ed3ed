"""The estimate of memory, against numbers worked out by hand."""

from types import SimpleNamespace

import pytest

from soundclip_hf.training.finetuning.memory import estimate_memory
from soundclip_hf.training.finetuning.presets import PartRow

TABLE = [PartRow("language_model", 1000, 0, 2000), PartRow("lora", 10, 10, 40)]
TEXT = SimpleNamespace(hidden_size=8, num_hidden_layers=3, vocab_size=5)


@pytest.mark.parametrize(
    ("checkpointing", "activations"),
    [
        # One layer: 34 bytes x 4 tokens x 8 units = 1088; three inputs of layers: 3 x 4 x 8 x 2 bytes = 192.
        (True, 192 + 1088),
        (False, 3 * 1088),
    ],
)
def test_one_device(checkpointing, activations):
    found = estimate_memory(TABLE, TEXT, tokens=4, element_size=2, gradient_checkpointing=checkpointing)
    assert found.to_dict() == {
        "weights": 2040,
        "gradients": 40,
        "optimizer": 80,
        "activations": activations,
        "logits": 4 * 5 * 10,
        "total": 2040 + 40 + 80 + activations + 200,
    }


def test_sharding_divides_what_is_kept_between_steps():
    one, four = (
        estimate_memory(TABLE, TEXT, tokens=4, element_size=4, gradient_checkpointing=True, devices=devices)
        for devices in (1, 4)
    )
    assert (four.weights, four.gradients, four.optimizer) == (510, 10, 20)
    assert (four.activations, four.logits) == (one.activations, one.logits)
