"""The Triton kernels in Triton's interpreter. `test_kernel_fused.py` runs this file in a process of its own, because
`TRITON_INTERPRET` counts only if it is set before Triton is first imported."""

import pytest
import torch
from algorithm1 import bits, check, draw_case

from soundclip_hf.kernels import SubstitutionOutput, fused
from soundclip_hf.kernels.reference import reference_substitution

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
MODES = ["zero", "drop"]


def run(tokens, audio, k, mode="zero", valid=None, out=None) -> SubstitutionOutput:
    """Into memory full of NaN, so that a row nobody writes shows."""
    width = k if isinstance(k, int) else max(k.tolist(), default=0)
    budgets = None if isinstance(k, int) else k
    if out is None:
        rows = 1 + width if mode == "drop" else tokens.shape[1]
        out = torch.full((tokens.shape[0], rows, tokens.shape[2]), float("nan"), dtype=tokens.dtype)
    return SubstitutionOutput(*fused.substitute(tokens, audio, width, budgets, mode == "drop", valid, out))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["clip", "integers", "odd"])
def test_contract(dtype, mode, kind):
    tokens, audio = draw_case(0, dtype, 2, 15, 72, kind)
    for k in (0, 1, 6, 15):
        check(run(tokens, audio, k, mode), tokens, audio, k, mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("patches", "dim"), [(32, 64), (9, 1), (1, 16), (270, 8)])
def test_shapes(mode, patches, dim):
    tokens, audio = draw_case(1, torch.bfloat16, 1, patches, dim, "clip")
    k = min(7, patches)
    check(run(tokens, audio, k, mode), tokens, audio, k, mode)


@pytest.mark.parametrize("mode", MODES)
def test_budget_per_image_and_valid(mode):
    tokens, audio = draw_case(0, torch.float32, 4, 21, 24, "integers")
    k = torch.tensor([0, 3, 21, 20])
    valid = torch.rand(4, 21) < 0.5
    valid[3] = False
    check(run(tokens, audio, k, mode), tokens, audio, k, mode)
    check(run(tokens, audio, k, mode, valid), tokens, audio, k, mode, valid)
    check(run(tokens, audio, 10, mode, valid.t().contiguous().t()), tokens, audio, 10, mode, valid)


@pytest.mark.parametrize("mode", MODES)
def test_a_wide_row_takes_several_blocks(mode, monkeypatch):
    monkeypatch.setattr(fused, "MAX_BLOCK_D", 32)
    tokens, audio = draw_case(1, torch.bfloat16, 1, 20, 75, "clip")
    check(run(tokens, audio, 7, mode), tokens, audio, 7, mode)


@pytest.mark.parametrize("mode", MODES)
def test_equal_rows_and_zero_sound(mode):
    tokens = torch.randn(1, 1, 72).expand(1, 38, 72)
    for audio in (torch.randn(1, 72), torch.zeros(1, 72)):
        kept = run(tokens, audio, 9, mode).kept
        assert torch.equal(kept[0], torch.arange(37) < 9)


def test_integers_agree_with_torch():
    """Their sums are exact in any order, so only roots and quotients round, and the same patches stay."""
    tokens, audio = draw_case(2, torch.float16, 2, 40, 96, "integers")
    expected = SubstitutionOutput(*reference_substitution(tokens, audio, 11))
    output = run(tokens, audio, 11)
    assert torch.equal(output.kept, expected.kept)
    assert torch.equal(bits(output.tokens), bits(expected.tokens))
    # Ours are two roots, a product and a quotient within half an eps each. Torch's roots may be MKL's, within one eps.
    eps = torch.finfo(torch.float32).eps
    torch.testing.assert_close(output.similarity, expected.similarity, rtol=5 * eps, atol=0)


@pytest.mark.parametrize("mode", MODES)
def test_strides(mode):
    audio = torch.randn(24, 3).t()
    layouts = {
        "transposed": torch.randn(18, 3, 24).transpose(0, 1),
        "slice": torch.randn(3, 20, 40)[:, 1:19, 8:32],
        "expanded": torch.randn(1, 18, 24).expand(3, -1, -1),
        "last stride": torch.randn(3, 18, 48)[..., ::2],
    }
    for tokens in layouts.values():
        check(run(tokens, audio, 5, mode), tokens, audio, 5, mode)
    buffer = torch.full((3, 25, 30), float("nan"))
    tokens = layouts["slice"]
    out = buffer[:, 2 : 2 + (6 if mode == "drop" else 18), :24]
    check(run(tokens, audio, 5, mode, out=out), tokens, audio, 5, mode)
    assert buffer[:, :2].isnan().all()
    assert buffer[:, :, 24:].isnan().all()
    assert buffer[:, 2 + out.shape[1] :].isnan().all()


def test_nothing_to_rank():
    for shape in ((0, 5, 4), (2, 1, 4)):
        for mode in MODES:
            tokens, audio = torch.randn(shape), torch.randn(shape[0], shape[2])
            check(run(tokens, audio, 0, mode), tokens, audio, 0, mode)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_full_size(mode):
    tokens, audio = draw_case(3, torch.bfloat16, 1, 576, 1024, "clip")
    check(run(tokens, audio, 150, mode), tokens, audio, 150, mode)
