"""Samples to measure with: a sound and its picture, and what is known about them."""

from .opening import open_samples
from .sample import Media, Sample, read_sample
from .samples import Samples

__all__ = ["Media", "Sample", "Samples", "open_samples", "read_sample"]
