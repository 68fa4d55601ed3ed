"""How many patches stay in each slot: `sound_top_k` as callers write it in, one number per slot out."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .geometry import SlotGeometry, largest_budget
from .pairing import SoundPlan


def budget_per_slot(name: str, value: Any, samples: Sequence[int]) -> list[int | None]:
    """
    Args:
        name: Of the argument, for messages.
        value: An int for all slots, one per slot of the batch, or a list of lists per sample: numbers, arrays or
            tensors of integers. `None`, alone or in a list, leaves a slot to the default.
        samples: Slots of each sample.

    Raises:
        ValueError: If the number of values is wrong, or one is no int.
    """
    value = value.tolist() if hasattr(value, "tolist") else value
    values = list(value) if isinstance(value, (list, tuple)) else [value] * sum(samples)
    if any(isinstance(entry, (list, tuple)) for entry in values):
        sizes = [len(entry) if isinstance(entry, (list, tuple)) else 1 for entry in values]
        if sizes != list(samples):
            raise ValueError(f"{name} has {sizes} values per sample, the samples have {list(samples)} slots.")
        values = [k for entry in values for k in (entry if isinstance(entry, (list, tuple)) else [entry])]
    if len(values) != sum(samples):
        raise ValueError(f"{name} has {len(values)} entries for {sum(samples)} slots: pass an int, or one per slot.")
    for entry in values:
        if entry is not None and (isinstance(entry, bool) or not isinstance(entry, (int, np.integer))):
            raise ValueError(f"{name}={entry!r}: must be an int, the number of patches to keep.")
    return [None if entry is None else int(entry) for entry in values]


def check_budget(k: int, largest: int, index: int) -> None:
    """
    Raises:
        ValueError: If slot `index` has fewer than `k` patches.
    """
    if not 0 <= k <= largest:
        raise ValueError(f"sound_top_k={k}: must be in 0..{largest}, the patches of slot {index}.")


def slot_budgets(
    sound_top_k: Any, plan: SoundPlan, geometries: Sequence[SlotGeometry], scope: str, default: int
) -> list[int]:
    """
    `k` of each slot of a prompt that is being written.

    Args:
        sound_top_k: As of [`budget_per_slot`].
        plan: The slots; values of silent ones are not looked at.
        geometries: One per slot.
        scope: `patch_budget_scope`.
        default: The processor's own `k`; a slot that has fewer patches takes all of them.

    Returns:
        One `k` per slot, -1 where it is silent.

    Raises:
        ValueError: As [`budget_per_slot`], or if one is out of range, naming it, the range and the slot.
    """
    shared = not isinstance(sound_top_k, (list, tuple)) and not getattr(sound_top_k, "ndim", 0)
    values = budget_per_slot("sound_top_k", sound_top_k, [len(sample) for sample in plan.samples])
    budgets = []
    for index, (slot, value, geometry) in enumerate(zip(plan.slots, values, geometries, strict=True)):
        if slot.sound < 0:
            budgets.append(-1)
            continue
        largest = largest_budget(geometry, scope)
        k = min(default, largest) if value is None else value
        if shared and scope == "image" and not slot.has_image:
            k = min(k, largest)  # meant for the images' larger range; without an image it makes no difference
        check_budget(k, largest, index)
        budgets.append(k)
    return budgets


__all__ = ["budget_per_slot", "check_budget", "slot_budgets"]
