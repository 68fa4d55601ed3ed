"""Values of a base model at the time it was loaded: enough to tell later that its weights were changed."""

import functools
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from .adapter_parts import is_of_ears

_SAMPLES = 4  # of each parameter: training changes nearly all values of those that it trains

Sample = dict[str, torch.Tensor]


def take_sample(model: nn.Module) -> Sample:
    """A few values of each parameter outside the ears, by name; not of offloaded ones, which cannot be trained."""
    return {
        name: _values(parameter)
        for name, parameter in model.named_parameters()
        if not is_of_ears(name) and not parameter.is_meta and parameter.numel()
    }


def is_unchanged(model: nn.Module, sample: Sample | None) -> bool:
    """Whether a model has the values of a sample, up to the precision that it has now; False without a sample."""
    if sample is None:
        return False
    parameters = dict(model.named_parameters())
    for name, before in sample.items():
        now = parameters.get(name)
        if now is None:
            return False
        if now.is_meta:
            continue
        if now.numel() == 0 or not torch.equal(_values(now), before.to(now.dtype)):
            return False
    return True


def _values(parameter: Any) -> torch.Tensor:
    # Of a weight that is divided among processes, the part that is here: it may be empty.
    own: Any = parameter.detach()
    if isinstance(own, DTensor):
        own = own.to_local()
    return own.reshape(-1)[_places(own.numel(), own.device)].cpu() if own.numel() else own.reshape(-1).cpu()


# Models have few different shapes.
@functools.lru_cache(maxsize=256)
def _places(values: int, device: torch.device) -> torch.Tensor:
    places = [(values - 1) * step // (_SAMPLES - 1) for step in range(_SAMPLES)]  # float32 could not count that far
    return torch.tensor(places, device=device)


__all__ = ["Sample", "is_unchanged", "take_sample"]
