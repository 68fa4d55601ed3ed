"""Writes files of synthetic scenes for somebody who has none at hand: clips, a picture with sounds, and questions."""

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ...files import partial_name, write_text
from ...media.wav_files import write_wav
from .questions import hearing_questions
from .scenes import FIRST_TEST, Scene, scene, write_mp4
from .sounds import RATE, mix

# The scene of the bundled clip: a clock, a car and a piano, each of which can sound.
PICTURE_SCENE = FIRST_TEST + 34


def write_sample_files(folder: Path, count: int = 12, *, overwrite: bool = False) -> Iterator[Path]:
    """
    Write scenes that the bundled model was not trained on.

    - `clips/<kind>-<number>.mp4`: `count` clips of 3 s, each with one source, which can be seen, and named after it;
    - `scene.png`, and for each thing in it a sound, such as `clock.wav`: mono, 16 kHz, 3 s;
    - `clips.jsonl`: one line for each clip, with a question;
    - `questions.jsonl`: the same clips with questions and true answers, three for each.

    All files are made beside their places and moved there at the end. The same files may be there already, as may the
    lines of an earlier run with fewer clips. Files with other names stay.

    Args:
        folder: Made if it is not there.
        count: From 1 on.
        overwrite: Replace files of the same names that have other content, and remove the clips of an earlier run
            with more clips.

    Yields:
        The path of each file, when its content is made; it is there when the iterator has ended.

    Raises:
        ValueError: If `count` is below 1.
        FileExistsError: If there are files to replace or to remove, without `overwrite`. Nothing has changed then.
        OSError: If a file cannot be written.
    """
    if count < 1:
        raise ValueError(f"count={count}: write at least one clip")
    shown = {f"clips/{_clip_name(one)}": one for one in _scenes(count)}
    texts = _texts(shown)
    older = _older_clips(folder, shown)
    if not overwrite:
        # Before the clips are made, which takes a second for every few of them.
        _refuse(folder, [name for name, text in texts.items() if not _begins(folder / name, text)], older)
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    made = partial_name(folder / "clips")
    try:
        (made / "clips").mkdir(parents=True)
        names = []
        for name in _make(made, shown, texts):
            names.append(name)
            yield folder / name
        changed = [name for name in names if not _same(made / name, folder / name)]
        if not overwrite:
            media = [name for name in changed if name not in texts and os.path.lexists(folder / name)]
            _refuse(folder, media, [])
        for name in changed:
            os.replace(made / name, folder / name)
        for name in older:
            (folder / name).unlink()
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _make(folder: Path, shown: Mapping[str, Scene], texts: Mapping[str, str]) -> Iterator[str]:
    """Write all files into an empty folder; yields their names."""
    for name, one in shown.items():
        write_mp4(folder / name, [one])
        yield name
    drawn = scene(PICTURE_SCENE)
    Image.fromarray(drawn.picture).save(folder / "scene.png")
    yield "scene.png"
    for place, thing in enumerate(drawn.things):
        sound = mix([(thing.kind, 0.0)], np.random.default_rng((PICTURE_SCENE, place)), snr_db=20)
        write_wav(folder / f"{thing.kind}.wav", sound, RATE)
        yield f"{thing.kind}.wav"
    for name, text in texts.items():
        write_text(folder / name, text)
        yield name


def _texts(shown: Mapping[str, Scene]) -> dict[str, str]:
    """The files of JSON lines."""
    asked: list[str] = []
    answered: list[str] = []
    for name, one in shown.items():
        questions = hearing_questions(one)
        asked.append(json.dumps({"id": Path(name).stem, "video": name, "question": questions[0][0]}))
        answered += [
            json.dumps({"video": name, "question": question, "answer": answer}) for question, answer in questions
        ]
    files = {"clips.jsonl": asked, "questions.jsonl": answered}
    return {name: "\n".join(lines) + "\n" for name, lines in files.items()}


def _clip_name(shown: Scene) -> str:
    return f"{shown.sources[0]}-{shown.number - FIRST_TEST}.mp4"


def _older_clips(folder: Path, shown: Mapping[str, Scene]) -> list[str]:
    """The clips in the folder that a run with a larger count has made."""
    found = []
    for path in sorted((folder / "clips").glob("*.mp4")):
        match = re.fullmatch(r"[a-z]+-(\d{1,9})\.mp4", path.name)
        if match and f"clips/{path.name}" not in shown:
            one = scene(FIRST_TEST + int(match[1]))
            if _has_one_source(one) and _clip_name(one) == path.name:
                found.append(f"clips/{path.name}")
    return found


def _begins(path: Path, text: str) -> bool:
    """Whether a file may become `text` without a loss: it is not there, or has nothing but its first lines."""
    if not os.path.lexists(path):
        return True
    return path.is_file() and text.encode().startswith(path.read_bytes())


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()


def _refuse(folder: Path, changed: Sequence[str], older: Sequence[str]) -> None:
    parts = [(changed, "with other content"), (older, "of an earlier run with more clips")]
    said = " and ".join(f"{_some(names)} {what}" for names, what in parts if names)
    if said:
        raise FileExistsError(f"{folder}: has {said}; choose another folder, or overwrite=True to lose them")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} to {names[-1]} ({len(names)} files)"


def _scenes(count: int) -> Iterator[Scene]:
    """The first scenes with one source, which can be seen."""
    number = FIRST_TEST
    while count:
        shown = scene(number)
        number += 1
        if _has_one_source(shown):
            count -= 1
            yield shown


def _has_one_source(shown: Scene) -> bool:
    return len(shown.sources) == 1 and bool(shown.sounding)


__all__ = ["PICTURE_SCENE", "write_sample_files"]
