"""Ranks of true matches among any number of candidates, counted tile by tile without the matrix of all cosines."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

# Cosines are computed in float64, where equal vectors may still differ in the last digits.
TIE = 1e-10
# Rows and columns of a tile. Smaller ones fit into a CPU's cache, but are twice as slow where others use it, too.
_CPU_TILE, _GPU_TILE = 2048, 8192
# Tiles below each other that share one conversion of their columns to float64.
_TILES_AT_A_TIME = 4


@dataclass(frozen=True)
class Ranks:
    """
    What a query's true match is compared with, in one direction.

    Attributes:
        higher: `(n,)` int64, how many candidates score higher than the true match of query i.
        ties: `(n,)` int64, how many other candidates score the same.
    """

    higher: Tensor
    ties: Tensor

    @property
    def average(self) -> Tensor:
        """`(n,)` float64, from 1: candidates that score the same share their average rank."""
        return 1 + self.higher + self.ties.double() / 2

    @property
    def optimistic(self) -> Tensor:
        """`(n,)` float64, from 1: the true match comes before others that score the same."""
        return 1 + self.higher.double()


def count_ranks(
    audio: Tensor,
    video: Tensor,
    *,
    normalize: bool = True,
    tile: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[Ranks, Ranks]:
    """
    Rank row i of `video` for row i of `audio`, and the reverse, by the cosines of all pairs.

    Each cosine is computed once, in float64, and counted in both directions. Beside the inputs, memory is needed for a
    few tiles, whatever n is.

    Args:
        audio, video: `(n, d)`, any float dtype, on one device, where the counting runs, too.
        normalize: L2-normalise the rows, also tile by tile; a zero row has cosine 0 with everything. If False, compare
            by dot product.
        tile: Rows and columns of a tile; by default 2048 on a CPU and 8192 on a GPU.
        progress: Called with a number of sounds: how many more have been compared with all pictures. The numbers sum
            up to n.

    Returns:
        The ranks of pictures for sounds, and of sounds for pictures. Scores that differ by at most 1e-10 are the same.

    Raises:
        ValueError: If the shapes differ or `tile` is below 1.
    """
    if audio.ndim != 2 or audio.shape != video.shape:
        raise ValueError(f"audio {tuple(audio.shape)}, video {tuple(video.shape)}: expected two of one shape (n, d).")
    tile = tile or (_CPU_TILE if audio.device.type == "cpu" else _GPU_TILE)
    if tile < 1:
        raise ValueError(f"tile={tile}: must be at least 1.")

    def rows(part: Tensor) -> Tensor:
        part = part.detach().double()
        return F.normalize(part, dim=-1) if normalize else part

    n, band = len(audio), _TILES_AT_A_TIME * tile
    true = torch.cat([(rows(a) * rows(v)).sum(-1) for a, v in zip(audio.split(tile), video.split(tile))])
    above, level = true + TIE, true - TIE
    # Scores above the true one, and those that are at least as high, in both directions.
    higher = torch.zeros(2, n, dtype=torch.int64, device=audio.device)
    reached = torch.zeros_like(higher)
    buffer = torch.empty(min(n, tile) ** 2, dtype=torch.float64, device=audio.device)
    compared = told = 0
    for top in range(0, n, band):
        sounds = rows(audio[top : top + band])
        for left in range(0, n, tile):
            columns = slice(left, left + tile)
            pictures = rows(video[columns])
            for first, part in enumerate(sounds.split(tile)):
                lines = slice(top + first * tile, top + first * tile + len(part))
                scores = buffer[: len(part) * len(pictures)].view(len(part), len(pictures))
                torch.mm(part, pictures.T, out=scores)
                for way, (own, axis) in enumerate(((lines, 1), (columns, 0))):
                    for counts, edges in ((higher, above), (reached, level)):
                        edge = edges[own].unsqueeze(axis)
                        counts[way, own] += _count(scores > edge if counts is higher else scores >= edge, axis)
            compared += len(sounds) * len(pictures)
            if progress is not None and compared // n > told:
                progress(compared // n - told)
                told = compared // n
    # The true match itself is among those that are as high.
    a2v, v2a = (Ranks(*pair) for pair in zip(higher, reached - higher - 1))
    return a2v, v2a


def _count(mask: Tensor, axis: int) -> Tensor:
    # Sums of bool take ten times as long.
    return mask.view(torch.uint8).sum(axis, dtype=torch.int32)


__all__ = ["TIE", "Ranks", "count_ranks"]
