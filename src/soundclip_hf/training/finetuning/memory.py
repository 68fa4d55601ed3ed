"""
An estimate of the memory that a fine-tuning needs on each device, from shapes alone.

Tensors that autograd keeps of a decoder layer with SwiGLU and fused attention, in elements for each token; `e` bytes
are an element of the computation, `r` of the residual stream, which is float32 where weights and computation differ:

| kept | elements | bytes |
|---|---|---|
| what each of the two norms reads | hidden | 4 |
| what their trained weights are multiplied with | hidden | r |
| input of q, k, v and of gate, up: trained weights | hidden, once; for each linear layer where it must be cast | e |
| the same, with LoRA: a copy for each linear layer | in_features | e |
| the mask of a LoRA's dropout | in_features | 1 |
| output of a LoRA's first matrix | r of LoRA | e |
| q, k, v and the output of the attention | 2 (heads + key-value heads) x head size | e |
| logarithms of the softmax's sums | heads | 4 |
| gate, silu(gate), up | 3 intermediate | e |
| input of down: trained weights, or LoRA as above | intermediate | e |

Frozen linear layers keep nothing; nor do towers, in which nothing is trained. Dropout without LoRA is not counted.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from .presets import LORA, PartRow

_FLOAT32 = 4
# Adam keeps two numbers of 32 bits for each trained parameter.
_ADAM_BYTES = 8
# Layers whose weights FSDP holds at the same time: the one that computes, and the one that is gathered for the next.
_GATHERED_LAYERS = 2


@dataclass(frozen=True)
class MemoryEstimate:
    """
    Bytes on one device at the largest moment of a step. Not counted: the CUDA context (about 0.5 GB), fragments, and
    buffers of communication.

    Attributes:
        weights: Of the whole model.
        copies: Of weights, in the precision of the computation: those of autocast, or layers that FSDP has gathered.
        gradients, optimizer: Of what is trained; float32, Adam.
        activations: What is kept of the language model until the backward pass.
        working: The largest of what is needed for a moment: logits with their gradient, a layer that is computed again
            with its gradients, or a temporary of the optimizer beyond the activations, which are gone by then.
    """

    weights: int
    copies: int
    gradients: int
    optimizer: int
    activations: int
    working: int

    @property
    def total(self) -> int:
        return sum(asdict(self).values())

    def to_dict(self) -> dict[str, int]:
        return {**asdict(self), "total": self.total}


@dataclass(frozen=True)
class DecoderLayer:
    """
    What decides the memory of a decoder layer.

    Attributes:
        hidden, intermediate, heads, key_value_heads, head_size: Of the configuration.
        trained: Whether its own weights are trained.
        lora: Of each linear layer with LoRA: `in_features` and the rank.
        lora_dropout: Whether LoRA's dropout is on.
        weights: Numbers in its linear layers.
        stored: Bytes of one of them.
    """

    hidden: int
    intermediate: int
    heads: int
    key_value_heads: int
    head_size: int
    trained: bool
    lora: tuple[tuple[int, int], ...]
    lora_dropout: bool
    weights: int
    stored: int

    @classmethod
    def of(cls, language_model: nn.Module, config: Any) -> "DecoderLayer":
        """The first layer of a language model, after [`apply_preset`]; also on the meta device."""
        layer: Any = language_model.get_submodule("layers.0")
        linear = [module for module in layer.modules() if hasattr(module, "lora_A") and len(module.lora_A)]
        own = {key: value for key, value in layer.named_parameters() if ".lora_" not in key}
        return cls(
            config.hidden_size,
            config.intermediate_size,
            config.num_attention_heads,
            config.num_key_value_heads,
            getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
            any(value.requires_grad for value in own.values()),
            tuple((module.in_features, next(iter(module.r.values()))) for module in linear),
            any(getattr(one, "p", 0) > 0 for module in linear for one in module.lora_dropout.values()),
            sum(value.numel() for value in own.values() if value.ndim == 2),
            max(value.element_size() for value in own.values()),
        )

    def kept(self, tokens: int, element: int, mask_row: int = 0) -> int:
        """
        Bytes that autograd keeps of one layer; see the table above.

        Args:
            tokens: Of a batch, padding included.
            element: Bytes of an element of the computation.
            mask_row: Elements of a row of the attention mask; 0 without padding.
        """
        residual = element if self.stored == element else _FLOAT32
        heads, pairs = self.heads * self.head_size, self.key_value_heads * self.head_size
        count = 2 * _FLOAT32 * self.hidden
        count += 2 * (heads + pairs) * element + _FLOAT32 * self.heads
        count += 3 * self.intermediate * element
        if self.trained:
            count += 2 * residual * self.hidden
            # A cast input is another tensor for q, k, v, gate and up each. That of o is the output of the attention.
            count += self.hidden * element * (2 if residual == element else 5)
            count += self.intermediate * element
        for width, rank in self.lora:
            count += element * (width + rank) + (width if self.lora_dropout else 0)
        return tokens * (count + mask_row * element)

    def backward(self, tokens: int, element: int) -> int:
        """Bytes of gradients that are alive at once in the backward pass of one layer: those of its MLP."""
        return tokens * (4 * self.intermediate * element + 2 * _FLOAT32 * self.hidden)


def estimate_memory(
    table: Sequence[PartRow],
    text_config: Any,
    layer: DecoderLayer,
    *,
    tokens: int,
    element_size: int,
    gradient_checkpointing: bool,
    devices: int = 1,
    padded_to: int = 0,
) -> MemoryEstimate:
    """
    Estimate a training step with Adam.

    Args:
        table: Of [`parameter_table`].
        text_config: Of the language model: `hidden_size`, `num_hidden_layers`, `vocab_size`.
        layer: One of its layers.
        tokens: Of a device's batch, padding included.
        element_size: Bytes of an activation: 2 in bfloat16, 4 in float32.
        gradient_checkpointing: Keep the inputs of the layers alone, and compute one layer's activations again.
        devices: Over which FSDP or ZeRO-3 divides weights, gradients and optimizer states of the language model and of
            what else is trained. Frozen towers are whole on each.
        padded_to: Length of the rows, if some are padded: the attention then keeps a mask in each layer.
    """
    trained = sum(row.trained for row in table)
    layers, vocabulary = text_config.num_hidden_layers, text_config.vocab_size
    shared = [row for row in table if row.trained or row.part in ("language_model", LORA)]
    whole = sum(row.bytes for row in table) - sum(row.bytes for row in shared)
    one_layer = layer.kept(tokens, element_size, padded_to)
    residual = element_size if layer.stored == element_size else _FLOAT32
    inputs = tokens * text_config.hidden_size * residual
    # Behind the layers, one more norm; where it is trained, what its weights and those of the head are applied to.
    last_norm = tokens * text_config.hidden_size * (_FLOAT32 + (residual + element_size if layer.trained else 0))
    # cross-entropy keeps the logarithm of the softmax, and its backward pass holds two more tensors of this size.
    logits = 3 * _FLOAT32 * tokens * vocabulary
    if gradient_checkpointing:
        kept = layers * inputs + last_norm
        moment = max(logits, one_layer + layer.backward(tokens, element_size))
    else:
        kept = layers * one_layer + last_norm
        moment = max(logits, layer.backward(tokens, element_size))
    return MemoryEstimate(
        weights=sum(row.bytes for row in shared) // devices + whole,
        copies=_copies(layer, text_config, element_size, gradient_checkpointing, devices),
        gradients=_FLOAT32 * trained // devices,
        optimizer=_ADAM_BYTES * trained // devices,
        activations=kept,
        # AdamW without fusion makes a tensor of the size of the weights.
        working=max(moment, _FLOAT32 * trained // devices - kept),
    )


def _copies(layer: DecoderLayer, config: Any, element: int, checkpointing: bool, devices: int) -> int:
    head = config.hidden_size * config.vocab_size
    if devices > 1:
        return element * (_GATHERED_LAYERS * layer.weights + 2 * head)  # embeddings and head stay gathered
    if layer.stored == element:
        return 0
    # autocast keeps its copies of trained weights until the forward pass ends. Those of frozen weights are kept by the
    # graph, which activation checkpointing drops.
    layers = 1 if checkpointing and not layer.trained else config.num_hidden_layers
    return element * (layers * layer.weights + head)


__all__ = ["DecoderLayer", "MemoryEstimate", "estimate_memory"]
