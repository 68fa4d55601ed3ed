"""Opens the files of an item: its picture, its sound, and the conversation about them."""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ...evaluation.generation.answering import question_about
from ...media import load_picture, load_sound, read_clip, shown, typed_by_user, warn_of_silence, without_password
from ..output import CliError
from .items import Item


@dataclass(frozen=True)
class Opened:
    """
    Attributes:
        sound: `(samples,)` at `rate` Hz; None is silence.
        frame_time: Seconds at which `picture` comes on, where it is a clip's.
    """

    item: Item
    question: str
    picture: Image.Image | None
    sound: np.ndarray | None
    rate: int
    frame_time: float | None

    @property
    def seconds(self) -> float | None:
        """Length of the sound, in seconds."""
        return None if self.sound is None else len(self.sound) / self.rate

    def conversation(self) -> list[dict[str, Any]]:
        """The messages for the chat template of the processor."""
        return question_about(self.question, self.picture, self.sound, self.rate)


def open_item(item: Item, question: str, frame: str | float, rate: int) -> Opened:
    """
    Read an item's files; `question` is asked where the item has none of its own.

    Raises:
        ValueError: If a file cannot be used (`MediaError`).
        CliError: If it has no picture or no sound where one is needed.
    """
    if item.error is not None:
        raise CliError(item.error)
    # A manifest can come from somebody else; what is typed is the user's own.
    with nullcontext() if item.folder is not None else typed_by_user():
        return _open(item, question, frame, rate)


def _open(item: Item, question: str, frame: str | float, rate: int) -> Opened:
    names = {key: shown(without_password(source)) for key, source in item.media.items()}
    picture, sound, frame_time = None, None, None
    if item.video is not None:
        clip = read_clip(item.locate(item.video), frame=frame, sampling_rate=rate)
        picture, frame_time, sound = clip.frame, clip.frame_time, clip.waveform
        if item.audio is None:
            warn_of_silence(names["video"], sound)
        if picture is None and item.audio is not None:
            raise CliError(
                f"{names['video']}: has no video stream, so {names['audio']} would be a second sound; give one of them"
            )
        if sound is None and item.audio is None:
            raise CliError(
                f"{names['video']}: has no audio stream; give a sound file after it, or a picture of it alone"
            )
    elif item.image is not None:
        picture = load_picture(item.locate(item.image), name=names["image"])
    if item.audio is not None:
        sound = load_sound(item.locate(item.audio), sampling_rate=rate)
    return Opened(item, item.question or question, picture, sound, rate, frame_time)


__all__ = ["Opened", "open_item"]
