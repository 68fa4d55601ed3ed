"""Retrieval as in the paper's appendix E: ranks and Top-k of paired embeddings, in both directions, with intervals."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from .ranking import Ranks, count_ranks

TOP_K = (1, 3, 10)
MEASURES = ("mean_rank", *(f"t{k}" for k in TOP_K))
CONFIDENCE = 0.95
RESAMPLES = 1000
_ROWS: int | None = None  # of a tile of the similarity matrix; None: what suits the device
_BINS_PER_DECADE = 10
_CHECKED = 65536  # rows at a time
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
        optimistic: The four numbers where the true match comes before others that score the same. The paper does not
            say how it ranks them.
        histogram: Of the ranks of all queries: `counts[i]` is the number of ranks above `up_to[i - 1]` (above 0 for the
            first) and at most `up_to[i]`. There are about ten bins to a decade; the last
            ends at the number of candidates.
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
    optimistic: dict[str, float] = field(default_factory=dict)
    histogram: dict[str, list[int]] = field(default_factory=dict)


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
    progress: Callable[[int], None] | None = None,
) -> RetrievalResult:
    """
    The paper's protocol: `repeats` times, `sample` pairs out of a pool are ranked by cosine, both ways.

    The paper does not say how it picks its pool; here it is the first `pool` of a permutation by `seed`. The whole pool
    may have hundreds of thousands of pairs: see [`~ranking.count_ranks`].

    Args:
        audio: `(n, d)`, any float dtype, need not be normalised; a zero row has cosine 0 with everything. On a CUDA
            device, the ranks are counted there.
        video: `(n, d)`; row i belongs to row i of `audio`. Pairs of one source (segments of one video) count as wrong
            answers for each other: leave one of each.
        pool: Pairs to draw from, at most n are taken; None: all.
        sample: Candidates per query, at most the pool is taken. None: the whole pool, once: every pair against all.
        repeats: Draws, each without replacement.
        seed: Of pool, draws and bootstrap.
        progress: Called with a number of sounds: how many more have been ranked. The numbers sum up to `repeats` times
            `sample`.

    Raises:
        ValueError: If shapes differ, there are fewer than 2 pairs, an embedding is not finite, or a number is bad.
    """
    audio, video = torch.as_tensor(audio), torch.as_tensor(video)
    _check(audio, video, pool, sample, repeats)
    device = audio.device if audio.device.type == "cuda" else torch.device("cpu")  # others may lack float64
    audio, video = audio.detach().to(device), video.detach().to(device)
    generator = torch.Generator().manual_seed(seed)
    n = len(audio)
    drawn = torch.randperm(n, generator=generator)[:pool]
    if sample is None:
        repeats = 1
    size = min(sample or len(drawn), len(drawn))
    # Their order does not matter. In ascending order, a draw of all pairs needs no copy.
    subsets = [drawn[torch.randperm(len(drawn), generator=generator)[:size]].sort().values for _ in range(repeats)]
    found: list[tuple[Ranks, Ranks]] = []
    for subset in subsets:
        rows = slice(None) if size == n else subset.to(device)
        found.append(count_ranks(audio[rows], video[rows], tile=_ROWS, progress=progress))
    items = torch.stack(subsets)
    a2v, v2a = zip(*found)
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
    return count_ranks(queries, candidates, normalize=False, tile=_ROWS)[0].average


def retrieval_metrics(projected: RetrievalResult, raw: RetrievalResult) -> tuple[dict[str, Any], dict[str, Any]]:
    """
    The numbers of both alignments, for [`~results.EvalResult`].

    Returns:
        `metrics`: "chance", and "projected_a2v", "projected_v2a", "raw_a2v" and "raw_v2a", each with `mean_rank`, `t1`,
        `t3`, `t10` and `histogram` of a [`Direction`]. `error_bars`: for each of these four, by the names of the
        numbers, `interval_95`, `sd`, and `optimistic`, which is what another treatment of ties would give.
    """
    metrics: dict[str, Any] = {"chance": dict(projected.chance)}
    error_bars: dict[str, Any] = {}
    for name, found in (("projected", projected.to_dict()), ("raw", raw.to_dict())):
        for way in ("a2v", "v2a"):
            values = found[way]
            error_bars[f"{name}_{way}"] = {
                "interval_95": values.pop("intervals"),
                "sd": {key: values.pop(f"{key}_sd") for key in MEASURES},
                "optimistic": values.pop("optimistic"),
            }
            metrics[f"{name}_{way}"] = values
    return metrics, error_bars


def _summary(found: Sequence[Ranks], items: Tensor, n: int, seed: int) -> Direction:
    """`found`, of each repeat, and `items`, `(repeats, sample)`: which of the n pairs each query is."""
    rank = torch.stack([ranks.average.cpu() for ranks in found])
    measures = _measures(rank)
    means = {name: float(values.mean()) for name, values in measures.items()}
    spread: dict[str, Any] = {
        f"{name}_sd": float(values.mean(1).std()) if len(values) > 1 else None for name, values in measures.items()
    }
    optimistic = _measures(torch.stack([ranks.optimistic.cpu() for ranks in found]))
    return Direction(
        **means,
        **spread,
        intervals=_bootstrap(measures, items, n, seed),
        optimistic={name: float(values.mean()) for name, values in optimistic.items()},
        histogram=_histogram(rank),
    )


def _measures(rank: Tensor) -> dict[str, Tensor]:
    return {"mean_rank": rank, **{f"t{k}": 100 * (rank <= k).double() for k in TOP_K}}


def _histogram(rank: Tensor) -> dict[str, list[int]]:
    """Of ranks `(repeats, candidates)` float64."""
    last = rank.shape[1]
    steps = range(math.ceil(_BINS_PER_DECADE * math.log10(last)))
    up_to = sorted({min(round(10 ** (step / _BINS_PER_DECADE)), last) for step in steps} | {last})
    places = torch.bucketize(rank.flatten(), torch.tensor(up_to, dtype=torch.float64))
    return {"up_to": up_to, "counts": torch.bincount(places, minlength=len(up_to)).tolist()}


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
    # Written in place: small results kept between the large temporary tensors would fragment the memory.
    resampled = torch.empty(RESAMPLES, totals.shape[1], dtype=torch.float64)
    for part in resampled.split(at_once):
        part[:] = totals[torch.randint(len(drawn), (len(part), len(drawn)), generator=generator)].sum(1)
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
        raise ValueError(f"{len(audio)} pair(s): retrieval needs at least 2; give more samples")
    for name, value in (("pool", pool), ("sample", sample)):
        if value is not None and value < 2:
            raise ValueError(f"{name}={value}: must be at least 2, or None.")
    if repeats < 1:
        raise ValueError(f"repeats={repeats}: must be at least 1.")
    for name, part in (("audio", audio), ("video", video)):
        bad = torch.cat([~torch.isfinite(block).all(1) for block in part.split(_CHECKED)])
        if bad.any():
            rows = bad.nonzero()[:, 0].tolist()
            raise ValueError(
                f"{name}: {len(rows)} of {len(part)} embeddings are not finite, the first in row {rows[0]}."
            )


__all__ = ["Direction", "RetrievalResult", "evaluate_retrieval", "ranks", "retrieval_metrics"]
