"""The sounds of a fine-tuning's rows, each heard by the audio encoder once, and rows that bring what it heard."""

from .embedded_rows import embedded_rows

__all__ = ["embedded_rows"]
