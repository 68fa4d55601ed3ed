"""What FSDP shards of a SoundLlava."""

from dataclasses import replace
from typing import Any

import torch
from torch import nn


def shard_language_model(plugin: Any, model: nn.Module, device: Any) -> None:
    """
    Let FSDP 2 shard the language model and what else is trained. Towers and projectors that are frozen stay whole on
    every device.

    FSDP gathers the weights of a layer from all processes whenever the layer runs. A tower runs only where a batch has
    a picture or a sound, so a process without one would leave the others waiting for ever.

    Args:
        plugin: `FullyShardedDataParallelPlugin` of an accelerator that has not prepared the model yet; changed in
            place. Layer classes that the user named are kept.
        model: A SoundLlava after [`apply_preset`].
        device: Of this process. FSDP does not move what it leaves alone.
    """
    backbone = model.get_submodule("model")
    language_model: Any = backbone.get_submodule("language_model")
    frozen = [
        module
        for module in backbone.children()
        if module is not language_model and not any(parameter.requires_grad for parameter in module.parameters())
    ]
    for module in frozen:
        module.to(device)
    plugin.ignored_modules = frozen
    # With frozen embeddings, the gradient of a batch without a sound ends in the first layer, which would then send its
    # own gradients later than the same layer of the other processes.
    language_model.enable_input_require_grads()
    if plugin.transformer_cls_names_to_wrap is None:
        plugin.transformer_cls_names_to_wrap = sorted(language_model._no_split_modules)
    if plugin.mixed_precision_policy is not None:
        # As without FSDP: sounds and pictures stay in float32 until the towers read them, the loss is not rounded, and
        # gradients are added up in float32.
        plugin.mixed_precision_policy = replace(
            plugin.mixed_precision_policy, cast_forward_inputs=False, output_dtype=None, reduce_dtype=torch.float32
        )


__all__ = ["shard_language_model"]
