"""Writes files of synthetic scenes for somebody who has none at hand: clips, a picture with sounds, and questions."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from ...files import replacing, write_text
from ...media.wav_files import write_wav
from .questions import hearing_questions
from .scenes import FIRST_TEST, Scene, scene, write_mp4
from .sounds import RATE, mix

# The scene of the bundled clip: a clock, a car and a piano, each of which can sound.
PICTURE_SCENE = FIRST_TEST + 34


def write_sample_files(folder: Path, count: int = 12) -> Iterator[Path]:
    """
    Write scenes that the bundled model was not trained on.

    - `clips/<kind>-<number>.mp4`: `count` clips of 3 s, each with one source, which can be seen, and named after it;
    - `scene.png`, and for each thing in it a sound, such as `clock.wav`: mono, 16 kHz, 3 s;
    - `clips.jsonl`: one line for each clip, with a question;
    - `questions.jsonl`: the same clips with questions and true answers, three for each.

    Args:
        folder: Made if it is not there; files of the same names are replaced.
        count: From 1 on.

    Yields:
        The path of each file, once it is written.

    Raises:
        ValueError: If `count` is below 1.
        OSError: If a file cannot be written.
    """
    if count < 1:
        raise ValueError(f"count={count}: write at least one clip")
    clips = folder / "clips"
    clips.mkdir(parents=True, exist_ok=True)
    asked: list[str] = []
    answered: list[str] = []
    for shown in _scenes(count):
        name = f"clips/{shown.sources[0]}-{shown.number - FIRST_TEST}.mp4"
        write_mp4(folder / name, [shown])
        yield folder / name
        questions = hearing_questions(shown)
        asked.append(json.dumps({"id": Path(name).stem, "video": name, "question": questions[0][0]}))
        answered += [
            json.dumps({"video": name, "question": question, "answer": answer}) for question, answer in questions
        ]
    yield from _picture_with_sounds(folder)
    for name, lines in {"clips.jsonl": asked, "questions.jsonl": answered}.items():
        write_text(folder / name, "\n".join(lines) + "\n")
        yield folder / name


def _scenes(count: int) -> Iterator[Scene]:
    """The first scenes with one source, which can be seen."""
    number = FIRST_TEST
    while count:
        shown = scene(number)
        number += 1
        if len(shown.sources) == 1 and shown.sounding:
            count -= 1
            yield shown


def _picture_with_sounds(folder: Path) -> Iterator[Path]:
    shown = scene(PICTURE_SCENE)
    with replacing(folder / "scene.png") as partial:
        Image.fromarray(shown.picture).save(partial, "png")
    yield folder / "scene.png"
    for place, thing in enumerate(shown.things):
        sound = mix([(thing.kind, 0.0)], np.random.default_rng((PICTURE_SCENE, place)), snr_db=20)
        with replacing(folder / f"{thing.kind}.wav") as partial:
            write_wav(partial, sound, RATE)
        yield folder / f"{thing.kind}.wav"


__all__ = ["PICTURE_SCENE", "write_sample_files"]
