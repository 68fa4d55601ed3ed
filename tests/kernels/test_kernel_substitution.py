"""`substitute_tokens` on the CPU and its reference, against the NumPy transcription, plus gradients and `out=`."""

import pytest
import torch
from algorithm1 import bits, check, draw_case
from hypothesis import given, settings
from hypothesis import strategies as st

from soundclip_hf.kernels import SubstitutionOutput, substitute_tokens
from soundclip_hf.kernels.reference import reference_substitution

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
MODES = ["zero", "drop"]


def reference(*args, **kwargs) -> SubstitutionOutput:
    return SubstitutionOutput(*reference_substitution(*args, **kwargs))


IMPLEMENTATIONS = [substitute_tokens, reference]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    dtype=st.sampled_from(DTYPES),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 70)),
    kind=st.sampled_from(["clip", "integers", "odd"]),
    mode=st.sampled_from(MODES),
    per_row=st.booleans(),
    masked=st.booleans(),
    data=st.data(),
)
def test_agrees_with_the_transcription(seed, dtype, shape, kind, mode, per_row, masked, data):
    tokens, audio = draw_case(seed, dtype, *shape, kind)
    batch, patches, _ = shape
    budget = st.one_of(st.sampled_from([0, min(1, patches), patches]), st.integers(0, patches))
    k = torch.tensor([data.draw(budget) for _ in range(batch)]) if per_row else data.draw(budget)
    valid = torch.rand(batch, patches, generator=torch.Generator().manual_seed(seed)) < 0.6 if masked else None
    for implementation in IMPLEMENTATIONS:
        check(implementation(tokens, audio, k, mode=mode, valid=valid), tokens, audio, k, mode, valid)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("k", [0, 1, 15, 150, 576])
def test_llava_size(dtype, mode, k):
    tokens, audio = draw_case(k, dtype, 2, 576, 1024, "clip")
    output = substitute_tokens(tokens, audio, k, mode=mode)
    check(output, tokens, audio, k, mode)
    expected = reference(tokens, audio, k, mode=mode)
    torch.testing.assert_close(output.similarity, expected.similarity, rtol=0, atol=1e-6)
    assert torch.equal(output.tokens, expected.tokens)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("count", [5, 97, 576])
def test_equal_rows_keep_the_first(implementation, count):
    tokens = torch.randn(1, 1, 1000).expand(2, count + 1, 1000)
    for k in (0, 1, 4, count):
        kept = implementation(tokens, torch.randn(2, 1000), k).kept
        assert torch.equal(kept, (torch.arange(count) < k).expand(2, count))


def test_equal_rows_at_the_boundary_tie_beside_other_images():
    """BLAS alone gives equal rows unequal dot products; one image's tie must not change how another is ranked."""
    tokens, audio = torch.randn(3, 576, 1000), torch.randn(3, 1000)
    tokens[1, 1:] = torch.randn(1000)
    tokens[2, 5] = tokens[2, 570] = audio[2] * 0.3
    valid = torch.ones(3, 575, dtype=torch.bool)
    for k in (1, 100, torch.tensor([100, 574, 1])):
        for mask in (None, valid):
            output = substitute_tokens(tokens, audio, k, valid=mask)
            check(output, tokens, audio, k, "zero", mask)
            budget = k if isinstance(k, int) else 574
            assert torch.equal(output.kept[1], torch.arange(575) < budget)
    assert substitute_tokens(tokens, audio, 1).kept[2].nonzero().tolist() == [[4]]


def test_ambient_precision_settings_change_nothing():
    tokens, audio = draw_case(0, torch.float32, 2, 96, 256, "clip")
    expected = substitute_tokens(tokens, audio, 15)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        check(substitute_tokens(tokens, audio, 15), tokens, audio, 15)
    torch.set_float32_matmul_precision("medium")
    try:
        output = substitute_tokens(tokens, audio, 15)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert torch.equal(output.tokens, expected.tokens)
    check(output, tokens, audio, 15)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_zero_sound_keeps_the_first(implementation):
    output = implementation(torch.randn(1, 10, 8), torch.zeros(1, 8), 3)
    assert torch.equal(output.similarity, torch.zeros(1, 9))
    assert output.kept[0].tolist() == [True] * 3 + [False] * 6


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("mode", MODES)
def test_drops_clear_whatever_was_there(implementation, mode):
    tokens = torch.full((1, 5, 4), -1.0)
    tokens[0, 1], tokens[0, 2], tokens[0, 3] = float("nan"), float("inf"), -0.0
    valid = torch.tensor([[False, False, True, True]])
    output = implementation(tokens, torch.ones(1, 4), 3, mode=mode, valid=valid)
    assert output.similarity[0].tolist()[2:] == [0.0, -1.0]
    assert output.similarity[0, :2].isnan().all()
    assert output.kept[0].tolist() == [False, False, True, True]
    check(output, tokens, torch.ones(1, 4), 3, mode, valid)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_nan_ranks_first(implementation):
    tokens = torch.ones(1, 5, 4)
    tokens[0, 3], tokens[0, 4, 1] = float("nan"), float("inf")
    assert implementation(tokens, torch.ones(1, 4), 1).kept[0].tolist() == [False, False, True, False]
    assert implementation(tokens, torch.ones(1, 4), 2).kept[0].tolist() == [False, False, True, True]


