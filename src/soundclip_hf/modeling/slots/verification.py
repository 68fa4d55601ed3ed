"""The image tokens of prompts, compared with what their slots take: a difference is an error with the numbers."""

from collections.abc import Sequence

from .slot import Slot


def check_truncation(found: Sequence[int], slots: Sequence[Slot], samples: Sequence[int], limit: int) -> None:
    """
    Compare each tokenised sample with its slots.

    Args:
        found: Image tokens in each tokenised sample.
        slots: The slots of the batch.
        samples: Number of slots of each sample.
        limit: The length that prompts were cut to.

    Raises:
        ValueError: If a sample lost image tokens, with the numbers.
    """
    remaining = iter(slots)
    for index, (left, size) in enumerate(zip(found, samples, strict=True)):
        expected = sum(next(remaining).num_tokens for _ in range(size))
        if left != expected:
            raise ValueError(
                f"sample {index}: truncation to {limit} tokens would leave {left} of {expected} image tokens; raise "
                "max_length or leave truncation out."
            )


def check_placeholders(slots: Sequence[Slot], placeholders: Sequence[int]) -> None:
    """
    Compare the placeholders of each sample with the tokens of its slots, before any tower runs.

    Args:
        slots: The slots of the batch.
        placeholders: Image tokens in each sample; which slots they belong to follows from the numbers of tokens.

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


def _mismatch(sample: int, found: int, taken: Sequence[Slot]) -> str:
    parts = " + ".join(f"{slot.num_tokens} ({_describe(slot)})" for slot in taken) or "0 (no image or sound left)"
    return (
        f"Sample {sample} has {found} image placeholders, expected {parts}. A prompt expanded for a sound must come "
        "with it, and a sound needs a prompt that was expanded for it: prepare prompt, images and sounds in one "
        "processor call."
    )


def _describe(slot: Slot) -> str:
    if not slot.has_sound:
        return "silent image"
    what = "image with sound" if slot.has_image else "sound"
    return f"{what}, {slot.mode}, k={slot.k}"


__all__ = ["check_placeholders", "check_truncation"]
