"""What a visitor gives to ask about: a clip, or a picture, a sound, or both."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..media import load_picture, load_sound, read_clip

# A longer sound is many windows of an audio encoder, and others wait meanwhile.
MAX_SECONDS = 300.0


class DemoError(ValueError):
    """What a visitor asked for cannot be done; the message, in words of the page, says why and what to do."""


@dataclass(frozen=True, eq=False)
class Given:
    """
    Attributes:
        picture: RGB, or None.
        sound: `(samples,)` float32 at `rate` Hz, or None.
        frame_time: Seconds at which `picture` comes on, where it is a clip's.
        notes: What the visitor should know of it, in sentences.
    """

    picture: Image.Image | None
    sound: np.ndarray | None
    rate: int
    frame_time: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float | None:
        """Length of the sound."""
        return None if self.sound is None else len(self.sound) / self.rate

    @property
    def summary(self) -> str:
        """What was read, in a few words."""
        parts = []
        if self.picture is not None:
            parts.append("a picture" if self.frame_time is None else f"the frame at {self.frame_time:.2f} s")
        parts.append("no sound" if self.seconds is None else f"{self.seconds:.1f} s of sound")
        return ", ".join(parts)


def read_given(*, clip: str | None = None, picture: str | None = None, sound: str | None = None, rate: int) -> Given:
    """
    Read files: a clip, whose middle frame and own sound are taken, or else a picture and a sound, or one of the two.

    Args:
        clip, picture, sound: Paths of files on this machine.
        rate: Of the sound that is returned, in Hz.

    Raises:
        DemoError: If nothing is given, or a file cannot be used. The message names the file without its folder.
    """
    paths = [path for path in (clip, picture, sound) if path]
    if not paths:
        raise DemoError("There is no picture and no sound. Give a clip, a picture or a sound, or choose an example.")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            given = _of_clip(clip, rate) if clip else _of_files(picture, sound, rate)
        except (ValueError, OSError) as error:
            raise DemoError(_without_folders(" ".join(str(error).split()), paths)) from error
    notes = [_without_folders(str(one.message), paths) for one in caught if issubclass(one.category, UserWarning)]
    if given.seconds is not None and given.seconds > MAX_SECONDS:
        raise DemoError(
            f"{Path(paths[-1]).name}: its sound lasts {given.seconds:.0f} s, and this page takes at most "
            f"{MAX_SECONDS:.0f} s. Cut it, or use `soundclip describe`, which has no such limit."
        )
    if given.sound is not None and not given.sound.any():
        notes.append("The sound is digital silence: every sample is zero.")
    return Given(given.picture, given.sound, rate, given.frame_time, (*given.notes, *notes))


def _of_clip(path: str, rate: int) -> Given:
    read = read_clip(path, sampling_rate=rate)
    notes = []
    if read.waveform is None:
        notes.append("This clip has no sound, so its picture is taken alone.")
    if read.frame is None:
        notes.append("This file has no picture, so its sound is taken alone.")
    return Given(read.frame, read.waveform, rate, read.frame_time, tuple(notes))


def _of_files(picture: str | None, sound: str | None, rate: int) -> Given:
    return Given(
        load_picture(picture, name=Path(picture).name) if picture else None,
        load_sound(sound, sampling_rate=rate) if sound else None,
        rate,
    )


def _without_folders(text: str, paths: list[str]) -> str:
    """Uploads lie in a folder of the server, which means nothing to a visitor."""
    for path in paths:
        text = text.replace(path, Path(path).name)
    return text


__all__ = ["MAX_SECONDS", "DemoError", "Given", "read_given"]
