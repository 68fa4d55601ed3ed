"""Captions of models under several settings, written to files as they come, and scored from these files."""

from .answering import AnsweringModel, AnswerSettings
from .caption_files import read_captions
from .captioning import Asked, CellRun, generate_captions
from .cells import Cell, grid
from .scoring import METRICS, CaptionScoring

__all__ = [
    "METRICS",
    "AnswerSettings",
    "AnsweringModel",
    "Asked",
    "CaptionScoring",
    "Cell",
    "CellRun",
    "generate_captions",
    "grid",
    "read_captions",
]
