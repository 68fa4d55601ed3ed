"""The operator as torch sees it: registration, gradients, compilation, and the folder on its own."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from algorithm1 import check

from soundclip_hf import kernels
from soundclip_hf.kernels import operator as library
from soundclip_hf.kernels import substitute_tokens
from soundclip_hf.kernels.reference import reference_substitution

MODES = ["zero", "drop"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("k", [0, 5, 11])
def test_opcheck(mode, k):
    tokens = torch.randn(2, 12, 8, requires_grad=True)
    audio = torch.randn(2, 8, requires_grad=True)
    drop = mode == "drop"
    valid = torch.rand(2, 11) < 0.7
    torch.library.opcheck(library.substitute, (tokens, audio, k, None, drop, valid))
    torch.library.opcheck(library.substitute, (tokens, audio, k, torch.tensor([k, 0]), drop, None))
    out = torch.empty(2, 1 + k if drop else 12, 8)
    arguments = (tokens.detach(), audio.detach(), k, None, drop, None)
    torch.library.opcheck(library.substitute_out, arguments, {"out": out})


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("k", [0, 3, 6, torch.tensor([2, 6])])
def test_gradcheck(mode, k):
    tokens = torch.randn(2, 7, 5, dtype=torch.double, requires_grad=True)
    audio = torch.randn(2, 5, dtype=torch.double, requires_grad=True)

    def result(tokens, audio):
        return substitute_tokens(tokens, audio, k, mode=mode).tokens

    assert torch.autograd.gradcheck(result, (tokens, audio))
    assert torch.autograd.gradgradcheck(result, (tokens, audio))


def test_only_what_asks_gets_a_gradient():
    tokens, audio = torch.randn(2, 7, 5), torch.randn(2, 5, requires_grad=True)
    output = substitute_tokens(tokens, audio, 3)
    output.tokens.sum().backward()
    assert torch.equal(audio.grad, torch.ones(2, 5))
    assert not output.kept.requires_grad
    assert not output.similarity.requires_grad
    with torch.no_grad():
        assert not substitute_tokens(tokens, audio, 3).tokens.requires_grad


@pytest.fixture
def compiled():
    """Compiled without code generation: tracing, guards and functionalisation are what can break here."""
    torch.compiler.reset()

    def call(tokens, audio, k, mode, valid=None, out=None):
        result = substitute_tokens(tokens * 2, audio, k, mode=mode, valid=valid, out=out)
        return result.tokens * 1, result.kept, result.similarity

    yield torch.compile(call, fullgraph=True, dynamic=True, backend="aot_eager")
    torch.compiler.reset()


@pytest.mark.parametrize("mode", MODES)
def test_compiles_without_graph_breaks(compiled, mode):
    for batch, patches, k in ((2, 20, 5), (3, 33, 7), (2, 20, 0), (2, 20, 20)):
        tokens = torch.randn(batch, patches + 1, 8, requires_grad=True)
        audio = torch.randn(batch, 8, requires_grad=True)
        valid = torch.rand(batch, patches) < 0.8
        ours = compiled(tokens, audio, k, mode, valid)
        theirs = reference_substitution(tokens * 2, audio, k, mode=mode, valid=valid)
        assert torch.equal(ours[0], theirs[0])
        assert torch.equal(ours[1], theirs[1])
        for mine, other in zip(
            torch.autograd.grad(ours[0].square().sum(), (tokens, audio)),
            torch.autograd.grad(theirs[0].square().sum(), (tokens, audio)),
            strict=True,
        ):
            assert torch.equal(mine, other)


def test_compiles_with_a_budget_per_image_and_with_out(compiled):
    tokens, audio, k = torch.randn(3, 21, 8), torch.randn(3, 8), torch.tensor([0, 4, 20])
    out = torch.empty(3, 21, 8)
    expected = reference_substitution(tokens * 2, audio, k)
    assert torch.equal(compiled(tokens, audio, k, "zero")[0], expected[0])
    assert torch.equal(compiled(tokens, audio, k, "zero", None, out)[0], expected[0])
    assert torch.equal(out, expected[0])
    with pytest.raises(ValueError, match=r"0 <= k <= 20.*got 21"):
        compiled(tokens, audio, torch.tensor([0, 4, 21]), "zero")


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_compiles_with_inductor(mode):
    call = torch.compile(
        lambda t, a, k: substitute_tokens(t.sin(), a, k, mode=mode).tokens.cos(), fullgraph=True, dynamic=True
    )
    for k in (5, 9):
        tokens, audio = torch.randn(2, 21, 8), torch.randn(2, 8)
        expected = reference_substitution(tokens.sin(), audio, k, mode=mode)[0].cos()
        torch.testing.assert_close(call(tokens, audio, k), expected)


def test_export_keeps_the_operator():
    class Swap(torch.nn.Module):
        def forward(self, tokens, audio):
            return substitute_tokens(tokens, audio, 4).tokens

    arguments = (torch.randn(2, 12, 8), torch.randn(2, 8))
    program = torch.export.export(Swap(), arguments)
    assert any(node.target is library.substitute for node in program.graph.nodes)
    assert torch.equal(program.module()(*arguments), Swap()(*arguments))


@pytest.mark.parametrize("mode", MODES)
def test_shapes_on_the_meta_device(mode):
    output = substitute_tokens(torch.empty(2, 12, 8, device="meta"), torch.empty(2, 8, device="meta"), 4, mode=mode)
    assert output.tokens.shape == (2, 12 if mode == "zero" else 5, 8)
    assert output.kept.shape == output.similarity.shape == (2, 11)
    assert (output.kept.dtype, output.similarity.dtype) == (torch.bool, torch.float32)


def test_folder_works_on_its_own(tmp_path):
    """Copied under other names it imports only itself and torch, twice in one process, and leaves Triton alone."""
    for name in ("lone", "lone_too"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(Path(kernels.__file__).parent, tmp_path / name, ignore=ignore)
    code = """
import sys, torch, lone, lone_too
audio = torch.randn(2, 4, requires_grad=True)
for package in (lone, lone_too):
    for mode in ("zero", "drop"):
        package.substitute_tokens(torch.randn(2, 6, 4), audio, 2, mode=mode).tokens.sum().backward()
        package.substitute_tokens(torch.randn(2, 6, 4), audio.detach(), 2, mode=mode)
loaded = {"soundclip_hf", "transformers", "triton"} & set(sys.modules)
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def test_batches_equal_single_images():
    tokens, audio, k = torch.randn(4, 38, 72).bfloat16(), torch.randn(4, 72), torch.tensor([3, 0, 37, 9])
    together = substitute_tokens(tokens, audio, k)
    check(together, tokens, audio, k)
    for row in range(4):
        alone = substitute_tokens(tokens[row : row + 1], audio[row : row + 1], int(k[row]))
        assert torch.equal(alone.kept[0], together.kept[row])
        assert torch.equal(alone.tokens[0], together.tokens[row])
        torch.testing.assert_close(alone.similarity[0], together.similarity[row], rtol=0, atol=1e-6)
