"""Trials: a sample's question with its true sound, in silence, with the sound of another video, and without sound."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from PIL import Image

from ...media import MediaError
from ..samples import Samples, read_sample
from .subject import Prompt

Condition = Literal["silent", "swapped", "none"]
CONDITIONS: tuple[Condition, ...] = ("silent", "swapped", "none")
# Samples that are in memory: each is needed for itself, and for the one that gets its sound.
_CACHED = 16


@dataclass(frozen=True)
class Trial:
    """
    Attributes:
        id, group: Of the sample.
        swapped_with: Id of the sample whose sound is the swapped one.
        question, pictures: Of the prompts.
        sound, swapped_sound: That of the sample, and that of `swapped_with`; float32 `(n,)`.
    """

    id: str
    group: str
    swapped_with: str
    question: str
    pictures: tuple[Image.Image, ...]
    sound: np.ndarray
    swapped_sound: np.ndarray

    @property
    def true(self) -> Prompt:
        """The prompt with the sample's own sound."""
        return Prompt(self.question, self.sound, self.pictures)

    def prompt(self, condition: Condition) -> Prompt:
        """
        The prompt with digital silence of the same length ("silent"), with the sound of `swapped_with` ("swapped"), or
        with no sound at all ("none").
        """
        return Prompt(self.question, self._sound(condition), self.pictures)

    def says_nothing(self, condition: Condition) -> bool:
        """Whether the condition has the very sound that the sample itself has, so that nothing can differ."""
        sound = self._sound(condition)
        return sound is not None and np.array_equal(sound, self.sound)

    def _sound(self, condition: Condition) -> np.ndarray | None:
        if condition == "none":
            return None
        return self.swapped_sound if condition == "swapped" else np.zeros_like(self.sound)


class Trials:
    """
    The trials of samples, read when they are asked for.

    Args:
        samples: With sounds; those without, and those that cannot be read, are left out.
        sampling_rate: Of the sounds, in Hz.
        question: Of every prompt.
        frame: Which frame of a video is its picture.
        seed: Decides who gets whose sound.

    Attributes:
        ids, groups, swapped_with: Of each trial.
        left_out: Ids of samples without sound, and of those that cannot be read.
        failed: Why samples cannot be read, by id.

    Raises:
        ValueError: If no sample has a sound, or fewer than two groups have one.
    """

    def __init__(self, samples: Samples, sampling_rate: int, question: str, frame: str | float, seed: int) -> None:
        def read(place: int) -> tuple[tuple[Image.Image, ...], np.ndarray]:
            media = read_sample(samples[place], sampling_rate=sampling_rate, frame=frame)
            return media.pictures, np.zeros(0, np.float32) if media.sound is None else media.sound

        self.failed: dict[str, str] = {}
        self._media = lru_cache(maxsize=_CACHED)(read)
        self._question = question
        ids, groups = samples.ids, samples.groups
        self._places = []
        for place, name in enumerate(ids):
            try:
                if len(self._media(place)[1]):
                    self._places.append(place)
            except MediaError as error:
                self.failed[name] = str(error)
        sounding = set(self._places)
        self.left_out = [*samples.left_out, *(name for place, name in enumerate(ids) if place not in sounding)]
        if not self._places:
            why = f" ({next(iter(self.failed.values()))})" if self.failed else ""
            raise ValueError(
                f"{samples.name}: none of its {len(samples)} samples has a sound, so nothing can be heard{why}"
            )
        self.ids, self.groups = ([values[place] for place in self._places] for values in (ids, groups))
        try:
            self._others = swaps(self.groups, seed)
        except ValueError as error:
            raise ValueError(f"{samples.name}: {error}") from error
        self.swapped_with = [self.ids[other] for other in self._others]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Trial:
        (pictures, sound), (_, swapped_sound) = (
            self._media(self._places[place]) for place in (index, self._others[index])
        )
        return Trial(
            self.ids[index],
            self.groups[index],
            self.swapped_with[index],
            self._question,
            pictures,
            sound,
            swapped_sound,
        )

    def batches(self, indices: Sequence[int], size: int) -> Iterator[list[Trial]]:
        """Trials in lists of `size`; the last one may be shorter."""
        for start in range(0, len(indices), size):
            yield [self[index] for index in indices[start : start + size]]


def swaps(groups: Sequence[str], seed: int) -> list[int]:
    """
    For each sample, one of another group whose sound it gets.

    Every sound is given away once, unless a group holds more than half of the samples: then some are given twice.

    Args:
        groups: Of each sample.
        seed: Of the draw.

    Raises:
        ValueError: If all samples are of one group.
    """
    if len(set(groups)) < 2:
        raise ValueError(
            f"{len(groups)} sample(s) with sound, all of one video or group: a swapped sound needs at least two groups"
        )
    rng = np.random.default_rng(seed)
    rank = {group: place for place, group in enumerate(rng.permutation(sorted(set(groups))))}
    order = sorted(rng.permutation(len(groups)).tolist(), key=lambda index: rank[groups[index]])
    # In this order groups are blocks, and a step as long as the longest block leaves the own one.
    step = max(np.unique([rank[group] for group in groups], return_counts=True)[1])
    chosen = {index: order[(place + step) % len(order)] for place, index in enumerate(order)}
    for index, other in chosen.items():
        if groups[other] == groups[index]:
            chosen[index] = int(rng.choice([place for place, group in enumerate(groups) if group != groups[index]]))
    return [chosen[index] for index in range(len(groups))]


__all__ = ["CONDITIONS", "Condition", "Trial", "Trials", "swaps"]
