"""Retrieval as in the paper's appendix E: ranks and Top-k of paired embeddings, in both directions, with intervals."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

TOP_K = (1, 3, 10)
CONFIDENCE = 0.95
RESAMPLES = 1000
# Cosines are computed in float64, where equal vectors may still differ in the last digits.
_TIE = 1e-10
_ROWS = 2048  # of the similarity matrix that are in memory at a time
_DRAWS = 500_000  # of the bootstrap that are in memory at a time


@dataclass(frozen=True)
class Direction:
    """
    One way of searching, averaged over the repeats.

    Attributes:
        mean_rank: Of the true match, from 1 (always first) to the number of candidates. Candidates that score the same
            share their average rank, so that equal embeddings are at chance and not at 1.
        t1, t3, t10: Percent of queries whose true match has a rank of at most 1, 3, 10.
        mean_rank_sd, t1_sd, t3_sd, t10_sd: Standard deviation over the repeats; None for a single one.
        intervals: By the names of the four numbers: 95 % bootstrap interval `(low, high)`, the items being drawn with
            replacement, each with all of its queries.
    """

    mean_rank: float
    t1: float
    t3: float
    t10: float
    mean_rank_sd: float | None
    t1_sd: float | None
    t3_sd: float | None
    t10_sd: float | None
    intervals: dict[str, tuple[float, float]]


@dataclass(frozen=True)
class RetrievalResult:
    """
    Attributes:
        a2v: A sound looks for its picture.
        v2a: A picture looks for its sound.
        chance: The four numbers of a search that knows nothing.
        n: Pairs that were given.
        pool: Pairs out of which each repeat draws.
        sample: Candidates of each query.
        repeats, seed: Of the draws.
    """

    a2v: Direction
    v2a: Direction
    chance: dict[str, float]
    n: int
    pool: int
    sample: int
    repeats: int
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dictionaries, for JSON."""
        values = asdict(self)
        for way in ("a2v", "v2a"):
            values[way]["intervals"] = {name: list(ends) for name, ends in values[way]["intervals"].items()}
        return values


def evaluate_retrieval(
    audio: Tensor,
    video: Tensor,
    *,
    pool: int | None = 500,
    sample: int | None = 100,
    repeats: int = 5,
    seed: int = 0,
) -> RetrievalResult:
    """
    The paper's protocol: `repeats` times, `sample` pairs out of a pool are ranked by cosine, both ways.

    The paper does not say how it picks its pool; here it is the first `pool` of a permutation by `seed`.

    Args:
        audio: `(n, d)`, any float dtype, need not be normalised; a zero row has cosine 0 with everything.
        video: `(n, d)`; row i belongs to row i of `audio`. Pairs of one source (segments of one video) count as wrong
            answers for each other: leave one of each.
        pool: Pairs to draw from, at most n are taken; None: all.
        sample: Candidates per query, at most the pool is taken. None: the whole pool, once: every pair against all.
        repeats: Draws, each without replacement.
        seed: Of pool, draws and bootstrap.

    Raises:
        ValueError: If shapes differ, there are fewer than 2 pairs, an embedding is not finite, or a number is bad.
    """
    audio, video = torch.as_tensor(audio), torch.as_tensor(video)
    _check(audio, video, pool, sample, repeats)
    audio, video = (F.normalize(part.detach().cpu().double(), dim=-1) for part in (audio, video))
    generator = torch.Generator().manual_seed(seed)
    n = len(audio)
    drawn = torch.randperm(n, generator=generator)[:pool]
    if sample is None:
        repeats = 1
    size = min(sample or len(drawn), len(drawn))
    subsets = [drawn[torch.randperm(len(drawn), generator=generator)[:size]] for _ in range(repeats)]
    a2v = torch.stack([ranks(audio[subset], video[subset]) for subset in subsets])
    v2a = torch.stack([ranks(video[subset], audio[subset]) for subset in subsets])
    items = torch.stack(subsets)
    return RetrievalResult(
        _summary(a2v, items, n, seed),
        _summary(v2a, items, n, seed),
        chance={"mean_rank": (size + 1) / 2, **{f"t{k}": 100 * min(k / size, 1.0) for k in TOP_K}},
        n=n,
        pool=len(drawn),
        sample=size,
        repeats=repeats,
        seed=seed,
    )


