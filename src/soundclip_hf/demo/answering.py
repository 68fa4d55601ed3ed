"""Answers the question of a visitor word by word."""

import threading
from collections.abc import Iterator
from typing import Any

from transformers import TextIteratorStreamer

from .. import text_tables
from ..evaluation.generation.answering import (
    Answer,
    AnsweringModel,
    AnswerSettings,
    generate_answers,
    prepare,
    question_about,
)
from .given import DemoError, Given

MAX_QUESTION = 2000  # characters
MAX_NEW_TOKENS = 256


class _StoppedError(Exception):
    """The visitor no longer waits for the answer."""


class _Words(TextIteratorStreamer):
    """Words of an answer; ends the generation when nobody reads them any more."""

    def __init__(self, tokenizer: Any) -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self.stopped = False

    def put(self, value: Any) -> None:
        if self.stopped:
            raise _StoppedError
        super().put(value)


def stream_answer(
    given: Given, question: str, settings: AnswerSettings, answering: AnsweringModel
) -> Iterator[str | Answer]:
    """
    The answer as it grows, `str` by `str`, each with all of its words so far; at the end the [`Answer`].

    Closing the iterator ends the generation at the next token.

    Raises:
        DemoError: If there is no question, or it is too long.
        ValueError: As `generate_answers`.
    """
    question = check_question(question)
    conversation = question_about(question, given.picture, given.sound, given.rate)
    inputs = prepare([conversation], settings, answering)
    words = _Words(answering.processor.tokenizer)
    outcome: list[Answer | BaseException] = []

    def generate() -> None:
        try:
            outcome.extend(generate_answers(inputs, settings, answering, streamer=words))
        except BaseException as error:
            outcome.append(error)
            words.text_queue.put(words.stop_signal)

    thread = threading.Thread(target=generate, daemon=True)
    thread.start()
    text = ""
    try:
        for part in words:
            text += part
            if text.strip():
                yield text.strip()
    finally:
        words.stopped = True
        thread.join()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    yield outcome[0]


def check_question(question: str | None) -> str:
    """
    The question without space around it.

    Raises:
        DemoError: If there is none, it is longer than `MAX_QUESTION` characters, or it holds half of a character.
    """
    asked = (question or "").strip()
    if not asked:
        raise DemoError("There is no question. Type one, such as: What makes the sound?")
    if len(asked) > MAX_QUESTION:
        raise DemoError(f"The question has {len(asked)} characters; at most {MAX_QUESTION} are taken.")
    try:
        text_tables.check_question(asked)
    except ValueError as error:
        raise DemoError(f"The question cannot be read: {error}") from error
    return asked


def what_was_heard(given: Given, answer: Answer, settings: AnswerSettings) -> str:
    """What went into an answer, in a line: the sound, the frame, and how many patches are kept."""
    parts = [given.summary]
    info = answer.sound
    if given.sound is None:
        parts.append("the picture is described without sound")
    elif given.picture is None:
        parts.append("without a picture there are no patches to keep: the sound's token alone was used (k = 0)")
    elif info is not None and info.kept is not None:
        mode = {"zero": "the others are zero", "drop": "the others are dropped"}[info.mode]
        parts.append(f"{int(info.kept.sum())} of {info.kept.numel()} patches are kept, {mode}")
    if given.sound is not None and settings.alignment is not None:
        mixed = f", alpha {settings.alpha:g}" if settings.alpha else ""
        parts.append(f"{settings.alignment} embedding{mixed}")
    return " · ".join(parts)


__all__ = ["MAX_NEW_TOKENS", "MAX_QUESTION", "check_question", "stream_answer", "what_was_heard"]
