"""The retrieval protocol against ranks counted by hand."""

import json
import math

import pytest
import torch

from soundclip_hf.evaluation.retrieval import evaluate_retrieval, ranks

RIGHT = torch.eye(4)
# Cosines of sound i with picture j, both being unit vectors in the plane at these angles.
ANGLES = torch.tensor([0.0, 50.0, 100.0]), torch.tensor([40.0, 10.0, 95.0])


def at(degrees: torch.Tensor) -> torch.Tensor:
    radians = degrees.double() * math.pi / 180
    return torch.stack([radians.cos(), radians.sin()], dim=1)


def test_ranks_by_hand():
    audio, video = at(ANGLES[0]), at(ANGLES[1])
    # Sound at 0: pictures at distance 40, 10, 95, its own (40) is second. At 50: 10, 40, 45: its own (40) is second. At
    # 100: 60, 90, 5: first.
    assert ranks(audio, video).tolist() == [2, 2, 1]
    # Picture at 40: sounds at distance 40, 10, 60: second. At 10: 10, 40, 90: second. At 95: 95, 45, 5: first.
    assert ranks(video, audio).tolist() == [2, 2, 1]


def test_result_by_hand():
    found = evaluate_retrieval(at(ANGLES[0]), at(ANGLES[1]), sample=None)
    for way in (found.a2v, found.v2a):
        assert way.mean_rank == pytest.approx(5 / 3)
        assert way.t1 == pytest.approx(100 / 3)
        assert way.t3 == way.t10 == 100
        assert way.mean_rank_sd is None
    assert (found.n, found.pool, found.sample, found.repeats) == (3, 3, 3, 1)
    assert found.chance == {"mean_rank": 2.0, "t1": pytest.approx(100 / 3), "t3": 100.0, "t10": 100.0}


def test_both_ways_differ():
    # Both sounds are nearest to the first picture.
    found = evaluate_retrieval(at(torch.tensor([0.0, 10.0])), at(torch.tensor([4.0, 80.0])), sample=None)
    assert (found.a2v.mean_rank, found.v2a.mean_rank) == (1.5, 1.0)
    assert (found.a2v.t1, found.v2a.t1) == (50, 100)


def test_ties_share_their_average_rank():
    same = torch.ones(100, 7)
    found = evaluate_retrieval(same, same)
    assert found.a2v.mean_rank == found.v2a.mean_rank == found.chance["mean_rank"] == 50.5
    assert found.a2v.t1 == found.a2v.t10 == 0
    pair = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]).double()
    assert ranks(pair, pair).tolist() == [1.5, 1.5, 1.0]
    assert ranks(torch.zeros(4, 3).double(), torch.randn(4, 3).double()).tolist() == [2.5] * 4


def test_rounding_does_not_break_ties():
    row = torch.randn(1, 1023)
    same = row.expand(500, -1)
    assert evaluate_retrieval(same, 3 * same, sample=None).a2v.mean_rank == 250.5


def test_perfect_and_hopeless():
    audio = torch.randn(600, 32)
    found = evaluate_retrieval(audio, 5 * audio.bfloat16())
    assert found.a2v.mean_rank == 1
    assert found.a2v.t1 == 100
    assert found.a2v.mean_rank_sd == 0
    assert found.a2v.intervals["mean_rank"] == (1, 1)
    assert (found.n, found.pool, found.sample, found.repeats) == (600, 500, 100, 5)
    found = evaluate_retrieval(audio, torch.randn(600, 32))
    low, high = found.a2v.intervals["mean_rank"]
    assert low < 50.5 < high
    assert found.chance["mean_rank"] == 50.5
    assert 1 < high - low < 12
    assert low <= found.a2v.mean_rank <= high
    assert 0 < found.a2v.mean_rank_sd < 8


def test_a_small_set_is_taken_whole():
    found = evaluate_retrieval(RIGHT, RIGHT)
    assert (found.pool, found.sample, found.repeats) == (4, 4, 5)
    assert found.a2v.mean_rank == 1


def test_draws_depend_on_the_seed_alone():
    audio, video = torch.randn(300, 8), torch.randn(300, 8)
    torch.manual_seed(5)
    first = evaluate_retrieval(audio, video, seed=3)
    torch.manual_seed(6)
    assert evaluate_retrieval(audio, video, seed=3) == first
    assert evaluate_retrieval(audio, video, seed=4).a2v.mean_rank != first.a2v.mean_rank


def test_full_pool_counts_every_pair(monkeypatch):
    audio = torch.randn(30, 8)
    video = audio + torch.randn(30, 8)
    whole = evaluate_retrieval(audio, video, pool=None, sample=None)
    monkeypatch.setattr("soundclip_hf.evaluation.retrieval._ROWS", 7)
    assert evaluate_retrieval(audio, video, pool=None, sample=None) == whole
    assert whole.sample == 30
    scores = torch.nn.functional.cosine_similarity(audio[:, None], video[None], dim=-1)
    counted = 1 + (scores > scores.diagonal()[:, None]).sum(1)
    assert whole.a2v.mean_rank == pytest.approx(counted.double().mean().item())
    assert whole.a2v.t3 == pytest.approx(100 * (counted <= 3).double().mean().item())


def test_to_dict_is_json():
    found = evaluate_retrieval(RIGHT, RIGHT)
    values = json.loads(json.dumps(found.to_dict()))
    assert values == found.to_dict()
    assert values["a2v"]["mean_rank"] == 1
    assert values["v2a"]["intervals"]["t1"] == [100, 100]


@pytest.mark.parametrize(
    ("audio", "video", "options", "message"),
    [
        (RIGHT, RIGHT[:3], {}, r"audio \(4, 4\) and video \(3, 4\)"),
        (RIGHT[:1], RIGHT[:1], {}, "at least 2"),
        (RIGHT / 0, RIGHT, {}, "audio: 4 of 4 embeddings are not finite, the first in row 0"),
        (RIGHT, RIGHT, {"sample": 1}, "sample=1: must be at least 2"),
        (RIGHT, RIGHT, {"pool": 0}, "pool=0"),
        (RIGHT, RIGHT, {"repeats": 0}, "repeats=0"),
    ],
)
def test_bad_input(audio, video, options, message):
    with pytest.raises(ValueError, match=message):
        evaluate_retrieval(audio, video, **options)
