"""Checks a folder that was just written against the original checkpoint that it was converted from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoFeatureExtractor, AutoModel

from .origin import Origin
from .round_trip import RoundTrip, compare_round_trip


@dataclass(frozen=True)
class FolderCheck:
    """
    Attributes:
        shape: Of the embedding of a test sound.
        norm: Of the same.
    """

    round_trip: RoundTrip
    shape: tuple[int, ...]
    norm: float

    @property
    def lines(self) -> list[str]:
        trip = self.round_trip
        computed = f", {len(trip.computed)} given by a formula" if trip.computed else ""
        left = f", {len(trip.left_behind)} of other parts left behind" if trip.left_behind else ""
        return [
            f"round trip: {len(trip.equal)} tensors equal{computed}{left}",
            f"embedding of 3 s of seeded noise and a tone: shape {self.shape}, norm {self.norm:.6g}",
        ]

    def to_dict(self) -> dict[str, Any]:
        trip = self.round_trip
        counts = {"equal": len(trip.equal), "computed": len(trip.computed), "left_behind": len(trip.left_behind)}
        return {"round_trip": counts, "embedding": {"shape": list(self.shape), "norm": self.norm}}


@torch.no_grad()
def check_folder(folder: Path, origin: Origin, original: Mapping[str, Any]) -> FolderCheck:
    """
    Load model and feature extractor of a folder, compare with the original bit by bit, and embed a sound.

    Raises:
        ValueError: If a tensor is not the original's, or the embedding is not finite.
    """
    model, extractor = AutoModel.from_pretrained(folder).eval(), AutoFeatureExtractor.from_pretrained(folder)
    trip = compare_round_trip(origin, model, original)
    if trip.different:
        raise ValueError(
            f"round trip: {len(trip.different)} tensors are not those of the file (first: {trip.different[0]})."
        )
    rate = extractor.sampling_rate
    z = model(**extractor(_sound(rate), sampling_rate=rate, return_tensors="pt")).pooler_output
    if not bool(z.isfinite().all()):
        raise ValueError("the embedding of a test sound is not finite: the weights are damaged.")
    return FolderCheck(trip, tuple(z.shape), float(z.float().norm()))


def _sound(rate: int) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal(3 * rate)
    return (0.05 * noise + 0.2 * np.sin(2 * np.pi * 440 * np.arange(3 * rate) / rate)).astype(np.float32)


__all__ = ["FolderCheck", "check_folder"]
