"""From paired slots and processed pictures to each slot's geometry, budget and number of tokens."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .geometry import SlotGeometry, count_visual_tokens, image_slot, sound_only_slot
from .pairing import PairedSlot, SoundPlan


def view_size(image_processor: Any) -> int:
    """Pixels of a view's side, as the image processor is set up."""
    crop = getattr(image_processor, "do_center_crop", False) and image_processor.crop_size is not None
    size = dict(image_processor.crop_size if crop else image_processor.size)
    return size.get("shortest_edge") or min(size["height"], size["width"])


def slot_geometries(
    slots: Sequence[PairedSlot], image_inputs: Mapping[str, Any], image_processor: Any, patch_size: int, anyres: bool
) -> list[SlotGeometry]:
    """
    What each slot shows.

    Args:
        slots: In placeholder order; images are taken from `image_inputs` in turn.
        image_inputs: What `image_processor` returned; empty without images.
        image_processor: Knows the view size, and the pinpoints of LLaVA-1.6.
        patch_size: Of the vision tower.
        anyres: Whether the base is LLaVA-1.6.

    Raises:
        ValueError: If the processed views are not square.
    """
    geometries, row = [], 0
    for slot in slots:
        if not slot.has_image:
            geometries.append(sound_only_slot(view_size(image_processor) // patch_size))
            continue
        height, width = np.shape(image_inputs["pixel_values"][row])[-2:]
        if height != width:
            raise ValueError(f"Views of {height}x{width} pixels: sound needs square ones; check size and crop_size.")
        if anyres:
            rows, columns = (int(value) for value in image_inputs["image_sizes"][row])
            pinpoints = image_processor.image_grid_pinpoints
            geometries.append(image_slot(height // patch_size, (rows, columns), pinpoints, height))
        else:
            geometries.append(image_slot(height // patch_size))
        row += 1
    return geometries


def slot_token_counts(
    slots: Sequence[PairedSlot],
    geometries: Sequence[SlotGeometry],
    budgets: Sequence[int],
    *,
    scope: str,
    select_strategy: str,
    sound_select_strategy: str,
) -> list[int]:
    """
    Tokens of each slot.

    Raises:
        ValueError: If a sound would not reach the LLM at all.
    """
    counts = []
    for index, (slot, geometry, budget) in enumerate(zip(slots, geometries, budgets, strict=True)):
        sounding = slot.sound >= 0
        count = count_visual_tokens(
            geometry,
            sounding=sounding,
            budget=budget,
            scope=scope,
            select_strategy=select_strategy,
            sound_select_strategy=sound_select_strategy,
        )
        if sounding and (count == 0 or (not slot.has_image and sound_select_strategy == "default")):
            rest = "k=0 drops every patch" if slot.has_image else "there is no image whose patches it could choose"
            raise ValueError(
                f"slot {index}: sound_select_strategy='default' drops the sound's own row and {rest}, so the sound "
                f"never reaches the LLM ({count} tokens). Use sound_select_strategy='full'."
            )
        counts.append(count)
    return counts


def check_truncation(found: Sequence[int], plan: SoundPlan, counts: Sequence[int], limit: int) -> None:
    """
    Args:
        found: Image tokens in each tokenised sample.
        plan: The slots of each sample.
        counts: Tokens of each slot.
        limit: The length that prompts were cut to.

    Raises:
        ValueError: If a sample lost image tokens, with the numbers.
    """
    remaining = iter(counts)
    for index, (left, sample) in enumerate(zip(found, plan.samples, strict=True)):
        expected = sum(next(remaining) for _ in sample)
        if left != expected:
            raise ValueError(
                f"sample {index}: truncation to {limit} tokens would leave {left} of {expected} image tokens; raise "
                "max_length or leave truncation out."
            )


__all__ = ["check_truncation", "slot_geometries", "slot_token_counts", "view_size"]
