"""The two markers of a prompt: `<image>`, a token that is repeated, and `<audio>`, which leaves no token."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from transformers.processing_utils import _UNMARKED  # a user's control tokens have a mark that this pattern excludes

from ..slots.pairing import PairedSlot


@dataclass(frozen=True)
class PromptMarkers:
    """The markers' texts."""

    image: str
    audio: str

    def count_images(self, text: str) -> int:
        return len(re.findall(_UNMARKED + re.escape(self.image), text))

    def count_sounds(self, text: str) -> int:
        return len(re.findall(_UNMARKED + re.escape(self.audio), text))

    def to_slots(self, text: str) -> str:
        """One image marker for each slot: sound markers vanish beside images, and become image markers without any."""
        slot = "" if self.count_images(text) else self.image
        return re.sub(_UNMARKED + re.escape(self.audio), lambda _: slot, text)

    def from_slots(self, text: str, slots: Sequence[PairedSlot]) -> str:
        """The reverse, for a text that a chat template rendered."""
        self.check_slots(text, slots, "the chat template")
        *parts, last = text.split(self.image)
        marks = [(self.image if slot.has_image else "") + (self.audio if slot.sound >= 0 else "") for slot in slots]
        return "".join(part + mark for part, mark in zip(parts, marks, strict=True)) + last

    def check_slots(self, text: str, slots: Sequence[PairedSlot], where: str) -> None:
        """
        Raises:
            ValueError: If a text does not hold one image marker for each slot.
        """
        found = self.count_images(text)
        if found != len(slots):
            raise ValueError(
                f"{where}: the prompt has {found} {self.image} for {len(slots)} images and sounds. A text part that "
                f"writes {self.image} itself, or a chat template that cannot render images, gives this."
            )


__all__ = ["PromptMarkers"]
