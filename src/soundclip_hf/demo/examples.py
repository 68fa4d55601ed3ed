"""Clips that the page offers to begin with: synthetic scenes that were in no training, or the files of a folder."""

import shutil
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..bundled import CLIP
from ..data.synthetic import FIRST_TEST, RATE, scene, write_mp4
from ..media_kinds import CLIPS, PICTURES, SOUNDS, media_files, paired

# Held-out scenes: seven with one source among other things, and one in which nothing sounds.
SCENES = (10, 20, 23, 55, 16, 37, 14)


@dataclass(frozen=True)
class Example:
    """
    A clip, or a picture with its sound.

    Attributes:
        name: Shown to visitors.
        clip, picture, sound: Paths; either `clip`, or the two others.
    """

    name: str
    clip: Path | None = None
    picture: Path | None = None
    sound: Path | None = None

    @property
    def heard(self) -> Path:
        """The file that has its sound."""
        path = self.clip or self.sound
        assert path is not None
        return path


def write_examples(folder: Path) -> list[Example]:
    """
    Write the bundled clip, a few synthetic clips, and one picture with the sound of another clip, in a second or two.

    Args:
        folder: An empty folder.
    """
    bundled = folder / "clock, car and piano.mp4"
    shutil.copyfile(CLIP, bundled)
    examples = [Example("clock", clip=bundled)]
    scenes = [scene(FIRST_TEST + number) for number in SCENES]
    for shown in scenes:
        path = folder / f"{_list([thing.kind for thing in shown.things])}.mp4"
        write_mp4(path, [shown])
        examples.append(Example(_list(shown.sources) if shown.sources else "nothing sounds", clip=path))
    piano = next(shown for shown in scenes if shown.sources == ("piano",))
    first = scene(FIRST_TEST + 34)  # the bundled clip
    picture, sound = folder / "clock, car and piano.png", folder / "piano.wav"
    Image.fromarray(first.picture).save(picture)
    write_wav(sound, piano.sound, RATE)
    examples.append(Example("clock with a piano's sound", picture=picture, sound=sound))
    return examples


def examples_of(folder: Path) -> list[Example]:
    """
    The clips of a folder, and its pictures that have a sound of the same name beside them.

    Raises:
        ValueError: If there are none.
    """
    paths = media_files(folder, CLIPS).paths
    examples = [Example(path.stem, clip=path) for path in paths]
    if not examples:
        examples = [
            Example(pair["image"].stem, picture=pair["image"], sound=pair["audio"])
            for pair in paired(media_files(folder, PICTURES | SOUNDS).paths)
        ]
    if not examples:
        raise ValueError(f"{folder}: holds neither clips, nor pictures with sounds of the same name beside them")
    return examples


def write_wav(path: Path, sound: np.ndarray, rate: int) -> None:
    """Write `(samples,)` float in [-1, 1] as mono WAV of 16 bits; what is outside is cut off."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(pcm16(sound))


def pcm16(sound: np.ndarray) -> bytes:
    """`(samples,)` float in [-1, 1] as little-endian integers of 16 bits."""
    return (np.clip(sound, -1, 1) * 32767).round().astype("<i2").tobytes()


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


__all__ = ["SCENES", "Example", "examples_of", "pcm16", "write_examples", "write_wav"]
