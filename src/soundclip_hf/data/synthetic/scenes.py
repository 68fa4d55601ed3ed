"""Synthetic audio-visual scenes: pictures of things, some of which sound, with rows in AVE-2's schema and mp4 files.

Everything follows from the scene's number. The sounds are caricatures and the pictures are drawings: a world to learn
and test in, no stand-in for real clips.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import av
import numpy as np

from ...files import replacing
from ..ave2.schema import SECONDS, complete
from .pictures import PLACES, Thing, draw, random_thing
from .shapes import SILENT, SOUNDING
from .sounds import KINDS, RATE, mix

# How often a scene has 0, 1, … 4 things.
_COUNTS = (0.04, 0.18, 0.3, 0.3, 0.18)
_SILENT_KIND, _SOUNDS, _SECOND_SOURCE, _OFFSCREEN = 0.2, 0.85, 0.15, 0.15
FPS = 10
# Where the numbers of three kinds of scenes begin; they do not meet. The bundled model has met those for training.
FIRST_TRAINING, FIRST_VALIDATION, FIRST_TEST = 0, 5_000_000, 10_000_000
# Streams of random numbers of one scene.
_LAYOUT, _PICTURE, _SOUND = range(3)


@dataclass(frozen=True)
class Scene:
    """
    Three seconds: up to four things, none or several of which sound, and perhaps a sound from outside the picture.

    Attributes:
        number: All else follows from it.
        things: What is in the picture, in paint order.
        sounding: Places in `things` of those that sound, the loudest first.
        offscreen: Kinds that sound and are not in the picture.
        levels: Level of each source, those of `sounding` and then those of `offscreen`, in dB relative to the first.
        snr_db: Sources over background noise.
    """

    number: int
    things: tuple[Thing, ...]
    sounding: tuple[int, ...]
    offscreen: tuple[str, ...]
    levels: tuple[float, ...]
    snr_db: float

    @property
    def sources(self) -> tuple[str, ...]:
        """Kinds of what sounds: in the picture, the loudest first, and then outside."""
        return (*(self.things[place].kind for place in self.sounding), *self.offscreen)

    @cached_property
    def picture(self) -> np.ndarray:
        """`(256, 256, 3)` uint8."""
        return self.draw()

    @cached_property
    def sound(self) -> np.ndarray:
        """`(48000,)` float32 in [-1, 1] at 16 kHz."""
        rng = np.random.default_rng((self.number, _SOUND))
        return mix(list(zip(self.sources, self.levels)), rng, snr_db=self.snr_db)

    def draw(self, size: int = 256, drift: float = 0.0) -> np.ndarray:
        """The picture as `(size, size, 3)` uint8; `drift` moves its things to the right, in widths."""
        return draw(self.things, (self.number, _PICTURE), size, drift)

    def row(self) -> dict[str, Any]:
        """A full row of [`schema.COLUMNS`]: captions, sources, and the things in `extra`; no judge has seen it."""
        visible = [self.things[place].kind for place in self.sounding]
        silent = [thing.kind for place, thing in enumerate(self.things) if place not in self.sounding]
        things = [
            {
                "kind": thing.kind,
                "colour": thing.colour,
                "place": thing.place,
                "box": [round(edge, 4) for edge in thing.box],
                "sounds": place in self.sounding,
            }
            for place, thing in enumerate(self.things)
        ]
        heard = list(self.sources)
        return complete(
            {
                "youtube_id": f"synthetic-{self.number}",
                "segment": 1,
                "source_dataset": "synthetic",
                "video_caption": sentence([phrase(thing) for thing in self.things], "The picture is empty."),
                "audio_caption": sentence(
                    [f"the sound of {with_article(kind)}" for kind in heard], "Nothing can be heard."
                ),
                "audio_visual_label": ", ".join(heard) or "silence",
                "visible_active_sources": visible,
                "invisible_active_sources": list(self.offscreen),
                "visible_silent_objects": silent,
                "extra": json.dumps({"things": things, "snr_db": self.snr_db, "levels_db": self.levels}),
            }
        )


def scene(number: int) -> Scene:
    """
    The scene of this number, >= 0. Training and test take numbers from ranges that do not meet.

    Raises:
        ValueError: If `number` is negative.
    """
    if number < 0:
        raise ValueError(f"number={number}: scenes are numbered from 0")
    rng = np.random.default_rng((number, _LAYOUT))
    count = int(rng.choice(len(_COUNTS), p=_COUNTS))
    kinds = [KINDS[index] for index in rng.permutation(len(KINDS))]
    silent_kinds = [sorted(SILENT)[index] for index in rng.permutation(len(SILENT))]
    places = rng.permutation(len(PLACES))[:count]
    things = tuple(
        random_thing(rng, (silent_kinds if rng.random() < _SILENT_KIND else kinds).pop(), int(place))
        for place in places
    )
    able = [place for place, thing in enumerate(things) if thing.kind in SOUNDING]
    sounding: tuple[int, ...] = ()
    if able and rng.random() < _SOUNDS:
        wanted = 2 if rng.random() < _SECOND_SOURCE else 1
        sounding = tuple(int(place) for place in rng.permutation(able)[:wanted])
    offscreen = (kinds.pop(),) if rng.random() < _OFFSCREEN else ()
    levels = [0.0, float(rng.uniform(-6, 0))][: len(sounding)]
    levels += [float(rng.uniform(-15, -5)) if sounding else 0.0 for _ in offscreen]
    return Scene(number, things, sounding, offscreen, tuple(levels), float(rng.uniform(0, 20)))


def phrase(thing: Thing) -> str:
    """With its colour and article: "an orange bell"."""
    return with_article(f"{thing.colour} {thing.kind}")


def with_article(name: str) -> str:
    """ "an owl", "a bell"."""
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def sentence(parts: Sequence[str], otherwise: str) -> str:
    """ "A, b and c." of "a", "b" and "c"; `otherwise` of nothing."""
    if not parts:
        return otherwise
    text = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"{text[0].upper()}{text[1:]}."


def write_mp4(path: str | os.PathLike[str], scenes: Sequence[Scene], *, size: int = 256, fps: int = FPS) -> None:
    """
    Write scenes one after another, 3 s each, as H.264 and mono AAC at 16 kHz. The things drift slowly.

    Args:
        size: Width and height in pixels, even.

    Raises:
        ValueError: If there is no scene, or `size` is odd.
    """
    if not scenes:
        raise ValueError("scenes is empty: a video needs at least one")
    if size < 16 or size % 2:
        raise ValueError(f"size={size}: H.264 needs an even number of pixels, at least 16")
    path = Path(path)
    frames = round(SECONDS * fps)
    with (
        replacing(path) as partial,
        av.open(str(partial), "w", "mp4", options={"movflags": "+faststart"}) as container,
    ):
        # One thread: the number of threads changes what x264 writes.
        video: Any = container.add_stream("libx264", rate=fps, options={"crf": "23", "threads": "1"})
        video.width, video.height, video.pix_fmt = size, size, "yuv420p"
        audio: Any = container.add_stream("aac", rate=RATE, layout="mono")
        audio.bit_rate = 64_000
        for number, shown in enumerate(scenes):
            for step in range(frames):
                drift = 0.02 * np.sin(2 * np.pi * (step - frames // 2) / frames)
                frame = av.VideoFrame.from_ndarray(shown.draw(size, float(drift)), format="rgb24")
                frame.pts = number * frames + step
                container.mux(video.encode(frame))
            block = av.AudioFrame.from_ndarray(np.ascontiguousarray(shown.sound)[None], "fltp", "mono")
            block.sample_rate, block.pts = RATE, number * len(shown.sound)
            container.mux(audio.encode(block))
        container.mux(video.encode())
        container.mux(audio.encode())


__all__ = [
    "FIRST_TEST",
    "FIRST_TRAINING",
    "FIRST_VALIDATION",
    "FPS",
    "Scene",
    "phrase",
    "scene",
    "sentence",
    "with_article",
    "write_mp4",
]
