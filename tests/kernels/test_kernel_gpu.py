"""The fused kernels on a CUDA device."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from algorithm1 import bits, check, draw_case

from soundclip_hf.kernels import SubstitutionOutput, substitute_tokens
from soundclip_hf.kernels import operator as library
from soundclip_hf.kernels.reference import reference_substitution

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
MODES = ["zero", "drop"]


def on_gpu(*tensors):
    return [None if tensor is None else tensor.cuda() for tensor in tensors]


def poisoned(tokens, k, mode):
    width = k if isinstance(k, int) else max(k.tolist())
    rows = tokens.shape[1] if mode == "zero" else 1 + width
    return torch.full((tokens.shape[0], rows, tokens.shape[2]), float("nan"), dtype=tokens.dtype, device="cuda")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["clip", "integers", "odd"])
@pytest.mark.parametrize(("patches", "dim"), [(576, 1024), (577, 768), (37, 72), (50, 1), (2880, 64)])
def test_contract(dtype, mode, kind, patches, dim):
    assert library._fused() is not None
    tokens, audio = draw_case(patches, dtype, 3, patches, dim, kind)
    valid = torch.rand(3, patches) < 0.7
    for k in (0, 1, 15, min(150, patches), patches, torch.tensor([0, 7, patches])):
        for mask in (None, valid):
            v, f, m = on_gpu(tokens, audio, mask)
            if isinstance(k, int) and k > patches:
                continue
            output = substitute_tokens(v, f, k, mode=mode, valid=m, out=poisoned(tokens, k, mode))
            check(SubstitutionOutput(*(t.cpu() for t in output)), tokens, audio, k, mode, mask)


@pytest.mark.parametrize("batch", [1, 5, 40, 320])
@pytest.mark.parametrize("mode", MODES)
def test_many_images(batch, mode):
    tokens = torch.randn(batch, 577, 1024, device="cuda", dtype=torch.bfloat16)
    audio = torch.randn(batch, 1024, device="cuda")
    output = substitute_tokens(tokens, audio, 150, mode=mode, out=poisoned(tokens, 150, mode))
    scores = output.similarity.sort(dim=-1, descending=True, stable=True).indices[:, :150]
    kept = torch.zeros_like(output.kept).scatter_(1, scores, True)
    assert torch.equal(output.kept, kept)
    rows = tokens[:, 1:][kept].view(batch, 150, 1024)
    expected = torch.cat([audio.bfloat16()[:, None], rows], dim=1)
    if mode == "zero":
        assert not output.tokens[:, 1:][~kept].view(torch.int16).any()
        expected_rows = output.tokens[:, 1:][kept].view(batch, 150, 1024)
        assert torch.equal(torch.cat([output.tokens[:, :1], expected_rows], dim=1), expected)
    else:
        assert torch.equal(output.tokens, expected)


def test_integers_agree_with_torch_bitwise():
    tokens, audio = on_gpu(*draw_case(0, torch.float16, 4, 576, 256, "integers"))
    expected = reference_substitution(tokens, audio, 40)
    for ours, theirs in zip(substitute_tokens(tokens, audio, 40), expected, strict=True):
        assert torch.equal(bits(ours), bits(theirs))


def test_offsets_beyond_32_bits():
    """An image that starts more than 2**31 elements into the tensor."""
    if torch.cuda.mem_get_info()[0] < 16 << 30:
        pytest.skip("needs 16 GiB of device memory")
    batch = 2**31 // (577 * 1024) + 2
    tokens = torch.empty(batch, 577, 1024, device="cuda", dtype=torch.bfloat16).normal_()
    audio = torch.randn(batch, 1024, device="cuda")
    whole = substitute_tokens(tokens, audio, 15)
    alone = substitute_tokens(tokens[-1:].clone(), audio[-1:], 15)
    for many, one in zip(whole, alone, strict=True):
        assert torch.equal(many[-1], one[0])


@pytest.mark.parametrize("mode", MODES)
def test_a_hundred_runs_are_one(mode):
    tokens, audio = on_gpu(*draw_case(1, torch.bfloat16, 8, 576, 1024, "clip"))
    first = [bits(t) for t in substitute_tokens(tokens, audio, 150, mode=mode)]
    for _ in range(100):
        for now, then in zip(substitute_tokens(tokens, audio, 150, mode=mode), first, strict=True):
            assert torch.equal(bits(now), then)


def test_many_streams():
    cases = [on_gpu(*draw_case(seed, torch.bfloat16, 2, 576, 1024, "clip")) for seed in range(16)]
    expected = [substitute_tokens(t, a, 150) for t, a in cases]
    streams = [torch.cuda.Stream() for _ in cases]
    torch.cuda.synchronize()
    for _ in range(50):
        results = []
        for stream, (tokens, audio) in zip(streams, cases):
            with torch.cuda.stream(stream):
                results.append(substitute_tokens(tokens, audio, 150))
        torch.cuda.synchronize()
        for ours, theirs in zip(results, expected):
            assert torch.equal(ours.tokens, theirs.tokens)
            assert torch.equal(ours.kept, theirs.kept)


@pytest.mark.parametrize("mode", MODES)
def test_cuda_graph(mode):
    tokens, audio = on_gpu(*draw_case(2, torch.bfloat16, 2, 576, 1024, "clip"))
    substitute_tokens(tokens, audio, 15, mode=mode)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = substitute_tokens(tokens, audio, 15, mode=mode)
    fresh_tokens, fresh_audio = draw_case(3, torch.bfloat16, 2, 576, 1024, "clip")
    tokens.copy_(fresh_tokens)
    audio.copy_(fresh_audio)
    graph.replay()
    torch.cuda.synchronize()
    check(SubstitutionOutput(*(t.cpu() for t in output)), fresh_tokens, fresh_audio, 15, mode)


@pytest.mark.parametrize("mode", MODES)
def test_no_host_synchronisation(mode):
    tokens, audio = on_gpu(*draw_case(4, torch.bfloat16, 2, 576, 1024, "clip"))
    substitute_tokens(tokens, audio, 15, mode=mode)
    torch.cuda.set_sync_debug_mode("error")
    try:
        substitute_tokens(tokens, audio, 15, mode=mode)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("mode", MODES)
def test_gradients_equal_the_reference_bitwise(mode):
    tokens, audio = on_gpu(*draw_case(5, torch.bfloat16, 2, 576, 256, "integers"))
    tokens.requires_grad_()
    audio.requires_grad_()
    ours = substitute_tokens(tokens, audio, 150, mode=mode).tokens
    theirs = reference_substitution(tokens, audio, 150, mode=mode)[0]
    incoming = torch.randn_like(ours)
    for mine, other in zip(
        torch.autograd.grad(ours, (tokens, audio), incoming),
        torch.autograd.grad(theirs, (tokens, audio), incoming),
        strict=True,
    ):
        assert torch.equal(bits(mine), bits(other))


@pytest.mark.parametrize("tool", ["memcheck", "racecheck"])
def test_compute_sanitizer(tool):
    sanitizer = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")
    if sanitizer is None:
        pytest.skip("compute-sanitizer is not installed")
    code = """
import torch
from algorithm1 import draw_case
from soundclip_hf.kernels import substitute_tokens
for patches, dim in ((576, 1024), (37, 72)):
    tokens, audio = draw_case(0, torch.bfloat16, 2, patches, dim, "clip")
    for mode in ("zero", "drop"):
        substitute_tokens(tokens.cuda(), audio.cuda(), 15, mode=mode)
torch.cuda.synchronize()
"""
    command = [sanitizer, "--tool", tool, "--error-exitcode", "9", sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[1] / "support", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]
