"""The two markers of a prompt: `<image>`, a token that is repeated, and `<audio>`, which is removed from the text."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from transformers.processing_utils import _UNMARKED  # excludes control tokens that were marked as the user's

from ..slots.slot import Slot


@dataclass(frozen=True)
class PromptMarkers:
    """
    The markers of a processor.

    Attributes:
        image: `image_token`.
        audio: `audio_token`.
    """

    image: str
    audio: str

    def count_images(self, text: str) -> int:
        return len(re.findall(_UNMARKED + re.escape(self.image), text))

    def count_sounds(self, text: str) -> int:
        return len(re.findall(_UNMARKED + re.escape(self.audio), text))

    def to_slots(self, text: str) -> str:
        """
        A text with one image marker for each slot: sound markers are removed from a text with images, and replaced by
        image markers in a text without any.
        """
        slot = "" if self.count_images(text) else self.image
        return re.sub(_UNMARKED + re.escape(self.audio), lambda _: slot, text)

    def from_slots(self, text: str, slots: Sequence[Slot]) -> str:
        """The reverse of [`to_slots`], for a text that a chat template rendered."""
        self.check_slots(text, len(slots), "the chat template")
        *parts, last = text.split(self.image)
        marks = [(self.image if slot.has_image else "") + (self.audio if slot.has_sound else "") for slot in slots]
        return "".join(part + mark for part, mark in zip(parts, marks, strict=True)) + last

    def check_slots(self, text: str, num_slots: int, where: str) -> None:
        """
        Check that a text holds one image marker for each slot.

        Args:
            text: A prompt without sound markers.
            num_slots: Slots of this prompt.
            where: Names the prompt in the message.

        Raises:
            ValueError: If it does not, naming both numbers.
        """
        found = self.count_images(text)
        if found != num_slots:
            raise ValueError(
                f"{where}: the prompt has {found} {self.image} for {num_slots} images and sounds. A text part that "
                f"writes {self.image} itself, or a chat template that cannot render images, gives this."
            )


__all__ = ["PromptMarkers"]
