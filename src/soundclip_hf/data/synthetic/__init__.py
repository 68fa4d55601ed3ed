"""Audio-visual scenes that are drawn and played by a procedure, for the bundled model and for tests."""

from .pictures import COLOURS, PLACES
from .scenes import (
    FIRST_TEST,
    FIRST_TRAINING,
    FIRST_VALIDATION,
    FPS,
    Scene,
    phrase,
    scene,
    sentence,
    with_article,
    write_mp4,
)
from .sounds import KINDS, RATE

__all__ = [
    "COLOURS",
    "FIRST_TEST",
    "FIRST_TRAINING",
    "FIRST_VALIDATION",
    "FPS",
    "KINDS",
    "PLACES",
    "RATE",
    "Scene",
    "phrase",
    "scene",
    "sentence",
    "with_article",
    "write_mp4",
]
