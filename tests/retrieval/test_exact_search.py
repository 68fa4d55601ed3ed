"""Exact search against a full sort: order, ties, chunks, shards, bad input."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from soundclip_hf.retrieval.exact_search import exact_search


def full_sort(queries, vectors, k):
    scores = F.normalize(queries.double(), dim=-1) @ F.normalize(vectors.double(), dim=-1).T
    order = np.lexsort((np.broadcast_to(np.arange(len(vectors)), scores.shape), -scores.numpy()), axis=-1)[:, :k]
    rows = torch.from_numpy(order.copy())
    return scores.gather(1, rows).float(), rows


def assert_same_rows(found, expected, queries, vectors):
    """The same rows in the same order; rows whose scores differ by fp32's rounding alone may have changed places."""
    scores = F.normalize(queries.double(), dim=-1) @ F.normalize(vectors.double(), dim=-1).T
    assert all(len(set(row)) == len(row) for row in found.tolist())
    torch.testing.assert_close(scores.gather(1, found), scores.gather(1, expected), rtol=0, atol=1e-6)


@pytest.mark.parametrize("chunk", [1, 7, 64, 1000, 5000])
@pytest.mark.parametrize(("count", "k"), [(1, 1), (1, 5), (13, 5), (3, 200)])
def test_the_best_of_all(count, k, chunk):
    queries, vectors = torch.randn(count, 24), 3 * torch.randn(1000, 24)
    scores, rows = full_sort(queries, vectors, k)
    found = exact_search(queries, vectors, k, chunk=chunk)
    assert_same_rows(found.rows, rows, queries, vectors)
    torch.testing.assert_close(found.scores, scores)
    assert found.scores.dtype == torch.float32
    assert found.rows.dtype == torch.int64


@pytest.mark.parametrize("chunk", [1, 3, 10, 100])
def test_ties_go_to_the_lower_row(chunk):
    """Coordinates that make every cosine exact, so that ties are ties in any arithmetic."""
    vectors = torch.eye(4)[torch.randint(4, (60,))] * 2.0 ** torch.randint(-2, 3, (60, 1))
    queries = torch.cat([torch.eye(4), -torch.eye(4), torch.zeros(1, 4)])
    for k in (1, 4, 20, 60):
        _, rows = full_sort(queries, vectors, k)
        assert torch.equal(exact_search(queries, vectors, k, chunk=chunk).rows, rows)


def test_many_queries(monkeypatch):
    queries, vectors = torch.randn(23, 8), torch.randn(200, 8)
    expected = exact_search(queries, vectors, 4)
    monkeypatch.setattr("soundclip_hf.retrieval.exact_search.QUERIES_AT_A_TIME", 5)
    assert_same_rows(exact_search(queries, vectors, 4, chunk=30).rows, expected.rows, queries, vectors)


def test_all_vectors_equal():
    # Sixteen quarters and their squares: every sum is exact, in any order.
    found = exact_search(torch.ones(2, 16), torch.ones(500, 16), 5, chunk=64)
    assert found.rows.tolist() == 2 * [[0, 1, 2, 3, 4]]


def test_shards_are_one_after_the_other():
    queries, vectors = torch.randn(4, 8), torch.randn(100, 8)
    expected = exact_search(queries, vectors, 7)
    shards = (part for part in vectors.split([30, 0, 50, 20]))
    found = exact_search(queries, shards, 7, chunk=16)
    assert_same_rows(found.rows, expected.rows, queries, vectors)


def test_normalized_vectors_are_taken_as_they_are():
    queries, vectors = torch.randn(4, 8), F.normalize(torch.randn(100, 8), dim=-1)
    taken, computed = (exact_search(queries, vectors, 5, normalized=known).rows for known in (True, False))
    assert_same_rows(taken, computed, queries, vectors)
    twice = exact_search(queries, 2 * vectors, 5, normalized=True)
    torch.testing.assert_close(twice.scores, 2 * exact_search(queries, vectors, 5).scores)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_compares_in_fp32(dtype):
    queries, vectors = torch.randn(3, 16).to(dtype), torch.randn(50, 16).to(dtype)
    expected = exact_search(queries.float(), vectors.float(), 5)
    found = exact_search(queries, vectors, 5)
    torch.testing.assert_close(found.scores, expected.scores)
    assert_same_rows(found.rows, expected.rows, queries, vectors)


def test_fewer_vectors_than_k_and_none():
    assert exact_search(torch.randn(2, 4), torch.randn(3, 4), 10).rows.shape == (2, 3)
    assert exact_search(torch.randn(2, 4), torch.randn(0, 4), 10).rows.shape == (2, 0)
    assert exact_search(torch.randn(2, 4), [], 10).rows.shape == (2, 0)
    assert exact_search(torch.randn(0, 4), torch.randn(3, 4), 2).rows.shape == (0, 2)


def test_zero_vectors_score_zero():
    found = exact_search(torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]]), 3)
    assert found.rows.tolist() == [[2, 1, 0]]
    assert found.scores.tolist() == [[1.0, 0.0, -1.0]]


def test_bad_input():
    queries, vectors = torch.randn(2, 4), torch.randn(30, 4)
    with pytest.raises(ValueError, match="k=0"):
        exact_search(queries, vectors, 0)
    with pytest.raises(ValueError, match="chunk=0"):
        exact_search(queries, vectors, 1, chunk=0)
    with pytest.raises(ValueError, match="other widths"):
        exact_search(queries, torch.randn(3, 5), 1)
    with pytest.raises(ValueError, match="a query holds NaN"):
        exact_search(torch.full((1, 4), float("nan")), vectors, 1)
    vectors[21, 2] = float("inf")
    with pytest.raises(ValueError, match="stored vector 21 holds NaN or Inf"):
        exact_search(queries, vectors, 3, chunk=8)