def test_any_strides():
    tokens = torch.randn(9, 3, 16).transpose(0, 1)
    audio = torch.randn(16, 3).t()
    check(substitute_tokens(tokens, audio, 4), tokens, audio, 4)
    columns = torch.randn(3, 9, 32)[..., ::2]
    check(substitute_tokens(columns, audio, 4, mode="drop"), columns, audio, 4, "drop")


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("shape", [(0, 5, 4), (2, 1, 4)])
def test_nothing_to_rank(implementation, shape):
    for mode in MODES:
        output = implementation(torch.randn(shape), torch.randn(shape[0], shape[2]), 0, mode=mode)
        assert output.kept.shape == output.similarity.shape == (shape[0], shape[1] - 1)
        assert output.tokens.shape == (shape[0], shape[1] if mode == "zero" else 1, shape[2])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("k", [0, 7, 30, torch.tensor([4, 0, 30])])
def test_gradients_equal_the_reference_bitwise(dtype, mode, k):
    tokens = torch.randn(3, 31, 24).to(dtype).requires_grad_()
    audio = torch.randn(3, 24, requires_grad=True)
    output, expected = (run(tokens, audio, k, mode=mode) for run in IMPLEMENTATIONS)
    incoming = torch.randn_like(output.tokens)
    incoming[:, :, :5] = -0.0
    ours = torch.autograd.grad(output.tokens, (tokens, audio), incoming)
    theirs = torch.autograd.grad(expected.tokens, (tokens, audio), incoming)
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.equal(bits(mine), bits(other))
    assert not output.similarity.requires_grad


def test_out_is_written_and_returned():
    tokens, audio = torch.randn(2, 10, 8), torch.randn(2, 8)
    buffer = torch.full((2, 12, 8), float("nan"))
    output = substitute_tokens(tokens, audio, 3, out=buffer[:, 1:11])
    assert output.tokens.data_ptr() == buffer[:, 1:11].data_ptr()
    check(output, tokens, audio, 3)
    drop = torch.full((2, 4, 8), float("nan"))
    check(substitute_tokens(tokens, audio, 3, mode="drop", out=drop), tokens, audio, 3, "drop")


BAD = {
    "rank": (ValueError, r"tokens must be .* got \(2, 8\)", {"tokens": torch.ones(2, 8)}),
    "width": (ValueError, r"\(2, 8\).*\(2, 10, 8\).*got \(2, 7\)", {"audio": torch.ones(2, 7)}),
    "batch": (ValueError, r"got \(3, 8\)", {"audio": torch.ones(3, 8)}),
    "dtype": (TypeError, "int64", {"tokens": torch.ones(2, 10, 8, dtype=torch.long)}),
    "sound dtype": (TypeError, "int64", {"audio": torch.ones(2, 8, dtype=torch.long)}),
    "device": (ValueError, "meta and cpu", {"audio": torch.ones(2, 8, device="meta")}),
    "negative": (ValueError, "0 <= k <= 9.*got -1", {"k": -1}),
    "too large": (ValueError, "0 <= k <= 9.*got 10", {"k": 10}),
    "row too large": (ValueError, "0 <= k <= 9.*got 10", {"k": torch.tensor([1, 10])}),
    "bool": (TypeError, "k must be an int.*True", {"k": True}),
    "float": (TypeError, "k must be an int.*1.5", {"k": 1.5}),
    "float tensor": (TypeError, "float32", {"k": torch.ones(2)}),
    "k shape": (ValueError, r"\(batch,\) = \(2,\), got \(3,\)", {"k": torch.tensor([1, 2, 3])}),
    "k device": (ValueError, "CPU", {"k": torch.ones(2, dtype=torch.long, device="meta")}),
    "mode": (ValueError, "'zero', 'drop'.*'mask'", {"mode": "mask"}),
    "valid shape": (ValueError, r"\(2, 9\).*got \(2, 10\)", {"valid": torch.ones(2, 10, dtype=torch.bool)}),
    "valid dtype": (TypeError, "float32", {"valid": torch.ones(2, 9)}),
    "out shape": (ValueError, r"out must be \(2, 10, 8\), got \(2, 9, 8\)", {"out": torch.empty(2, 9, 8)}),
    "out dtype": (TypeError, "float64", {"out": torch.empty(2, 10, 8, dtype=torch.float64)}),
    "out strides": (ValueError, "strides", {"out": torch.empty(2, 1, 8).expand(2, 10, 8)}),
    "out grad": (ValueError, "autograd", {"out": torch.empty(2, 10, 8, requires_grad=True)}),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named(name):
    error, message, change = BAD[name]
    arguments = {"tokens": torch.ones(2, 10, 8), "audio": torch.ones(2, 8), "k": 3, **change}
    with pytest.raises(error, match=message):
        substitute_tokens(**arguments)


def test_out_must_not_be_the_input():
    tokens = torch.randn(2, 10, 8)
    with pytest.raises(ValueError, match="share memory"):
        substitute_tokens(tokens, torch.ones(2, 8), 3, out=tokens)
