"""Which sound belongs to which image: per-sample sounds and counts in, one list of paired slots per sample out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Number
from typing import Any


@dataclass(frozen=True)
class PairedSlot:
    """A visual slot: an image, or the place of a sound without image; `sound` is a row of `SoundPlan.sounds` or -1."""

    has_image: bool
    sound: int = -1


@dataclass
class SoundPlan:
    """
    The slots of a batch and the sounds that fill them.

    Attributes:
        samples: Slots of each sample, in placeholder order.
        sounds: `(source, sampling rate of a bare array or None)`; a sound that several images share is listed once.
    """

    samples: list[list[PairedSlot]] = field(default_factory=list)
    sounds: list[tuple[Any, int | None]] = field(default_factory=list)

    @property
    def slots(self) -> list[PairedSlot]:
        """Slots of the whole batch, in placeholder order."""
        return [slot for sample in self.samples for slot in sample]

    def add(self, rows: Sequence[int], sounds: Sequence[tuple[Any, int | None] | None], has_images: bool) -> None:
        """Add a sample: for each slot its index in `sounds` or -1, of which `None` are left out."""
        kept = [index for index, sound in enumerate(sounds) if sound is not None]
        first = len(self.sounds)
        self.sounds.extend(sound for sound in sounds if sound is not None)
        self.samples.append([PairedSlot(has_images, first + kept.index(row) if row >= 0 else -1) for row in rows])


def is_sound(value: Any) -> bool:
    """Whether `value` is one sound rather than a list of sounds: a list of numbers and `(array, rate)` are sounds."""
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
        markers: Audio markers in each prompt.

    Raises:
        ValueError: If a list fits neither the number of samples nor the markers.
    """
    if audio is None:
        return [[] for _ in range(num_samples)]
    if is_sound(audio):
        audio = [audio]
    nested = any(isinstance(entry, (list, tuple)) and not is_sound(entry) for entry in audio)
    if not nested and num_samples == 1:
        return [list(audio)]
    if not nested and markers is not None and len(audio) == sum(markers) and None not in _identities(audio):
        ends = [sum(markers[: index + 1]) for index in range(num_samples)]
        return [list(audio[end - count : end]) for end, count in zip(ends, markers, strict=True)]
    if len(audio) != num_samples:
        raise ValueError(
            f"`audio` has {len(audio)} entries for {num_samples} samples: nest it per sample, such as "
            "[[sound_a], [None, sound_b], []] (None marks a silent image)."
        )
    return [[] if entry is None else [entry] if is_sound(entry) else list(entry) for entry in audio]


def _identities(audio: Sequence[Any]) -> list[Any]:
    # `None in audio` would compare arrays element by element.
    return [None if entry is None else id(entry) for entry in audio]


def pair_sounds(num_images: int, sounds: Sequence[Any], where: str) -> list[int]:
    """
    For each slot of one sample the index of its sound in `sounds`, or -1: none; one for every image; or one per image.

    Without images each sound is a slot.

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
    Every sound has a marker in the prompt and the reverse; a sound that several images share has one, or one per image.

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


def plan_sounds(
    image_counts: Sequence[int],
    audio: Any,
    source_rate: int | None,
    markers: Sequence[int] | None = None,
    audio_token: str = "<audio>",
) -> SoundPlan:
    """
    Pair the processor's `audio` argument with the images of each sample.

    Args:
        image_counts: Images of each sample.
        audio: As in `sounds_per_sample`.
        source_rate: The rate of bare arrays.
        markers: Audio markers in each prompt; `None` where there are no prompts.
        audio_token: The marker, for the messages.

    Raises:
        ValueError: If the numbers of sounds, images and markers of a sample do not fit.
    """
    plan = SoundPlan()
    for index, sounds in enumerate(sounds_per_sample(audio, len(image_counts), markers)):
        where, has_images = f"sample {index}", image_counts[index] > 0
        rows = pair_sounds(image_counts[index], sounds, where)
        if markers is not None:
            check_markers(markers[index], sounds, rows, audio_token, where)
        plan.add(rows, [None if sound is None else (sound, source_rate) for sound in sounds], has_images)
    return plan


__all__ = ["PairedSlot", "SoundPlan", "check_markers", "is_sound", "pair_sounds", "plan_sounds", "sounds_per_sample"]
