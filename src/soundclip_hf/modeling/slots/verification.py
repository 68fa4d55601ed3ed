"""Which image and which sound each visual slot holds, and its patch budget: read from tensors, never guessed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .budget import budget_per_slot, check_budget
from .geometry import SlotGeometry, count_visual_tokens, largest_budget


@dataclass(frozen=True)
class Slot:
    """
    One visual slot in placeholder order.

    Attributes:
        index: Its place in that order.
        geometry: Its picture.
        image: Row of `pixel_values`, or -1.
        view: Row of its base view among all views of the batch, or -1.
        sound: Row of the sounds, or -1 for a silent image.
        k: Patches to keep (per view, image or base view, by scope); -1 for a silent image.
        mode: "zero", "drop" or "silent".
        num_tokens: Tokens that it takes in the LLM.
    """

    index: int
    geometry: SlotGeometry
    image: int
    view: int
    sound: int
    k: int
    mode: str
    num_tokens: int


def pair_slots(sound_slots: Any, num_images: int, num_sounds: int) -> list[tuple[int, int]]:
    """
    Pairs `(image or -1, sound or -1)` in placeholder order.

    Without `sound_slots`, row i belongs to row i when there are as many images as sounds, images alone are silent and
    sounds alone are slots of their own. The `sound_slots` of several processor calls may be concatenated, as pipelines
    do with `batch_size`: each call's rows then count on from those before.

    Raises:
        ValueError: If the counts leave the pairing open, or `sound_slots` names a row that does not exist, names an
            image twice, or leaves an image or a sound out.
    """
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
    The pairs of concatenated processor calls, rows counted over all of them; `None` where they are those of one call.

    Within a call an image has one slot, and so has a sound without image: where one comes again, a call begins. Every
    call with sound counts from 0, so that together they name fewer sounds than there are, as no single call may.
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


def plan_slots(
    pairs: Sequence[tuple[int, int]],
    geometries: Sequence[SlotGeometry],
    config: Any,
    *,
    select_strategy: str,
    sound_budget: Any = None,
    sound_top_k: Any = None,
    sound_patches: str | None = None,
) -> list[Slot]:
    """
    Settle budget, mode and token count of every slot: the expanded prompt's `sound_budget`, then the call, then the
    configuration.

    Args:
        pairs: From [`pair_slots`].
        geometries: One per slot.
        config: `SoundClipConfig` with `token_budget`, `patches`, `patch_budget_scope`, `sound_select_strategy`.
        select_strategy: Layout of silent images.
        sound_budget: int64 `(slots,)`: -1 is zero mode, `k >= 0` drop mode with this `k`.
        sound_top_k: `k` for all slots, or one per slot.
        sound_patches: "zero" or "drop", for prompts without `sound_budget`.

    Raises:
        ValueError: If a budget is out of range, or the call contradicts the expanded prompt.
    """
    if sound_patches not in (None, "zero", "drop"):
        raise ValueError(f"sound_patches={sound_patches!r}: allowed are 'zero' and 'drop'.")
    budgets = budget_per_slot("sound_budget", sound_budget, [len(pairs)])
    calls = budget_per_slot("sound_top_k", sound_top_k, [len(pairs)])
    slots: list[Slot] = []
    first_view = _first_views(pairs, geometries)
    for index, ((image, sound), geometry) in enumerate(zip(pairs, geometries)):
        if sound < 0:
            k, mode = -1, "silent"
        else:
            k, mode = _settle(index, budgets[index], calls[index], sound_patches, config)
            largest = largest_budget(geometry, config.patch_budget_scope)
            if calls[index] is None and (budgets[index] is None or budgets[index] < 0):  # type: ignore[operator]
                k = min(k, largest)  # the configuration's default serves towers with fewer patches, too
            check_budget(k, largest, index)
        count = count_visual_tokens(
            geometry,
            sounding=sound >= 0,
            budget=k if mode == "drop" else -1,
            scope=config.patch_budget_scope,
            select_strategy=select_strategy,
            sound_select_strategy=config.sound_select_strategy,
        )
        slots.append(Slot(index, geometry, image, first_view[index], sound, k, mode, count))
    return slots


def check_placeholders(slots: Sequence[Slot], placeholders: Sequence[int]) -> None:
    """
    Compare each sample's placeholders with the tokens of its slots, before any tower runs.

    Raises:
        ValueError: Naming the sample, the placeholders found and the tokens expected.
    """
    remaining = list(slots)
    for sample, found in enumerate(placeholders):
        taken: list[Slot] = []
        while remaining and sum(slot.num_tokens for slot in taken) < found:
            taken.append(remaining.pop(0))
        expected = sum(slot.num_tokens for slot in taken)
        if expected != found:
            raise ValueError(_mismatch(sample, found, taken))
    if remaining:
        raise ValueError(
            f"The prompts hold {sum(placeholders)} image placeholders, expected {sum(s.num_tokens for s in slots)}: "
            f"none is left for the last {len(remaining)} of {len(slots)} slots. Prepare prompt, images and sounds in "
            "one processor call."
        )


def _first_views(pairs: Sequence[tuple[int, int]], geometries: Sequence[SlotGeometry]) -> list[int]:
    by_image = {image: geometry.num_views for (image, _), geometry in zip(pairs, geometries) if image >= 0}
    starts, total = {-1: -1}, 0
    for image in sorted(by_image):
        starts[image] = total
        total += by_image[image]
    return [starts[image] for image, _ in pairs]


def _mismatch(sample: int, found: int, taken: Sequence[Slot]) -> str:
    parts = " + ".join(f"{slot.num_tokens} ({_describe(slot)})" for slot in taken) or "0 (no image or sound left)"
    return (
        f"Sample {sample} has {found} image placeholders, expected {parts}. A prompt expanded for a sound must come "
        "with it, and a sound needs a prompt that was expanded for it: prepare prompt, images and sounds in one "
        "processor call."
    )


def _describe(slot: Slot) -> str:
    if slot.mode == "silent":
        return "silent image"
    what = "image with sound" if slot.geometry.has_image else "sound"
    return f"{what}, {slot.mode}, k={slot.k}"


def _settle(index: int, budget: int | None, call: int | None, patches: str | None, config: Any) -> tuple[int, str]:
    if budget is None:
        return (call if call is not None else config.token_budget), patches or config.patches
    mode = "zero" if budget < 0 else "drop"
    if patches is not None and patches != mode:
        raise ValueError(
            f"The prompt was expanded for {mode} (slot {index}), the call says sound_patches={patches!r}; pass "
            f"sound_patches={patches!r} to the processor."
        )
    if mode == "zero":
        return (call if call is not None else config.token_budget), mode
    if call is not None and call != budget:
        raise ValueError(
            f"The prompt was expanded for drop, k={budget} (slot {index}), the call says sound_top_k={call}; pass "
            f"sound_top_k={call} to the processor."
        )
    return budget, mode
