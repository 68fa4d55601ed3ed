"""One visual slot of a prompt, and the slots of a whole batch with the sounds that they hear."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from ..configuration_soundclip import BudgetScope, PatchMode
from .geometry import SlotGeometry

# What a slot has until it is settled and filled.
_NO_GEOMETRY = SlotGeometry(0, has_image=False)
_NO_TENSOR = torch.empty(0)


@dataclass(frozen=True)
class Slot:
    """
    A visual slot: the place of one image in a prompt, or of one sound without image.

    Pairing gives a slot its `image` and its `sound`, [`settle_slots`] its geometry, budget and number of tokens, and
    [`visual_tokens`] its tensors. Until then these fields have their defaults.

    Attributes:
        index: Place among the slots of the batch, in the order of the placeholders.
        image: Row of `pixel_values`, or -1 for a sound without image.
        sound: Row of the sounds, or -1 for a silent image.
        geometry: What the slot shows.
        first_view: Row of the base view among all views of the batch, or -1 for a sound without image.
        k: Patches to keep (per view, image or base view, according to `patch_budget_scope`); -1 for a silent image,
            and in a prompt for zero mode that leaves `k` to the model.
        mode: "zero", "drop" or, for an image without sound, "silent".
        scope: The `patch_budget_scope`: what `k` counts the patches of.
        with_first_row: Whether the language model gets the first row: the sound, or `[CLS]` of a silent image.
        num_tokens: Tokens of the slot in the language model.
        tokens: `(1 + kept patches, D)`: `f_a`, then the kept patches of base view and tiles in ascending order.
        kept: bool `(max(views, 1) * N,)`: the patches that are kept.
        similarity: float32, same shape: the cosine between `f_a` and each patch.
        embeds: `(num_tokens, H)`: what the language model gets in place of the placeholders.
    """

    index: int
    image: int = -1
    sound: int = -1
    geometry: SlotGeometry = _NO_GEOMETRY
    first_view: int = -1
    k: int = -1
    mode: PatchMode | Literal["silent"] = "silent"
    scope: BudgetScope = "tile"
    with_first_row: bool = True
    num_tokens: int = 0
    tokens: Tensor = field(default=_NO_TENSOR, compare=False, repr=False)
    kept: Tensor = field(default=_NO_TENSOR, compare=False, repr=False)
    similarity: Tensor = field(default=_NO_TENSOR, compare=False, repr=False)
    embeds: Tensor = field(default=_NO_TENSOR, compare=False, repr=False)

    @property
    def has_image(self) -> bool:
        return self.image >= 0

    @property
    def has_sound(self) -> bool:
        return self.sound >= 0


@dataclass(frozen=True, eq=False)
class VideoSound:
    """The sound of a video that has not been opened, whose `source` is a path, URL, bytes or a `Clip`."""

    source: Any


@dataclass(frozen=True, eq=False)
class EncodedSound:
    """A sound that the audio encoder has heard already: `z_a`, `(d_a,)`, in place of its samples."""

    embedding: Tensor


@dataclass
class BatchSlots:
    """
    The slots of each sample of a batch, and the sounds that they hear.

    Attributes:
        samples: Slots of each sample, in the order of the placeholders.
        sounds: `(source, sampling rate of a bare array or None)`; a sound that several images share is listed once. A
            source is what `load_sound` takes, an [`EncodedSound`], or, where no media are opened, a [`VideoSound`].
        num_images: Slots that are images.
    """

    samples: list[list[Slot]] = field(default_factory=list, init=False)
    sounds: list[tuple[Any, int | None]] = field(default_factory=list, init=False)
    num_images: int = field(default=0, init=False)

    @property
    def slots(self) -> list[Slot]:
        """Slots of the whole batch, in the order of the placeholders."""
        return [slot for sample in self.samples for slot in sample]

    @property
    def sizes(self) -> list[int]:
        """Number of slots of each sample."""
        return [len(sample) for sample in self.samples]

    def add_sounds(self, sounds: Sequence[tuple[Any, int | None] | None]) -> list[int]:
        """Add sounds, and return the row of each one in `self.sounds`; -1 for `None`."""
        rows = []
        for sound in sounds:
            rows.append(-1 if sound is None else len(self.sounds))
            if sound is not None:
                self.sounds.append(sound)
        return rows

    def add_sample(self, sounds: Sequence[int], has_images: bool) -> None:
        """
        Add a sample.

        Args:
            sounds: For each slot its row in `self.sounds`, or -1.
            has_images: Whether each slot is an image, rather than a sound without image.
        """
        first_slot = sum(self.sizes)
        self.samples.append(
            [
                Slot(first_slot + place, image=self.num_images + place if has_images else -1, sound=sound)
                for place, sound in enumerate(sounds)
            ]
        )
        if has_images:
            self.num_images += len(sounds)


__all__ = ["BatchSlots", "EncodedSound", "Slot", "VideoSound"]
