"""Held-out questions: read from rows, and asked with other sounds than their own: silence, another row's, or none."""

import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from ...data.media_columns import source_of
from ...media import load_sound
from ...modeling.prompts.chat_messages import ChatOptions, rewrite_conversations
from ...modeling.prompts.message_parts import read_part
from .conversations import RowError, read_conversation

# What `load_sound` and the feature extractors say of digital silence.
SILENCE = r".*(samples are zero: a silent sound|is all zeros \(silence\))"

SoundKind = Literal["true", "silent", "swapped", "none"]
SOUND_KINDS: tuple[SoundKind, ...] = get_args(SoundKind)
# Given two rows, the right answer to the first one's question if it had the sound of the second; None where nobody
# knows.
AnswerWithSound = Callable[[int, int], str | None]


@dataclass(frozen=True)
class Question:
    """
    Attributes:
        row: Its place in the data set.
        messages: The conversation up to the answer.
        answer: What a person wrote.
    """

    row: int
    messages: list[dict[str, Any]]
    answer: str


def read_questions(rows: Sequence[dict[str, Any]], media_folder: Any = None) -> list[Question]:
    """The last answer of each row, and what comes before it; rows that end otherwise are left out."""
    found: list[Question] = []
    for row in rows:
        try:
            messages = read_conversation(row, media_folder)
        except RowError:
            continue
        *asked, last = messages
        text = _text(last.get("content")).strip()
        if asked and last["role"] == "assistant" and text:
            found.append(Question(int(row.get("row", len(found))), asked, text))
    return found


@dataclass(frozen=True)
class OpenQuestion:
    """
    A question whose sounds and videos are open.

    Attributes:
        messages: With image and text parts alone; without images, a sound has an image part without source.
        heard: For each image, or sound without image, its place in `sounds`; -1 for a silent image.
        sounds: float32 `(samples,)` each.
        sampling_rate: Of all of them, in Hz.
        has_images: Whether sounds belong to images.
    """

    messages: list[dict[str, Any]]
    heard: list[int]
    sounds: list[np.ndarray]
    sampling_rate: int
    has_images: bool

    @classmethod
    def read(cls, question: Question, processor: Any, video: Mapping[str, Any]) -> "OpenQuestion":
        """
        Open the sounds and videos of a question.

        Args:
            processor: Of a SoundLlava.
            video: `frame`, `num_frames` and `load_audio` of [`ChatOptions`].

        Raises:
            MediaError: If a medium cannot be read.
            ValueError: If the sounds and images of the question do not fit together.
        """
        rate = processor.feature_extractor.sampling_rate
        options = ChatOptions(
            load=True, sampling_rate=rate, source_rate=None, audio_token=processor.audio_token, **video
        )
        (messages,), plan = rewrite_conversations([question.messages], options)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=SILENCE, category=UserWarning)
            sounds = [load_sound(source, sampling_rate=rate, source_rate=own) for source, own in plan.sounds]
        slots = plan.slots
        return cls(messages, [slot.sound for slot in slots], sounds, rate, any(slot.has_image for slot in slots))

    def with_sounds(self, sounds: Sequence[np.ndarray]) -> list[dict[str, Any]]:
        """
        The messages, with sounds in the places of its own.

        Args:
            sounds: As many as its own, or fewer, which are repeated; none takes all sounds away.
        """
        parts = [self._part(sounds, place) if sounds and place >= 0 else None for place in self.heard]
        messages = [{**message} for message in self.messages]
        written = [message for message in messages if isinstance(message.get("content"), list)]
        if not self.has_images:
            waiting = iter(parts)
            for message in written:
                places = [next(waiting) if part["type"] == "image" else part for part in message["content"]]
                message["content"] = [part for part in places if part is not None]
        elif any(parts):
            parts = parts[:1] if len({*self.heard}) == 1 else parts  # one sound is that of all images
            silent = {"type": "audio", "audio": None}
            written[0]["content"] = [*written[0]["content"], *(part or silent for part in parts)]
        return messages

    def _part(self, sounds: Sequence[np.ndarray], place: int) -> dict[str, Any]:
        return {"type": "audio", "audio": sounds[place % len(sounds)], "sampling_rate": self.sampling_rate}


@dataclass(frozen=True)
class Swap:
    """
    Attributes:
        other: The question whose sound is heard.
        answer: What is right to say with that sound, if it is known and is not right with the own sound, too.
    """

    other: Question
    answer: str | None


def find_swaps(questions: Sequence[Question], answer: AnswerWithSound, seed: int) -> list[Swap | None]:
    """
    Draw another question's sound for each question; one that calls for another answer, where there is one, and of
    these rather that of a question in the same words.

    Args:
        answer: Where it says None, and both rows ask in the same words, the other row's answer is taken for right, as
            it is for captions of sounds.

    Returns:
        In the order of `questions`; None for a question without sound, and where no other one has another sound.
    """
    heard = [_sounds_of(question) for question in questions]
    able = [index for index, sounds in enumerate(heard) if sounds]
    random.Random(seed).shuffle(able)
    in_same_words: dict[str, list[int]] = {}
    for index in able:
        in_same_words.setdefault(_words(questions[index]), []).append(index)
    found: list[Swap | None] = [None] * len(questions)
    for index in able:
        question, alike = questions[index], in_same_words[_words(questions[index])]
        for place, other in enumerate((*_from(alike, index), *_from(able, index))):
            if heard[other] == heard[index]:
                continue
            right = answer(question.row, questions[other].row)
            if right is None and place < len(alike) - 1:
                right = questions[other].answer
            if right not in (None, question.answer):
                found[index] = Swap(questions[other], right)
                break
            found[index] = found[index] or Swap(questions[other], None)
    return found


def sounds_for(kind: SoundKind, own: OpenQuestion, other: OpenQuestion | None) -> list[np.ndarray]:
    """The sounds of a question under `kind`; `other` is the question whose sounds are heard in their place."""
    if kind == "none":
        return []
    if kind == "silent":
        return [np.zeros_like(sound) for sound in own.sounds]
    return own.sounds if other is None else other.sounds


def _words(question: Question) -> str:
    """The texts of a question; equal for two that ask the same."""
    told = []
    for message in question.messages:
        content = message.get("content")
        parts = [content] if isinstance(content, str) else [part.get("text") for part in content or ()]
        told += [f"{message['role']}: {part}" for part in parts if part]
    return "\n".join(told)


def sound_identity(source: Any) -> Any:
    """Equal for two sources of one sound: a path, bytes, or the values of an array."""
    if isinstance(source, Mapping):
        source = source.get("array")
    return np.asarray(source).tobytes() if hasattr(source, "__array__") else str(source)


def _from(group: list[int], index: int) -> list[int]:
    """The others of a group, from the one after `index` on, so that not all get the same sound."""
    place = group.index(index)
    return [*group[place + 1 :], *group[:place]]


def _sounds_of(question: Question) -> tuple[Any, ...]:
    found = []
    for message in question.messages:
        for given in message["content"] if isinstance(message.get("content"), list) else ():
            part = read_part(given, "")
            if part.kind == "audio" or (part.kind == "video" and part.others.get("load_audio") is not False):
                found += [] if part.source is None else [sound_identity(source_of(part.source))]
    return tuple(found)


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content or () if part.get("type") == "text")


__all__ = [
    "SILENCE",
    "SOUND_KINDS",
    "AnswerWithSound",
    "OpenQuestion",
    "Question",
    "SoundKind",
    "Swap",
    "find_swaps",
    "read_questions",
    "sound_identity",
    "sounds_for",
]
