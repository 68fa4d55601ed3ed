"""An estimate of the memory that a fine-tuning needs on each device, from shapes alone."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .presets import PartRow

# Bytes of a decoder layer's activations for each token and hidden unit in 16 bits, without the attention matrix, which
# fused attention does not store: 34 of Korthikanti et al., "Reducing Activation Recomputation in Large Transformer
# Models", 2022, equation 1.
_ACTIVATION_BYTES = 34
# Adam keeps two numbers of 32 bits for each trained parameter.
_ADAM_BYTES = 8
_GRADIENT_BYTES = 4


@dataclass(frozen=True)
class MemoryEstimate:
    """
    Bytes on one device. Not counted: the CUDA context (about 0.5 GB), fragments, and buffers of communication.

    Attributes:
        weights: Of the whole model.
        gradients, optimizer: Of what is trained; float32, Adam.
        activations: Of the language model in a training step.
        logits: Of the last layer, as computed and as float32, with their gradient.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer + self.activations + self.logits

    def to_dict(self) -> dict[str, int]:
        return {**asdict(self), "total": self.total}


def estimate_memory(
    table: Sequence[PartRow],
    text_config: Any,
    *,
    tokens: int,
    element_size: int,
    gradient_checkpointing: bool,
    devices: int = 1,
) -> MemoryEstimate:
    """
    Estimate a training step with Adam.

    Args:
        table: Of [`parameter_table`].
        text_config: Of the language model: `hidden_size`, `num_hidden_layers`, `vocab_size`.
        tokens: Of a device's batch, padding included.
        element_size: Bytes of an activation: 2 in bfloat16, 4 in float32.
        gradient_checkpointing: Keep the inputs of the layers alone, and compute one layer's activations again.
        devices: Over which weights, gradients and optimizer states are sharded (FSDP, ZeRO-3).
    """
    trained = sum(row.trained for row in table)
    hidden, layers = text_config.hidden_size, text_config.num_hidden_layers
    one_layer = _ACTIVATION_BYTES * tokens * hidden * element_size // 2
    kept = layers * tokens * hidden * element_size
    return MemoryEstimate(
        weights=sum(row.bytes for row in table) // devices,
        gradients=_GRADIENT_BYTES * trained // devices,
        optimizer=_ADAM_BYTES * trained // devices,
        activations=kept + one_layer if gradient_checkpointing else layers * one_layer,
        logits=tokens * text_config.vocab_size * (element_size + 4 + 4),
    )


__all__ = ["MemoryEstimate", "estimate_memory"]
