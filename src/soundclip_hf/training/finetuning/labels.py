"""Finds the assistant's words in a rendered conversation, and the tokens that they become."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .conversations import RowError

IGNORED = -100  # cross-entropy leaves such labels out
Span = tuple[int, int]  # of characters


@dataclass(frozen=True)
class Rendered:
    """
    A conversation as text.

    Attributes:
        text: With one image placeholder for each slot.
        answers: Where the assistant's words stand, each with the end that the model has to write.
    """

    text: str
    answers: tuple[Span, ...]


def render(messages: Sequence[dict[str, Any]], template: Callable[..., str], eos_token: str | None) -> Rendered:
    """
    Render a conversation and find its answers.

    An answer is what follows a prompt that ends with the template's request for one, as in generation: the space
    after "ASSISTANT:" belongs to it. The last answer ends with `eos_token`, which the templates of LLaVA-1.5 and 1.6
    do not write: without it a model never learns to stop.

    Args:
        messages: Of one conversation, with image and text parts only.
        template: Renders messages, with `add_generation_prompt=True` up to where the next answer begins.
        eos_token: Of the tokenizer, if it has one.

    Raises:
        RowError: If the template changes earlier turns when later ones are added, so that an answer has no place.
    """
    text, answers = template(messages), []
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = template(messages[:index], add_generation_prompt=True) if index else ""
        after = template(messages[: index + 1])
        if not text.startswith(before) or not text.startswith(after):
            raise RowError(
                f"the chat template renders the turns up to message {index} in another way when later ones follow, so "
                "that its answer cannot be found: give a template that appends turns"
            )
        answers.append((len(before), len(after)))
    if not eos_token:
        return Rendered(text, tuple(answers))
    if answers and answers[-1][1] == len(text) and not text.rstrip().endswith(eos_token):
        start, _ = answers[-1]
        text = text.rstrip() + eos_token
        answers[-1] = (start, len(text))
    return Rendered(text, tuple((start, _end(text, start, end, eos_token)) for start, end in answers))


def _end(text: str, start: int, end: int, eos_token: str) -> int:
    """Where an answer ends: a model stops at `eos_token`, and writes no line break after it."""
    answer = text[start:end].rstrip()
    return start + len(answer) if answer.endswith(eos_token) else end


def answer_mask(offsets: Sequence[Span], answers: Sequence[Span]) -> list[bool]:
    """
    Which tokens an answer becomes.

    Args:
        offsets: The characters of each token; `(0, 0)` for tokens that are not in the text.
        answers: The spans of [`Rendered`].
    """
    return [end > start and any(first <= start < last for first, last in answers) for start, end in offsets]


__all__ = ["IGNORED", "Rendered", "Span", "answer_mask", "render"]
