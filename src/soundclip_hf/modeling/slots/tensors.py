"""`sound_slots` and `sound_budget`: the tensors that carry slots from the processor to the model."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..configuration_soundclip import PatchMode
from .slot import Slot


def slot_tensors(slots: Sequence[Slot]) -> dict[str, np.ndarray]:
    """
    The slots of a prompt as tensors of its batch.

    Args:
        slots: From [`settle_slots`].

    Returns:
        `sound_slots`: int64 `(slots, 2)`, each row (row of `pixel_values` or -1, sound or -1).
        `sound_budget`: int64 `(slots,)`. `k >= 0` is drop mode with this `k`. Negative numbers are zero mode: -1 leaves
        `k` to the model, `-2 - k` asks for this `k` (-2 is 0, -152 is 150). A silent image has -1.
    """
    budgets = [slot.k if slot.mode == "drop" else -2 - slot.k for slot in slots]
    return {
        "sound_slots": np.array([(slot.image, slot.sound) for slot in slots], dtype=np.int64),
        "sound_budget": np.array(budgets, dtype=np.int64),
    }


def read_budget(value: int) -> tuple[PatchMode, int]:
    """Mode and `k` (-1: left to the model) of an entry of `sound_budget`."""
    return ("drop", value) if value >= 0 else ("zero", -2 - value)


def read_slots(sound_slots: Any, num_images: int, num_sounds: int) -> list[Slot]:
    """
    The image and the sound of each slot, in the order of the placeholders.

    Without `sound_slots`, image i has sound i if there are as many images as sounds; images without any sound are
    silent, and sounds without any image are slots of their own.

    The `sound_slots` of several processor calls may be concatenated, as pipelines do with `batch_size`: the rows of
    each call are then counted on from those before.

    Args:
        sound_slots: int64 `(slots, 2)`, or `None`.
        num_images: Images of the batch.
        num_sounds: Sounds of the batch.

    Raises:
        ValueError: If the numbers leave the pairing open, or `sound_slots` names a row that does not exist, names an
            image twice, or leaves an image or a sound out.
    """
    pairs = _pairs(sound_slots, num_images, num_sounds)
    return [Slot(index, image, sound) for index, (image, sound) in enumerate(pairs)]


def _pairs(sound_slots: Any, num_images: int, num_sounds: int) -> list[tuple[int, int]]:
    if sound_slots is None:
        if num_sounds == 0:
            return [(image, -1) for image in range(num_images)]
        if num_images == 0:
            return [(-1, sound) for sound in range(num_sounds)]
        if num_images == num_sounds:
            return [(row, row) for row in range(num_images)]
        raise ValueError(
            f"{num_images} images and {num_sounds} sounds without `sound_slots`: which sound belongs to which image is "
            "open. Pass the processor's `sound_slots`."
        )
    rows = torch.as_tensor(sound_slots)
    if rows.ndim != 2 or rows.shape[1] != 2 or rows.dtype.is_floating_point or rows.dtype == torch.bool:
        raise ValueError(
            f"sound_slots has shape {tuple(rows.shape)} and dtype {rows.dtype}: expected int64 of shape (slots, 2), "
            "each row (image or -1, sound or -1)."
        )
    pairs = [(int(image), int(sound)) for image, sound in rows.tolist()]
    pairs = _count_on(pairs, num_images, num_sounds) or pairs
    images = sorted(image for image, _ in pairs if image >= 0)
    if images != list(range(num_images)):
        raise ValueError(
            f"sound_slots names the image rows {images}, but pixel_values has {num_images} images: name each one once."
        )
    sounds = {sound for _, sound in pairs if sound >= 0}
    if sounds != set(range(num_sounds)):
        hint = (
            "the prompt was prepared for sound; pass input_features or sound_embeds with it"
            if num_sounds == 0
            else "each one is named at least once"
        )
        raise ValueError(f"sound_slots names the sounds {sorted(sounds)}, but {num_sounds} sounds were passed: {hint}.")
    for index, (image, sound) in enumerate(pairs):
        if min(image, sound) < -1 or max(image, sound) < 0:
            raise ValueError(f"sound_slots[{index}] is ({image}, {sound}): expected a row or -1, and not -1 twice.")
    return pairs


def _count_on(pairs: list[tuple[int, int]], num_images: int, num_sounds: int) -> list[tuple[int, int]] | None:
    """
    The pairs of concatenated processor calls, with rows counted over all of them; `None` if they are of one call.

    Within a call an image has one slot, and so has a sound without image: where one comes again, a new call begins.
    Every call with sound counts its rows from 0. Several calls together therefore name fewer sounds than there are,
    which a single call may not.
    """
    calls: list[list[tuple[int, int]]] = []
    for image, sound in pairs:
        images, sounds = zip(*calls[-1]) if calls else ((), ())
        again = image in images if image >= 0 else sound in sounds
        if again or not calls:
            calls.append([])
        calls[-1].append((image, sound))
    counted: list[tuple[int, int]] = []
    first_image = first_sound = 0
    for call in calls:
        named_images, named_sounds = ({row for row in column if row >= 0} for column in zip(*call))
        if named_images != set(range(len(named_images))) or named_sounds != set(range(len(named_sounds))):
            return None
        counted += [
            (image + first_image if image >= 0 else image, sound + first_sound if sound >= 0 else sound)
            for image, sound in call
        ]
        first_image, first_sound = first_image + len(named_images), first_sound + len(named_sounds)
    return counted if len(calls) > 1 and (first_image, first_sound) == (num_images, num_sounds) else None


__all__ = ["read_budget", "read_slots", "slot_tensors"]
