"""What the CPU path decides from BLAS' similarities and an unordered `topk`, and what it leaves to the exact sums."""

import pytest
import torch
from algorithm1 import check
from hypothesis import given, settings
from hypothesis import strategies as st

from soundclip_hf.kernels import cpu, substitute_tokens

MODES = ["zero", "drop"]


def with_cosines(cosines: list[float], dim: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """One image whose patches have these cosines with the sound, the first unit vector."""
    tokens = torch.zeros(1, len(cosines) + 1, dim)
    tokens[0, 1:, 0] = torch.tensor(cosines)
    tokens[0, 1:, 1] = (1 - tokens[0, 1:, 0].square()).sqrt()
    return tokens, torch.eye(dim)[:1]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("k", "kept"),
    [(1, [1]), (2, [1, 4]), (3, [1, 3, 4]), (4, [0, 1, 3, 4]), (5, [0, 1, 2, 3, 4]), (6, [0, 1, 2, 3, 4, 5])],
)
def test_ties_above_the_edge_and_at_it(mode, k, kept):
    tokens, audio = with_cosines([0.5, 0.9, 0.5, 0.8, 0.9, 0.1, 0.0])
    output = substitute_tokens(tokens, audio, k, mode=mode)
    assert output.kept[0].nonzero().flatten().tolist() == kept
    check(output, tokens, audio, k, mode)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    levels=st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, -1.0]), min_size=2, max_size=50),
    nans=st.sets(st.integers(0, 49)),
    mode=st.sampled_from(MODES),
    data=st.data(),
)
def test_many_ties_and_nans_rank_as_a_stable_sort(levels, nans, mode, data):
    tokens, audio = with_cosines(levels)
    for i in nans:
        if i < len(levels):
            tokens[0, 1 + i, 0] = float("nan")
    k = data.draw(st.integers(0, len(levels)))
    check(substitute_tokens(tokens, audio, k, mode=mode), tokens, audio, k, mode)


def test_nan_above_a_clear_edge_stays():
    tokens, audio = with_cosines([0.1, 0.9, 0.2, 0.7, 0.3])
    tokens[0, 3] = float("nan")
    for mode in MODES:
        output = substitute_tokens(tokens, audio, 2, mode=mode)
        assert output.kept[0].tolist() == [False, True, True, False, False]
        check(output, tokens, audio, 2, mode)


def test_an_exact_sum_decides_only_for_images_without_a_clear_edge(monkeypatch):
    clear, audio = with_cosines([0.1, 0.9, 0.2])
    tied, _ = with_cosines([0.9, 0.1, 0.9])
    asked = []

    def exact(patches, sound):
        asked.append(patches.clone())
        return cosine_similarity(patches, sound)

    cosine_similarity = cpu.cosine_similarity
    monkeypatch.setattr(cpu, "cosine_similarity", exact)
    tokens = torch.cat([clear, tied, clear])
    assert substitute_tokens(tokens, audio.expand(3, -1), 1).kept.int().tolist() == [[0, 1, 0], [1, 0, 0], [0, 1, 0]]
    assert len(asked) == 1
    assert torch.equal(asked[0], tied[:, 1:])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("rows_per_block", [1, 7, 31, 32])
def test_blocks_of_rows_cover_every_row(dtype, rows_per_block, monkeypatch):
    tokens = torch.randn(2, 32, 24, generator=torch.Generator().manual_seed(0)).to(dtype)
    audio = torch.randn(2, 24, generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(cpu, "BLOCK_BYTES", 4 * 24 * rows_per_block)
    for k in (0, 5, 31):
        for mode in MODES:
            check(substitute_tokens(tokens, audio, k, mode=mode), tokens, audio, k, mode)


@pytest.mark.parametrize("k", [0, torch.tensor([0, 0])])
@pytest.mark.parametrize("mode", MODES)
def test_no_patches(k, mode):
    tokens, audio = torch.randn(2, 1, 4), torch.randn(2, 4)
    for valid in (None, torch.ones(2, 0, dtype=torch.bool)):
        output = substitute_tokens(tokens, audio, k, mode=mode, valid=valid)
        assert output.kept.shape == output.similarity.shape == (2, 0)
        assert torch.equal(output.tokens, audio[:, None])
