"""What the audit asks of a model: prompts in, answers and their logits out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

Channel = Literal["total", "token", "patches"]


@dataclass(frozen=True)
class Prompt:
    """
    Attributes:
        question: What is asked.
        sound: Float32 `(n,)` in [-1, 1] at the subject's sampling rate; None is no sound at all.
        pictures: Possibly none.
    """

    question: str
    sound: np.ndarray | None
    pictures: tuple[Image.Image, ...] = ()


@dataclass(frozen=True)
class Response:
    """
    Attributes:
        tokens: Ids of the answer, up to and with the end token.
        logits: Float32 `(len(tokens), vocabulary)` on the CPU: row t is what the model predicts for token t.
        kept: Bool `(patches,)`, the patches that the sound kept; None where there are none, or the model has no such.
    """

    tokens: list[int]
    logits: Tensor
    kept: Tensor | None = None


class AuditSubject(Protocol):
    """
    A model under audit. [`TransformersSubject`] and [`SoundLlavaSubject`] are such.

    Attributes:
        name, revision: Of the model, for the result.
        sampling_rate: Of the sounds in its prompts, in Hz.
        channels: What `inputs` can prepare. "total" is the model as it is used, and always there. With "token", the
            sound cannot choose patches, so that only its own token can tell. With "patches", the sound's token is that
            of `true`, so that only the choice of patches can tell.
        precision: Of the model's weights.
        settings: What else decides its answers, as JSON; for the result.
    """

    @property
    def name(self) -> str: ...

    @property
    def revision(self) -> str | None: ...

    @property
    def sampling_rate(self) -> int: ...

    @property
    def channels(self) -> tuple[Channel, ...]: ...

    @property
    def precision(self) -> torch.dtype: ...

    @property
    def settings(self) -> dict[str, Any]: ...

    def inputs(
        self, prompts: Sequence[Prompt], channel: Channel = "total", true: Sequence[Prompt] | None = None
    ) -> Mapping[str, Any]:
        """
        One batch of prompts as the model takes it.

        Args:
            true: The prompts with their true sounds, for the channel "patches".
        """
        ...

    def generate(self, inputs: Mapping[str, Any], max_new_tokens: int) -> list[Response]:
        """Greedy answers, one per prompt."""
        ...

    def logits(self, inputs: Mapping[str, Any], answers: Sequence[Sequence[int]]) -> list[Response]:
        """What the model predicts at each token of given answers, one per prompt (teacher forcing)."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of an answer, without special tokens."""
        ...


__all__ = ["AuditSubject", "Channel", "Prompt", "Response"]
