"""Clips that the page offers to begin with: synthetic scenes that were in no training, or the files of a folder."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..bundled import CLIP
from ..data.synthetic import FIRST_TEST, RATE, scene, write_mp4
from ..data.synthetic.sample_files import PICTURE_SCENE
from ..media.wav_files import write_wav
from ..media_kinds import CLIPS, PICTURES, SOUNDS, media_files, paired

# Held-out scenes: six with one source among other things, and one where nothing sounds.
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
    Write the bundled clip, a few synthetic clips, each named after what sounds in it, and the picture of the first with
    the sound of another one.

    Args:
        folder: An empty folder.
    """
    first = folder / "clock.mp4"
    shutil.copyfile(CLIP, first)
    examples = [Example(first.stem, clip=first)]
    scenes = [scene(FIRST_TEST + number) for number in SCENES]
    for shown in scenes:
        path = folder / f"{' and '.join(shown.sources) or 'nothing sounds'}.mp4"
        write_mp4(path, [shown])
        examples.append(Example(path.stem, clip=path))
    piano = next(shown for shown in scenes if shown.sources == ("piano",))
    picture, sound = folder / "dubbed piano.png", folder / "dubbed piano.wav"
    Image.fromarray(scene(PICTURE_SCENE).picture).save(picture)
    write_wav(sound, piano.sound, RATE)
    examples.append(Example(picture.stem, picture=picture, sound=sound))
    return examples


def examples_of(folder: Path) -> list[Example]:
    """
    The clips of a folder, and its pictures that have a sound of the same name beside them.

    Raises:
        ValueError: If there are none.
    """
    paths = media_files(folder, CLIPS | PICTURES | SOUNDS).paths
    clips = [path for path in paths if path.suffix.lower() in CLIPS]
    examples = [Example(path.stem, clip=path) for path in clips]
    for pair in paired([path for path in paths if path not in clips]):
        examples.append(Example(pair["image"].stem, picture=pair["image"], sound=pair["audio"]))
    if not examples:
        raise ValueError(f"{folder}: holds neither clips, nor pictures with sounds of the same name beside them")
    return examples


__all__ = ["SCENES", "Example", "examples_of", "write_examples"]
