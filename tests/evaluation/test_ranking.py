"""Ranks counted in tiles, against ranks in exact arithmetic and against the plain matrix."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from soundclip_hf.evaluation.ranking import count_ranks
from soundclip_hf.evaluation.retrieval import evaluate_retrieval, retrieval_metrics


def compare(query, candidate, true):
    """Whether the cosine with `candidate` is above (1), the same as (0) or below (-1) that with `true`: in integers."""

    def signed_square(other, by):
        # Of the cosine, without the query's length, and times both candidates' squared lengths.
        dot = sum(a * b for a, b in zip(query, other))
        return (1 if dot >= 0 else -1) * dot * dot * (sum(a * a for a in by) or 1)

    first, second = signed_square(candidate, by=true), signed_square(true, by=candidate)
    return (first > second) - (first < second)


def exact_ranks(queries, candidates):
    """For each query, how many candidates are above its own, and how many others are the same."""
    found = []
    for place, query in enumerate(queries):
        signs = [compare(query, candidate, candidates[place]) for candidate in candidates]
        found.append((signs.count(1), signs.count(0) - 1))
    return [higher for higher, _ in found], [ties for _, ties in found]


# Few small integers: equal rows, multiples of a row, zero rows and equal cosines are all frequent.
ROW = st.lists(st.integers(-2, 2), min_size=3, max_size=3)
PAIRS = st.lists(st.tuples(ROW, ROW), min_size=1, max_size=12)


@given(pairs=PAIRS, tile=st.integers(1, 13), dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32]))
@settings(max_examples=80, deadline=None)
def test_equals_exact_arithmetic(pairs, tile, dtype):
    sounds, pictures = [a for a, _ in pairs], [v for _, v in pairs]
    audio, video = torch.tensor(sounds, dtype=dtype), torch.tensor(pictures, dtype=dtype)
    a2v, v2a = count_ranks(audio, video, tile=tile)
    assert (a2v.higher.tolist(), a2v.ties.tolist()) == exact_ranks(sounds, pictures)
    assert (v2a.higher.tolist(), v2a.ties.tolist()) == exact_ranks(pictures, sounds)


@pytest.mark.parametrize("tile", [3, 7, 64, 512, None])
def test_equals_the_plain_matrix(tile):
    """Sizes that no tile divides, many duplicates, and rows beside each other in several bands of tiles."""
    torch.manual_seed(0)
    audio = torch.randn(150, 24)[torch.randint(150, (201,))]
    video = (audio + torch.randn(201, 24))[torch.randint(201, (201,))]
    unit = [torch.nn.functional.normalize(part.double(), dim=-1) for part in (audio, video)]
    scores = unit[0] @ unit[1].T
    true = scores.diagonal()
    for found, table in zip(count_ranks(audio, video, tile=tile), (scores, scores.T)):
        gap = table - true[:, None]
        assert torch.equal(found.higher, (gap > 1e-10).sum(1))
        assert torch.equal(found.ties, (gap.abs() <= 1e-10).sum(1) - 1)
        assert torch.equal(found.optimistic, 1.0 + found.higher)
        assert torch.equal(found.average, found.optimistic + found.ties / 2)
    assert found.ties.sum() > 50


def test_progress_sums_up_to_the_sounds():
    told = []
    count_ranks(torch.randn(50, 4), torch.randn(50, 4), tile=4, progress=told.append)
    assert sum(told) == 50
    assert len(told) > 20
    assert min(told) > 0
    told.clear()
    evaluate_retrieval(torch.randn(60, 4), torch.randn(60, 4), sample=10, repeats=3, progress=told.append)
    assert sum(told) == 30


@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        (((3, 2), (4, 2)), {}, r"audio \(3, 2\), video \(4, 2\)"),
        (((3,), (3,)), {}, "expected two of one shape"),
        (((3, 2), (3, 2)), {"tile": -1}, "tile=-1: must be at least 1"),
    ],
)
def test_bad_input(shapes, options, message):
    with pytest.raises(ValueError, match=message):
        count_ranks(*(torch.zeros(shape) for shape in shapes), **options)


def test_no_tensor_is_larger_than_the_inputs():
    """The matrix of all cosines would have 360,000 numbers."""
    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            made = function(*args, **(kwargs or {}))
            largest = max(largest, *(one.numel() for one in tree_leaves(made) if isinstance(one, torch.Tensor)), 0)
            return made

    audio = torch.randn(600, 4)
    with Watch():
        count_ranks(audio, audio, tile=32)
    assert 32 * 32 <= largest <= audio.numel()


def test_optimistic_ranks_and_histogram():
    """Three equal pairs and one of its own: ranks 2, 2, 2 and 1, optimistically all 1."""
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    found = evaluate_retrieval(rows, rows, sample=None)
    assert found.a2v.mean_rank == 1.75
    assert found.a2v.optimistic == {"mean_rank": 1, "t1": 100, "t3": 100, "t10": 100}
    assert found.a2v.histogram == {"up_to": [1, 2, 3, 4], "counts": [1, 3, 0, 0]}
    assert found.v2a == found.a2v


def test_histogram_agrees_with_the_top_k():
    torch.manual_seed(0)
    audio = torch.randn(700, 6)
    found = evaluate_retrieval(audio, audio + torch.randn(700, 6), sample=100, repeats=4).v2a
    assert sum(found.histogram["counts"]) == 400
    assert found.histogram["up_to"][-1] == 100
    bins = dict(zip(found.histogram["up_to"], torch.tensor(found.histogram["counts"]).cumsum(0).tolist()))
    for k, percent in ((1, found.t1), (3, found.t3), (10, found.t10)):
        assert bins[k] / 4 == pytest.approx(percent)


def test_metrics_of_both_alignments():
    torch.manual_seed(0)
    video = torch.randn(30, 6)
    projected = evaluate_retrieval(video, video, sample=10, repeats=2)
    raw = evaluate_retrieval(torch.randn(30, 6), video, sample=10, repeats=2)
    metrics, error_bars = retrieval_metrics(projected, raw)
    assert set(metrics) == {"chance", "projected_a2v", "projected_v2a", "raw_a2v", "raw_v2a"}
    assert metrics["chance"]["mean_rank"] == 5.5
    assert metrics["projected_a2v"]["t1"] == 100
    assert metrics["raw_v2a"]["mean_rank"] == raw.v2a.mean_rank
    assert set(metrics["raw_v2a"]) == {"mean_rank", "t1", "t3", "t10", "histogram"}
    assert error_bars["raw_a2v"]["interval_95"]["t3"] == list(raw.a2v.intervals["t3"])
    assert error_bars["raw_a2v"]["sd"]["t1"] == raw.a2v.t1_sd
    assert error_bars["raw_a2v"]["optimistic"] == raw.a2v.optimistic
