"""Pairs sounds with images: the slots of each sample."""

from collections.abc import Sequence
from numbers import Number
from typing import Any

from .slot import BatchSlots


def is_sound(value: Any) -> bool:
    """Whether `value` is one sound, such as a list of numbers or `(array, rate)`, rather than a list of sounds."""
    if isinstance(value, (list, tuple)):
        return len(value) > 0 and any(isinstance(part, Number) for part in value)
    return value is not None


def sounds_per_sample(audio: Any, num_samples: int, markers: Sequence[int] | None = None) -> list[list[Any]]:
    """
    Sort the processor's `audio` argument into samples.

    Args:
        audio: `None`, one sound, a flat list (of a batch of one; one per sample; or one per marker), or a list of
            lists, one per sample. `None` in a list marks a silent image or a silent sample.
        num_samples: Number of prompts.
        markers: Audio markers in each prompt; `None` where there are no prompts.

    Raises:
        ValueError: If a list fits neither the number of samples nor the number of markers.
    """
    if audio is None:
        return [[] for _ in range(num_samples)]
    if is_sound(audio):
        audio = [audio]
    nested = any(isinstance(entry, (list, tuple)) and not is_sound(entry) for entry in audio)
    if not nested and num_samples == 1:
        return [list(audio)]
    if not nested and markers is not None and len(audio) == sum(markers) and all(entry is not None for entry in audio):
        ends = [sum(markers[: index + 1]) for index in range(num_samples)]
        return [list(audio[end - count : end]) for end, count in zip(ends, markers, strict=True)]
    if len(audio) != num_samples:
        raise ValueError(
            f"`audio` has {len(audio)} entries for {num_samples} samples: nest it per sample, such as "
            "[[sound_a], [None, sound_b], []] (None marks a silent image)."
        )
    return [[] if entry is None else [entry] if is_sound(entry) else list(entry) for entry in audio]


def pair_sounds(num_images: int, sounds: Sequence[Any], where: str) -> list[int]:
    """
    For each slot of one sample the index of its sound in `sounds`, or -1.

    A sample has no sound, one sound for every image, or one sound per image. Without images each sound is a slot.

    Args:
        num_images: Images of the sample.
        sounds: Its sounds; `None` marks a silent image.
        where: Names the sample in the message.

    Raises:
        ValueError: For any other number of sounds, naming both counts.
    """
    if all(sound is None for sound in sounds):
        sounds = []
    if not sounds:
        return [-1] * num_images
    if num_images == 0:
        if any(sound is None for sound in sounds):
            raise ValueError(f"{where}: None marks a silent image, but there are 0 images and {len(sounds)} sounds.")
        return list(range(len(sounds)))
    if len(sounds) == 1:
        return [0] * num_images
    if len(sounds) == num_images:
        return [-1 if sound is None else index for index, sound in enumerate(sounds)]
    raise ValueError(
        f"{where}: {len(sounds)} sounds for {num_images} image{'s' * (num_images != 1)}. Give none, one (for every "
        "image), or one per image (None marks a silent image)."
    )


def check_markers(markers: int, sounds: Sequence[Any], slots: Sequence[int], token: str, where: str) -> None:
    """
    Check that every sound has a marker in the prompt, and the reverse. A sound that several images share has one
    marker, or one per image.

    Args:
        markers: Audio markers in the prompt.
        sounds: The sounds of the sample; `None` marks a silent image.
        slots: From [`pair_sounds`].
        token: The marker.
        where: Names the sample in the message.

    Raises:
        ValueError: If the numbers differ, naming both.
    """
    given = sum(sound is not None for sound in sounds)
    if markers in (given, sum(sound >= 0 for sound in slots)):
        return
    if given == 0:
        raise ValueError(f"{where}: {markers} {token} in the text, but no sound: pass `audio`, or take {token} out.")
    raise ValueError(
        f"{where}: {given} sound{'s' * (given != 1)} but {markers} {token} in the text: write {token} once for each "
        "sound (after its image, where there is one), or use `apply_chat_template`, which does so."
    )


def pair_batch(
    image_counts: Sequence[int],
    audio: Any,
    source_rate: int | None,
    markers: Sequence[int] | None = None,
    audio_token: str = "<audio>",
) -> BatchSlots:
    """
    Pair the processor's `audio` argument with the images of each sample.

    Args:
        image_counts: Images of each sample.
        audio: As in [`sounds_per_sample`].
        source_rate: The rate of bare arrays, in Hz.
        markers: Audio markers in each prompt; `None` where there are no prompts.
        audio_token: The marker, for the messages.

    Raises:
        ValueError: If the numbers of sounds, images and markers of a sample do not fit.
    """
    batch = BatchSlots()
    for index, sounds in enumerate(sounds_per_sample(audio, len(image_counts), markers)):
        where = f"sample {index}"
        heard = pair_sounds(image_counts[index], sounds, where)
        if markers is not None:
            check_markers(markers[index], sounds, heard, audio_token, where)
        rows = batch.add_sounds([None if sound is None else (sound, source_rate) for sound in sounds])
        batch.add_sample([rows[sound] if sound >= 0 else -1 for sound in heard], has_images=image_counts[index] > 0)
    return batch


__all__ = ["check_markers", "is_sound", "pair_batch", "pair_sounds", "sounds_per_sample"]
