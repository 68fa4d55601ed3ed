"""The Triton kernels as far as they can be checked without a GPU: interpreted, and compiled ahead of time."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

triton = pytest.importorskip("triton")

HERE = Path(__file__).resolve().parents[1] / "support"
TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
KERNELS = ["similarity_kernel", "zero_kernel", "drop_kernel"]
POINTERS = {"similarity": "*fp32", "valid": "*u8", "budgets": "*i32", "kept": "*u8"}


@pytest.mark.parametrize("marked", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
def test_interpreted(marked):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", "-m", marked]
    done = subprocess.run(
        [*command, "interpreter_cases.py"],
        cwd=HERE,
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    """A kernel compiled by an earlier version of the source must not stand in for this one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.mktemp("triton")))
        yield


def compile_ahead(name: str, dtype: str, arch: int, patches: int, extras: bool):
    """Compile one kernel for LLaVA's width without a device, as the launch in `fused.substitute` would."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from soundclip_hf.kernels import fused

    kernel = getattr(fused, name)
    constants = {
        "D": 1024,
        "R": fused.ROWS,
        "BLOCK_D": 1024,
        "BLOCK_N": fused.block_n(patches, drop=name == "drop_kernel"),
        "HAS_VALID": extras,
        "HAS_BUDGETS": extras,
    }
    if not extras:
        constants |= {"valid": None, "budgets": None}
    constants = {key: value for key, value in constants.items() if key in kernel.arg_names}
    signature = {
        argument: "constexpr"
        if argument in constants
        else f"*{dtype}"
        if argument in ("tokens", "audio", "out")
        else POINTERS.get(argument, "i32")
        for argument in kernel.arg_names
    }
    aligned = {
        (index,): [["tt.divisibility", 16]]
        for index, argument in enumerate(kernel.arg_names)
        if argument not in constants and argument != "k"
    }
    source = ASTSource(kernel, signature, constexprs=constants, attrs=aligned)
    return triton.compile(source, target=GPUTarget("cuda", arch, 32), options=dict(fused.OPTIONS))


def resources(compiled, folder: Path) -> dict[str, int]:
    cubin = folder / "kernel.cubin"
    cubin.write_bytes(compiled.asm["cubin"])
    tool = [TOOLS / "cuobjdump", "--dump-resource-usage", cubin]
    usage = subprocess.run(tool, capture_output=True, text=True, check=True).stdout
    return {key: int(value) for key, value in re.findall(r"(STACK|LOCAL):(\d+)", usage)}


@pytest.mark.skipif(not (TOOLS / "cuobjdump").exists(), reason="this Triton has no cuobjdump")
@pytest.mark.parametrize("arch", [90, 80])
@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
@pytest.mark.parametrize("name", KERNELS)
def test_compiles_without_spills_to_wide_accesses(name, dtype, arch, tmp_path):
    for patches, extras in [(576, False), (2880, True)][: 2 if arch == 90 else 1]:
        compiled = compile_ahead(name, dtype, arch, patches, extras)
        used = resources(compiled, tmp_path)
        assert used["LOCAL"] == used["STACK"] == 0
        ptx = compiled.asm["ptx"]
        # A warp has 32 lanes of 16 bytes.
        wide = rows_per_warp() * 1024 * (2 if dtype == "bf16" else 4) // (32 * 16)
        assert len(re.findall(r"ld\.global\S*\.v4\.b32", ptx)) >= wide
        if name == "similarity_kernel":
            assert "sqrt.rn.f32" in ptx
            assert "div.rn.f32" in ptx
            assert not re.search(r"\.approx|div\.full", ptx)
        else:
            assert len(re.findall(r"st\.global\S*\.v4\.b32", ptx)) >= wide


def rows_per_warp() -> int:
    from soundclip_hf.kernels import fused

    return fused.ROWS // fused.OPTIONS["num_warps"]


def test_a_cuda_tensor_is_what_asks_for_triton():
    from soundclip_hf.kernels import fused
    from soundclip_hf.kernels import operator as library

    assert library._fused() is fused
    assert fused.supports(torch.empty(1, 577, 1024, device="meta"), drop=True)
    assert not fused.supports(torch.empty(1, fused.MAX_COMPACTED + 2, 8, device="meta"), drop=True)
