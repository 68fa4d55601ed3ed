"""What embeddings of sounds share with CLIP's `[CLS]` of their pictures: similarity, predictability, information.

A measurement of the terms of the paper's F.1: what a sound's embedding shares with the picture's, and what it knows of
the sound's own labels, before and after the projection.
"""

from .estimates import Estimate
from .information import info_nce_bound
from .measuring import measure_geometry
from .probes import label_probe, linear_predictability
from .similarity import cka, linear_cka

__all__ = [
    "Estimate",
    "cka",
    "info_nce_bound",
    "label_probe",
    "linear_cka",
    "linear_predictability",
    "measure_geometry",
]
