"""Exact nearest neighbours by cosine: the best k stored vectors for each query."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

QUERIES_AT_A_TIME = 1024


class Matches(NamedTuple):
    """
    Attributes:
        scores: `(queries, k)` fp32, cosines in descending order.
        rows: `(queries, k)` int64, the stored vectors that they belong to; equal scores in ascending order of rows.
    """

    scores: Tensor
    rows: Tensor


def exact_search(
    queries: Tensor, vectors: Tensor | Iterable[Tensor], k: int, *, normalized: bool = False, chunk: int = 32768
) -> Matches:
    """
    Compare every query with every stored vector, a chunk of them at a time, and keep the best k as it goes.

    What it needs beside its inputs is bounded by the chunk, however many vectors there are: its scores with up to 1024
    queries, and a copy of it where the vectors are not fp32 or not on the queries' device.

    Args:
        queries: `(queries, dim)`, any float dtype; need not be normalised; a zero row scores 0 with everything.
        vectors: `(n, dim)`, or an iterable of such tensors, read one after the other, such as the shards of an index;
            rows are counted through. Any float dtype and device; chunks go to the queries' device.
        k: Matches per query; all n where there are fewer.
        normalized: The vectors' rows have length 1 (or 0) already, so that their lengths need not be computed.
        chunk: Vectors at a time.

    Returns:
        [`Matches`] on the queries' device: the same rows as a full sort by (-score, row) of the scores as they were
        computed. `torch.topk` alone would order equal scores as it likes. Two vectors whose cosines are the same to
        fp32's rounding (about 1e-7) may come in either order: the product rounds by chunk, threads and processor.

    Raises:
        ValueError: If k or chunk is below 1, widths differ, or a query or stored vector is NaN or Inf.
    """
    if queries.ndim != 2 or k < 1 or chunk < 1:
        raise ValueError(
            f"queries {tuple(queries.shape)}, k={k}, chunk={chunk}: pass (queries, dim), k and chunk >= 1."
        )
    queries = queries.float()
    if not torch.isfinite(queries.sum()):
        raise ValueError("a query holds NaN or Inf.")
    blocks = F.normalize(queries, dim=-1).split(QUERIES_AT_A_TIME)
    best = [
        Matches(block.new_empty(len(block), 0), block.new_empty(len(block), 0, dtype=torch.int64)) for block in blocks
    ]
    first = 0
    for stored in _chunks(vectors, chunk):
        if stored.ndim != 2 or stored.shape[1] != queries.shape[1]:
            raise ValueError(
                f"stored vectors {tuple(stored.shape)} beside queries {tuple(queries.shape)}: other widths."
            )
        if not len(stored):
            continue
        stored = stored.to(queries.device, torch.float32)
        length = None if normalized else stored.norm(dim=1).clamp_min(torch.finfo(torch.float32).tiny)
        for number, block in enumerate(blocks):
            scores = block @ stored.T
            if length is not None:
                scores /= length
            best[number] = _merge(best[number], scores, first, k)
        first += len(stored)
    return Matches(torch.cat([part.scores for part in best]), torch.cat([part.rows for part in best]))


def _chunks(vectors: Tensor | Iterable[Tensor], chunk: int) -> Iterator[Tensor]:
    for part in [vectors] if isinstance(vectors, Tensor) else vectors:
        yield from part.split(chunk)


def _merge(best: Matches, scores: Tensor, first: int, k: int) -> Matches:
    """Take the chunk's scores `(queries, width)`, those of rows `first` and on, into the best k."""
    if not len(scores):
        held = min(k, best.rows.shape[1] + scores.shape[1])
        return Matches(best.scores.new_empty(0, held), best.rows.new_empty(0, held))
    # Both are NaN if any score is, so that only they need to be checked. (aminmax with a dim is slower.)
    low, high = scores.amin(1), scores.amax(1)
    if not torch.isfinite(torch.cat([low, high])).all():
        row = int((~torch.isfinite(scores)).any(0).nonzero()[0])
        raise ValueError(f"stored vector {first + row} holds NaN or Inf.")
    if best.rows.shape[1] < k:
        return _joined(best, _top_of_chunk(scores, k), first, k)
    # At an equal score the earlier row stays. So most chunks change nothing for most queries.
    better = high > best.scores[:, -1]
    if not better.any():
        return best
    if better.all():
        return _joined(best, _top_of_chunk(scores, k), first, k)
    part = _joined(Matches(best.scores[better], best.rows[better]), _top_of_chunk(scores[better], k), first, k)
    merged = Matches(best.scores.clone(), best.rows.clone())
    merged.scores[better], merged.rows[better] = part
    return merged


def _joined(best: Matches, top: Matches, first: int, k: int) -> Matches:
    scores, rows = torch.cat([best.scores, top.scores], 1), torch.cat([best.rows, top.rows + first], 1)
    order = scores.sort(dim=1, descending=True, stable=True).indices[:, :k]
    return Matches(scores.gather(1, order), rows.gather(1, order))


def _top_of_chunk(scores: Tensor, k: int) -> Matches:
    """The best k columns, equal scores in ascending order of columns."""
    values, columns = scores.topk(min(k + 1, scores.shape[1]), dim=1)
    # If several columns have the last score, topk takes any of them.
    tied = (values[:, k - 1] == values[:, k]).nonzero()[:, 0].tolist() if values.shape[1] > k else []
    columns = columns[:, :k].sort(dim=1).values
    for query in tied:
        above = scores[query] > values[query, k - 1]
        level = (scores[query] == values[query, k - 1]).nonzero()[:, 0]
        columns[query] = torch.cat([above.nonzero()[:, 0], level])[:k].sort().values
    values = scores.gather(1, columns)
    order = values.sort(dim=1, descending=True, stable=True).indices
    return Matches(values.gather(1, order), columns.gather(1, order))


__all__ = ["Matches", "exact_search"]
