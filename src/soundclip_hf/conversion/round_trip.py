"""Compares a converted model bit for bit with the checkpoint that it was converted from."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from .origin import Origin


@dataclass(frozen=True)
class RoundTrip:
    """
    Attributes:
        equal: Original names whose tensors are bitwise the file's.
        computed: Names whose values a formula or our model gives; where the file has them they were compared when read.
        different: Names whose tensors are not the file's, or not in it.
        left_behind: Entries of the file that belong to other parts of the checkpoint.
    """

    equal: tuple[str, ...]
    computed: tuple[str, ...]
    different: tuple[str, ...]
    left_behind: tuple[str, ...]


def compare_round_trip(origin: Origin, model: PreTrainedModel, original: Mapping[str, Any]) -> RoundTrip:
    """Convert `model` back to its original names and compare with the state dict that it was made of."""
    back, constants = origin.to_original(model), origin.constants()
    theirs = {**origin.normalise(original), **original}
    equal, computed, different = [], [], []
    for key, value in back.items():
        if key in constants or re.search(origin.fixed, key):
            computed.append(key)
        elif key in theirs and _same_bits(value, theirs[key]):
            equal.append(key)
        else:
            different.append(key)
    # Under the names of the way back too, which a variant of the original names does not have.
    known = {*back, *origin.normalise(back), *constants}
    names = origin.normalise(original) if not known & set(original) else original
    left_behind = [key for key in names if key not in known]
    return RoundTrip(tuple(equal), tuple(computed), tuple(different), tuple(left_behind))


def _same_bits(ours: Tensor, theirs: Tensor) -> bool:
    # Our weights are fp32: those of a half-precision file were widened, which loses nothing.
    narrowed = ours.to(theirs.dtype).reshape(-1).contiguous()
    theirs = theirs.reshape(-1).contiguous()
    return narrowed.shape == theirs.shape and torch.equal(narrowed.view(torch.uint8), theirs.view(torch.uint8))


__all__ = ["RoundTrip", "compare_round_trip"]
