"""Keeps projectors in the graph of a training step whose batch has no sound, or no picture."""

from typing import Any

import torch
from torch import Tensor
from transformers.utils import ModelOutput


def with_unused_projectors(output: ModelOutput, backbone: Any, *, has_sound: bool, has_picture: bool) -> ModelOutput:
    """
    Add zero times each trained projector that a training step did not use to its loss, or, without a loss, to its
    logits or hidden states.

    Without that, a batch that has no sound has nothing to compute a gradient of where only the projector is trained,
    and in distributed training its process waits for ever for the others, or ends the run.

    Args:
        output: Of the forward; changed in place.
        backbone: Has `audio_projection` and `multi_modal_projector`.
        has_sound, has_picture: What the batch had.

    Returns:
        `output`; untouched outside of training, and where nothing is missing.
    """
    if not (backbone.training and torch.is_grad_enabled()):
        return output
    unused = []
    if not has_sound and _is_trained(backbone.audio_projection):
        unused.append(_pass_of_zeros(backbone.audio_projection, backbone.audio_projection.fc1.in_features))
    projector = getattr(backbone, "multi_modal_projector", None)
    if not (has_sound or has_picture) and projector is not None and _is_trained(projector):
        unused.append(_pass_of_zeros(projector, projector.linear_1.in_features))
    if not unused:
        return output
    name = next(key for key in ("loss", "logits", "last_hidden_state") if output.get(key) is not None)
    nothing = sum(one.to(output[name].device) for one in unused)
    output[name] = output[name] + (0 * nothing).to(output[name].dtype)
    return output


def _is_trained(module: torch.nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


def _pass_of_zeros(module: torch.nn.Module, width: int) -> Tensor:
    # Through the module, not its parameters: FSDP gathers them in its hooks.
    parameter = next(module.parameters())
    dtype = parameter.dtype if parameter.is_floating_point() else torch.float32
    return module(torch.zeros(1, width, device=parameter.device, dtype=dtype)).float().sum()


__all__ = ["with_unused_projectors"]
