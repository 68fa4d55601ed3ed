"""Audio-visual scenes that are drawn and played by a procedure, for the bundled model and for tests."""

from .scenes import COLOURS, FPS, KINDS, PLACES, RATE, Scene, phrase, scene, sentence, with_article, write_mp4

__all__ = [
    "COLOURS",
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
