"""The files of an index whose vectors are nearest to one vector."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from .embedding_store import Block, Entry, Kind
from .exact_search import exact_search


class Match(NamedTuple):
    """
    Attributes:
        score: Cosine of the file's vector and the query.
        entry: The file.
    """

    score: float
    entry: Entry


def matches(vector: Tensor, blocks: Sequence[Block], kind: Kind, k: int) -> list[Match]:
    """
    The best `k` files of an index, the best one first; equal scores in the order of the index.

    Args:
        vector: `(dim,)`.
        blocks: Of an index, whose vectors have length 1.
        kind: Which vectors are compared: "audio" or "image".
    """
    held = [entry for block in blocks for entry in block.entries if getattr(entry, kind)]
    found = exact_search(vector[None], [getattr(block, kind) for block in blocks], k, normalized=True)
    return [Match(score, held[row]) for score, row in zip(found.scores[0].tolist(), found.rows[0].tolist())]


__all__ = ["Match", "matches"]
