"""Did it hear? One question with the true sound, in silence, with another sound and with none."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..evaluation.audit import SoundLlavaSubject
from ..evaluation.audit.measuring import measure
from ..evaluation.audit.trials import CONDITIONS, Condition, Trial
from ..evaluation.audit.verdict import tolerance_of
from ..evaluation.generation.answering import AnsweringModel, AnswerSettings
from .answering import check_question
from .given import DemoError, Given


@dataclass(frozen=True)
class Hearing:
    """
    Attributes:
        answer: With the true sound.
        others: By condition ("silent", "swapped", "none"): the answer, the share of the probability that moves away
            from what the model predicts with the true sound, at the token of `answer` where that is largest ("moved"),
            and the share of patches in common ("kept_overlap", with a picture), as [`measure`] has them. None for a
            condition with the very same sound.
        token, patches: The share that moves when the sound is swapped for its token alone (all patches are kept), and
            for the choice of patches alone; None without a picture.
        swapped_with: Name of the other sound.
        tolerance: A log-probability that changes by no more than this, in nats, changes by rounding alone.
    """

    answer: str
    others: dict[Condition, dict[str, Any] | None]
    token: float | None
    patches: float | None
    swapped_with: str
    tolerance: float

    @property
    def sentence(self) -> str:
        """What the numbers say of this one clip and question."""
        swapped = self.others["swapped"]
        assert swapped is not None
        if swapped["change"] <= self.tolerance:
            return (
                "It did not hear: with another sound, exactly the same tokens are predicted. If it does so with every "
                "clip, the sound is lost on its way; `soundclip audit` tells where."
            )
        changes = "another answer" if swapped["answer"] != self.answer else "the same answer"
        said = f"With another sound, {_percent(swapped['moved'])} of the probability moves, and it gives {changes}."
        if self.token is not None and self.patches is not None:
            said += (
                f" Through the sound's own token alone {_percent(self.token)} moves, through the choice of patches "
                f"alone {_percent(self.patches)}."
            )
        return said


def did_it_hear(
    given: Given,
    swapped: tuple[str, np.ndarray],
    question: str,
    settings: AnswerSettings,
    answering: AnsweringModel,
) -> Hearing:
    """
    Measure what the sound changes in the answer to one question, as `soundclip audit` does for a data set.

    Args:
        swapped: Name and samples, `(n,)` at the rate of `given`, of the other sound.

    Raises:
        DemoError: If there is no sound or no question, or the other sound is the true one.
    """
    question = check_question(question)
    if given.sound is None:
        raise DemoError("There is no sound to hear. Give a clip with sound, or a sound.")
    name, other = swapped
    if np.array_equal(given.sound, other):
        raise DemoError(f"The other sound ({name}) is the very same sound. Choose another one.")
    pictures = () if given.picture is None else (given.picture,)
    trial = Trial("given", "given", name, question, pictures, given.sound, other)
    subject = SoundLlavaSubject(
        answering.model,
        answering.processor,
        answering.name,
        answering.revision,
        sound_top_k=settings.top_k,
        sound_patches=settings.patches,
        sound_alignment=settings.alignment,
        sound_alpha=settings.alpha,
    )
    (row,) = measure(subject, [trial], settings.max_new_tokens)
    channels = row["channels"]
    apart = {channel: (channels.get(channel, {}).get("swapped") or {}).get("moved") for channel in ("token", "patches")}
    return Hearing(
        row["answer"],
        {condition: channels["total"][condition] for condition in CONDITIONS},
        apart["token"] if pictures else None,
        apart["patches"] if pictures else None,
        name,
        tolerance_of(subject.precision),
    )


def choose_other(given: Given, sounds: Sequence[tuple[str, np.ndarray]]) -> tuple[str, np.ndarray]:
    """
    The first of some sounds that is not the given one, and not silence.

    Raises:
        DemoError: If there is none.
    """
    for name, sound in sounds:
        if sound.any() and (given.sound is None or not np.array_equal(given.sound, sound)):
            return name, sound
    raise DemoError("There is no other sound to compare with. Upload one.")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 or share == 0 else "less than 1 %"


__all__ = ["Hearing", "choose_other", "did_it_hear"]
