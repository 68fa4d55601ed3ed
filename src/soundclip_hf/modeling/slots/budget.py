"""Settles geometry, patch budget and number of tokens of each slot, for processor and model alike."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ..configuration_soundclip import BudgetScope, PatchMode, SelectStrategy
from .geometry import SlotGeometry, count_visual_tokens, largest_budget
from .slot import Slot
from .tensors import read_budget


@dataclass(frozen=True)
class SlotSettings:
    """
    The settings of a processor or a model that decide a slot's budget and tokens.

    Attributes:
        mode: "zero" or "drop".
        k: Patches to keep where neither the call nor the prompt says it; -1 leaves it to the model.
        scope: `patch_budget_scope`: "tile", "image" or "base".
        select_strategy: "default" or "full", for silent images.
        sound_select_strategy: "default" or "full", for slots with a sound.
    """

    mode: PatchMode
    k: int
    scope: BudgetScope
    select_strategy: SelectStrategy
    sound_select_strategy: SelectStrategy


def settle_slots(
    slots: Sequence[Slot],
    images: Sequence[SlotGeometry],
    empty: SlotGeometry,
    settings: SlotSettings | Sequence[SlotSettings],
    *,
    samples: Sequence[int] | None = None,
    sound_top_k: Any = None,
    sound_patches: PatchMode | None = None,
    sound_budget: Any = None,
) -> list[Slot]:
    """
    Determine what each slot shows, its mode, its `k` and its number of tokens. What the prompt was prepared for comes
    first, then the call, then the settings.

    Args:
        slots: With `image` and `sound`.
        images: Geometry of each image.
        empty: Geometry of a sound without image.
        settings: Those of the processor or the model, for all slots or for each one.
        samples: Number of slots of each sample; by default all slots belong to one sample.
        sound_top_k: That of the call, as in [`budget_per_slot`]; values for silent images are ignored.
        sound_patches: That of the call.
        sound_budget: int64 `(slots,)` of a prepared prompt, as in [`slot_tensors`].

    Returns:
        New slots with `geometry`, `first_view`, `mode`, `k`, `scope`, `with_first_row` and `num_tokens`.

    Raises:
        ValueError: If a budget is not an int or is out of range, the call contradicts the prompt, or a sound would
            not reach the language model at all.
    """
    if sound_patches not in (None, "zero", "drop"):
        raise ValueError(f"sound_patches={sound_patches!r}: allowed are 'zero' and 'drop'.")
    samples = [len(slots)] if samples is None else samples
    prepared = budget_per_slot("sound_budget", sound_budget, [len(slots)])
    called = budget_per_slot("sound_top_k", sound_top_k, samples)
    every = [settings] * len(slots) if isinstance(settings, SlotSettings) else settings
    first_views = [0, *np.cumsum([geometry.num_views for geometry in images]).tolist()]
    settled = []
    for slot, call, budget, own in zip(slots, called, prepared, every, strict=True):
        geometry = images[slot.image] if slot.has_image else empty
        if own.scope == "image" and call is not None and not slot.has_image and not _is_list(sound_top_k):
            # One number for all slots is meant for the larger range of images; without one it makes no difference.
            call = min(call, empty.num_patches)
        mode: PatchMode | Literal["silent"] = "silent"
        k = -1
        if slot.has_sound:
            mode, k = _mode_and_budget(
                slot.index, largest_budget(geometry, own.scope), call, sound_patches, budget, own
            )
        if mode == "drop" and geometry.shrunk is not None and own.scope != "base":
            raise ValueError(
                f"slot {slot.index}: sound_patches='drop' cannot leave out patches of a picture whose tiles the model "
                f"shrinks to {geometry.shrunk[0]}x{geometry.shrunk[1]} tokens: each token shows several patches. Use "
                "sound_patches='zero', patch_budget_scope='base', or a smaller picture."
            )
        num_tokens = count_visual_tokens(
            geometry,
            sounding=slot.has_sound,
            budget=k if mode == "drop" else -1,
            scope=own.scope,
            select_strategy=own.select_strategy,
            sound_select_strategy=own.sound_select_strategy,
        )
        if slot.has_sound and own.sound_select_strategy == "default" and (k == 0 or not slot.has_image):
            rest = "k=0 drops every patch" if slot.has_image else "there is no image whose patches it could choose"
            raise ValueError(
                f"slot {slot.index}: sound_select_strategy='default' drops the sound's own row and {rest}, so the "
                f"sound never reaches the LLM ({num_tokens} tokens). Use sound_select_strategy='full'."
            )
        first_view = first_views[slot.image] if slot.has_image else -1
        strategy = own.sound_select_strategy if slot.has_sound else own.select_strategy
        settled.append(
            replace(
                slot,
                geometry=geometry,
                first_view=first_view,
                mode=mode,
                k=k,
                scope=own.scope,
                with_first_row=strategy == "full",
                num_tokens=num_tokens,
            )
        )
    return settled


def budget_per_slot(name: str, value: Any, samples: Sequence[int]) -> list[int | None]:
    """
    One number per slot of an argument such as `sound_top_k`.

    Args:
        name: Of the argument, for messages.
        value: An int for all slots, one per slot of the batch, or a list of lists per sample; arrays and tensors of
            integers are taken like lists, those without dimensions like ints. `None`, alone or in a list, leaves a
            slot to the default.
        samples: Number of slots of each sample.

    Raises:
        ValueError: If the number of values is wrong, or one is not an int.
    """
    value = _plain(value)
    values = list(value) if isinstance(value, list) else [value] * sum(samples)
    if any(isinstance(entry, list) for entry in values):
        nested = [entry if isinstance(entry, list) else [entry] for entry in values]
        sizes = [len(entry) for entry in nested]
        if sizes != list(samples):
            raise ValueError(f"{name} has {sizes} values per sample, the samples have {list(samples)} slots.")
        values = [k for entry in nested for k in entry]
    if len(values) != sum(samples):
        raise ValueError(f"{name} has {len(values)} entries for {sum(samples)} slots: pass an int, or one per slot.")
    for entry in values:
        if entry is not None and (isinstance(entry, bool) or not isinstance(entry, int)):
            raise ValueError(f"{name}={entry!r}: must be an int, the number of patches to keep.")
    return values


def _plain(value: Any) -> Any:
    """Tuples, arrays and tensors as lists, their numbers as Python's own."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return [_plain(entry) for entry in value] if isinstance(value, (list, tuple)) else value


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple)) or getattr(value, "ndim", 0) > 0


def _mode_and_budget(
    index: int, largest: int, call: int | None, patches: PatchMode | None, budget: int | None, settings: SlotSettings
) -> tuple[PatchMode, int]:
    mode, k = (patches or settings.mode, -1) if budget is None else read_budget(budget)
    if patches not in (None, mode):
        raise ValueError(
            f"The prompt was expanded for {mode} (slot {index}), the call says sound_patches={patches!r}; pass "
            f"sound_patches={patches!r} to the processor."
        )
    if k >= 0 and call not in (None, k):
        raise ValueError(
            f"The prompt was expanded for {mode}, k={k} (slot {index}), the call says sound_top_k={call}; pass "
            f"sound_top_k={call} to the processor."
        )
    if k < 0 and call is None:
        return mode, min(settings.k, largest)  # a tower may have fewer patches than the default
    k = call if call is not None else k
    if not 0 <= k <= largest:
        raise ValueError(f"sound_top_k={k}: must be in 0..{largest}, the patches of slot {index}.")
    return mode, k


__all__ = ["SlotSettings", "budget_per_slot", "settle_slots"]