def ranks(queries: Tensor, candidates: Tensor) -> Tensor:
    """
    The rank of candidate i for query i.

    Args:
        queries, candidates: `(n, d)` float64, normalised.

    Returns:
        `(n,)` float64: 1 + how many candidates score higher + half of how many others score the same.
    """
    found = []
    true = (queries * candidates).sum(-1, keepdim=True)
    for start in range(0, len(queries), _ROWS):
        part = slice(start, start + _ROWS)
        scores = queries[part] @ candidates.T
        higher = (scores > true[part] + _TIE).sum(1)
        same = ((scores - true[part]).abs() <= _TIE).sum(1)  # with the true one itself
        found.append(1 + higher + (same - 1).double() / 2)
    return torch.cat(found)


def _summary(rank: Tensor, items: Tensor, n: int, seed: int) -> Direction:
    """`rank` and `items`, `(repeats, sample)`: the rank of each query, and which of the n pairs it is."""
    measures = {"mean_rank": rank, **{f"t{k}": 100 * (rank <= k).double() for k in TOP_K}}
    means = {name: float(values.mean()) for name, values in measures.items()}
    spread: dict[str, Any] = {
        f"{name}_sd": float(values.mean(1).std()) if len(values) > 1 else None for name, values in measures.items()
    }
    return Direction(**means, **spread, intervals=_bootstrap(measures, items, n, seed))


def _bootstrap(measures: dict[str, Tensor], items: Tensor, n: int, seed: int) -> dict[str, tuple[float, float]]:
    # The queries of an item that several repeats drew are not independent, so items are resampled, not queries.
    where = items.flatten()
    counts = torch.zeros(n, dtype=torch.float64).index_add_(0, where, torch.ones(len(where), dtype=torch.float64))
    drawn = counts.nonzero()[:, 0]
    values = torch.stack([measure.flatten() for measure in measures.values()], dim=1)
    sums = torch.zeros(n, len(measures), dtype=torch.float64).index_add_(0, where, values)
    totals = torch.cat([counts[:, None], sums], dim=1)[drawn]
    generator = torch.Generator().manual_seed(seed)
    at_once = max(1, _DRAWS // len(drawn))
    resampled = torch.cat(
        [
            totals[torch.randint(len(drawn), (min(at_once, RESAMPLES - start), len(drawn)), generator=generator)].sum(1)
            for start in range(0, RESAMPLES, at_once)
        ]
    )
    estimates = resampled[:, 1:] / resampled[:, :1]
    ends = torch.tensor([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], dtype=torch.float64)
    low, high = torch.quantile(estimates, ends, dim=0).tolist()
    return {name: (low[index], high[index]) for index, name in enumerate(measures)}


def _check(audio: Tensor, video: Tensor, pool: int | None, sample: int | None, repeats: int) -> None:
    if audio.ndim != 2 or audio.shape != video.shape:
        raise ValueError(
            f"audio {tuple(audio.shape)} and video {tuple(video.shape)}: expected two tensors of one shape (n, d), row "
            "i of one belonging to row i of the other. Pad raw embeddings of another width with zeros."
        )
    if len(audio) < 2:
        raise ValueError(f"{len(audio)} pair(s): retrieval needs at least 2.")
    for name, value in (("pool", pool), ("sample", sample)):
        if value is not None and value < 2:
            raise ValueError(f"{name}={value}: must be at least 2, or None.")
    if repeats < 1:
        raise ValueError(f"repeats={repeats}: must be at least 1.")
    for name, part in (("audio", audio), ("video", video)):
        if not torch.isfinite(part).all():
            rows = (~torch.isfinite(part)).any(1).nonzero()[:, 0].tolist()
            raise ValueError(
                f"{name}: {len(rows)} of {len(part)} embeddings are not finite, the first in row {rows[0]}."
            )


__all__ = ["Direction", "RetrievalResult", "evaluate_retrieval", "ranks"]
