"""Synthetic scenes as arrays, made once by two processes and kept in files of some thousand scenes."""

import io
import os
import warnings
import wave
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm.auto import tqdm

from soundclip_hf.data.synthetic import (
    COLOURS,
    FIRST_TEST,
    FIRST_TRAINING,
    FIRST_VALIDATION,
    KINDS,
    RATE,
    Scene,
    scene,
)
from soundclip_hf.data.synthetic.shapes import SHAPES
from soundclip_hf.modeling.audio_encoders.whisperclip.feature_extraction_whisperclip import WhisperClipFeatureExtractor

IMAGE_SIZE, PATCH_SIZE = 64, 8
GRID = IMAGE_SIZE // PATCH_SIZE
THINGS = 4
NAMES = tuple(SHAPES)
TRAIN, VALIDATION, TEST = FIRST_TRAINING, FIRST_VALIDATION, FIRST_TEST
_CHUNK = 1000


def picture(shown: Scene) -> Image.Image:
    """What the tower sees, of 64x64 pixels: the size to which a picture of any size comes."""
    return Image.fromarray(shown.draw(2 * IMAGE_SIZE)).resize((IMAGE_SIZE,) * 2, Image.Resampling.BICUBIC)


def pictures(number: int) -> dict[str, np.ndarray]:
    """Picture, and what is in it: kind, colour and sounding of up to four things (-1: none), share of each patch."""
    shown = scene(number)
    kinds, colours, places = (np.full(THINGS, -1, np.int64) for _ in range(3))
    covered = np.zeros((THINGS, GRID * GRID), np.float16)
    for index, thing in enumerate(shown.things):
        kinds[index], colours[index] = NAMES.index(thing.kind), COLOURS.index(thing.colour)
        places[index] = 2 * (thing.y >= 0.5) + (thing.x >= 0.5)
        covered[index] = thing.coverage(GRID)
    return {
        "pictures": np.asarray(picture(shown)),
        "kinds": kinds,
        "colours": colours,
        "places": places,
        "covered": covered,
    }


def sounds(number: int) -> dict[str, np.ndarray]:
    """16-bit sound, and what can be heard in it."""
    shown = scene(number)
    heard = np.zeros(len(KINDS), np.float32)
    for kind in shown.sources:
        heard[KINDS.index(kind)] = 1
    return {"sounds": (shown.sound * 32767).round().astype(np.int16), "heard": heard}


def features(number: int) -> dict[str, np.ndarray]:
    """Log-mel frames of a sound, and what can be heard in it."""
    made = sounds(number)
    waveform = made["sounds"].astype(np.float32) / 32768
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # digital silence is one of the sounds
        mel = _EXTRACTOR(waveform, sampling_rate=RATE, return_tensors="np")["input_features"][0, 0]
    return {"features": mel.astype(np.float16), "heard": made["heard"]}


_EXTRACTOR = WhisperClipFeatureExtractor(window="short")


def arrays(
    make: Callable[[int], dict[str, np.ndarray]], folder: Path, start: int, count: int, workers: int
) -> dict[str, torch.Tensor]:
    """The arrays of scenes `start` to `start + count`, one row each; files that are there are not made again."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = [(first, min(_CHUNK, start + count - first)) for first in range(start, start + count, _CHUNK)]
    paths = [folder / f"{make.__name__}-{first:08d}-{size}.npz" for first, size in parts]
    todo = [(make, path, *part) for path, part in zip(paths, parts) if not path.is_file()]
    if todo:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            bar = tqdm(pool.map(_write, *zip(*todo)), desc=make.__name__, total=len(todo), unit="k scenes")
            for _ in bar:
                pass
    loaded: list[Any] = [np.load(path) for path in paths]
    return {name: torch.from_numpy(np.concatenate([part[name] for part in loaded])) for name in loaded[0].files}


def _write(make: Callable[[int], dict[str, np.ndarray]], path: Path, first: int, size: int) -> None:
    torch.set_num_threads(1)
    rows = [make(number) for number in range(first, first + size)]
    temporary = path.with_name(f".{path.name}")
    with open(temporary, "wb") as file:
        np.savez(file, **{name: np.stack([row[name] for row in rows]) for name in rows[0]})
    os.replace(temporary, path)


def wav(sound: np.ndarray) -> bytes:
    """A WAV file of `(samples,)` int16."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(sound.tobytes())
    return buffer.getvalue()


def png(shown: Scene) -> bytes:
    """A PNG file of what the tower sees."""
    buffer = io.BytesIO()
    picture(shown).save(buffer, "PNG")
    return buffer.getvalue()


def is_pair(shown: Scene) -> bool:
    """Whether sound and picture tell of the same: a source is in the picture, or neither has one."""
    if shown.sources:
        return bool(shown.sounding)
    return not any(thing.kind in KINDS for thing in shown.things)


__all__ = [
    "GRID", "IMAGE_SIZE", "NAMES", "PATCH_SIZE", "TEST", "THINGS", "TRAIN", "VALIDATION", "arrays", "features",
    "is_pair", "picture", "pictures", "png", "sounds", "wav",
]  # fmt: skip
