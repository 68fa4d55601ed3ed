"""Time the token substitution against its alternatives and write the figures as JSON.

Every contestant's answer is checked before it is timed; a wrong one gets no time. Contestants take turns, so that a
disturbance hits all of them, and the figures are medians with quartiles. On a GPU, each contestant has a device time
(CUDA events) and a wall time per call; buffers rotate so that small batches do not sit in the L2 cache. On a CPU, the
calling thread's CPU time stands in for the device time: jobs beside it disturb it less.

    python scripts/bench_topk_mask.py --device cpu --json cpu.json
    python scripts/bench_topk_mask.py --device cuda --json gpu.json --plot gpu.png
    python scripts/bench_topk_mask.py --from-json gpu.json --plot gpu.png
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from soundclip_hf.kernels import substitute_tokens
from soundclip_hf.kernels.reference import compact, reference_substitution, stable_top_k

PATCHES, DIM = 576, 1024
COLD_BYTES = 256 << 20
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
Call = Callable[[], object]


def naive(tokens: Tensor, audio: Tensor, k: int, mode: str) -> Tensor:
    """What one writes first: cosines in the tokens' own dtype, `topk`, a mask to multiply with. Not exact."""
    patches = tokens[:, 1:]
    scores = torch.bmm(F.normalize(patches, dim=-1), F.normalize(audio, dim=-1)[..., None]).squeeze(-1)
    index = scores.topk(k, dim=-1).indices
    if mode == "drop":
        rows = patches.gather(1, index.sort(dim=-1).values[..., None].expand(-1, -1, patches.shape[-1]))
    else:
        rows = patches * torch.zeros_like(scores).scatter_(1, index, 1.0)[..., None]
    return torch.cat([audio[:, None], rows], dim=1)


def eager(tokens: Tensor, audio: Tensor, k: int, mode: str) -> Tensor:
    """The right answer from stock parts: fp32 `F.cosine_similarity`, a stable sort, `where`."""
    patches = tokens[:, 1:]
    kept = stable_top_k(F.cosine_similarity(patches.float(), audio.float()[:, None], dim=-1), k)
    if mode == "drop":
        rows, kept = compact(patches, kept, k)
    else:
        rows = patches
    return torch.cat([audio[:, None], torch.where(kept[..., None], rows, rows.new_zeros(()))], dim=1)


def reference(tokens: Tensor, audio: Tensor, k: int, mode: str) -> Tensor:
    return reference_substitution(tokens, audio, k, mode=mode)[0]


def ours(tokens: Tensor, audio: Tensor, k: int, mode: str) -> Tensor:
    return substitute_tokens(tokens, audio, k, mode=mode).tokens


def with_buffer(tokens: Tensor, audio: Tensor, k: int, mode: str) -> Call:
    out = torch.empty_like(ours(tokens, audio, k, mode))
    return lambda: substitute_tokens(tokens, audio, k, mode=mode, out=out).tokens


def graphed(tokens: Tensor, audio: Tensor, k: int, mode: str) -> Call:
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        ours(tokens, audio, k, mode)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = ours(tokens, audio, k, mode)

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay


def copy_floor(tokens: Tensor, k: int, mode: str) -> Call:
    """Move the bytes that the task must move: read every patch, write the result."""
    patches = tokens.shape[0] * PATCHES * DIM
    written = patches if mode == "zero" else tokens.shape[0] * (1 + k) * DIM
    source = tokens.reshape(-1)[: (patches + written) // 2].clone()
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


def contestants(pool: list[tuple[Tensor, Tensor]], k: int, mode: str, compiled: dict[str, Callable]) -> dict:
    """Name -> one call per buffer of the pool."""

    def bind(function: Callable) -> list[Call]:
        return [lambda t=t, a=a: function(t, a, k, mode) for t, a in pool]

    on_gpu = pool[0][0].is_cuda
    calls = {"naive": bind(naive), "eager": bind(eager), "reference": bind(reference)}
    calls |= {name: bind(function) for name, function in compiled.items()}
    calls |= {"ours": bind(ours), "ours, out=": [with_buffer(t, a, k, mode) for t, a in pool]}
    if on_gpu:
        calls["ours, CUDA graph"] = [graphed(t, a, k, mode) for t, a in pool]
    calls["copy (floor)"] = [copy_floor(t, k, mode) for t, _ in pool]
    return calls


def agreement(result: Tensor, tokens: Tensor, audio: Tensor, k: int, mode: str) -> str:
    """ "exact", "inexact" (another choice of patches, as the naive variant makes) or "wrong" (broken rows)."""
    patches = tokens[:, 1:]
    exact = F.cosine_similarity(patches.double(), audio.double()[:, None], dim=-1)
    ranked = exact.sort(dim=-1, descending=True, stable=True)
    clear = torch.ones(len(tokens), dtype=torch.bool, device=tokens.device)
    if 0 < k < PATCHES:
        clear = ranked.values[:, k - 1] - ranked.values[:, k] > 2e-6
    expected = reference_substitution(tokens, audio, k, mode=mode)[0]
    if result.shape != expected.shape or not torch.equal(result[:, 0], audio) or result.isnan().any():
        return "wrong"
    if torch.equal(result[clear], expected[clear]):
        return "exact"
    return "inexact"


def contract_holds(tokens: Tensor, audio: Tensor, k: int, mode: str) -> bool:
    """The four promises of `substitute_tokens`, over poisoned memory."""
    out = torch.full_like(ours(tokens, audio, k, mode), float("nan"))
    _, kept, similarity = substitute_tokens(tokens, audio, k, mode=mode, out=out)
    exact = F.cosine_similarity(tokens[:, 1:].double(), audio.double()[:, None], dim=-1)
    rows, filled = (tokens[:, 1:], kept) if mode == "zero" else compact(tokens[:, 1:], kept, k)
    expected = torch.cat([audio[:, None], torch.where(filled[..., None], rows, rows.new_zeros(()))], dim=1)
    return (
        bool((similarity - exact).abs().max() <= 1e-6)
        and torch.equal(kept, stable_top_k(similarity, k))
        and torch.equal(out.view(torch.uint8), expected.view(torch.uint8))
        and agreement(out, tokens, audio, k, mode) == "exact"
    )


def time_call(call: Call, on_gpu: bool) -> tuple[float, float]:
    """Wall and device microseconds of one call; on a CPU the latter are the calling thread's own."""
    if not on_gpu:
        start, used = time.perf_counter(), time.thread_time()
        call()
        return (time.perf_counter() - start) * 1e6, (time.thread_time() - used) * 1e6
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    start = time.perf_counter()
    begin.record()
    call()
    end.record()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) * 1e6, begin.elapsed_time(end) * 1e3


def summary(samples: list[float]) -> dict[str, float]:
    low, middle, high = statistics.quantiles(samples, n=4)
    return {"median_us": round(middle, 2), "q1_us": round(low, 2), "q3_us": round(high, 2)}


def bench_case(batch: int, k: int, dtype: str, mode: str, options: argparse.Namespace, compiled: dict) -> list[dict]:
    """Check and time every contestant on one shape."""
    device = torch.device(options.device)
    generator = torch.Generator().manual_seed(options.seed)
    size = batch * (PATCHES + 1) * DIM * DTYPES[dtype].itemsize
    copies = max(1, min(8, COLD_BYTES // size)) if device.type == "cuda" else 1
    pool = []
    for _ in range(copies):
        tokens = torch.randn(batch, PATCHES + 1, DIM, generator=generator)
        tokens[..., :16] *= 30  # CLIP's hidden states have a few outlier channels
        audio = torch.randn(batch, DIM, generator=generator)
        pool.append((tokens.to(device, DTYPES[dtype]), audio.to(device, DTYPES[dtype])))

    if not contract_holds(*pool[0], k, mode):
        raise SystemExit(f"substitute_tokens breaks its contract at B={batch}, k={k}, {dtype}, {mode}: nothing timed")
    calls = contestants(pool, k, mode, compiled)
    checked = {name: agreement(c[0](), *pool[0], k, mode) for name, c in calls.items() if name != "copy (floor)"}
    for name, verdict in checked.items():
        if verdict == "wrong" or (verdict == "inexact" and name != "naive"):
            print(f"{name} is {verdict} and not timed", file=sys.stderr)
            del calls[name]

    walls: dict[str, list[float]] = {name: [] for name in calls}
    devices: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(-3, options.repeats):
        for name, variants in calls.items():
            wall, on_device = time_call(variants[turn % copies], device.type == "cuda")
            if turn >= 0:
                walls[name].append(wall)
                devices[name].append(on_device)
    case = {"batch": batch, "k": k, "dtype": dtype, "mode": mode}
    results = []
    for name in calls:
        result = {**case, "contestant": name, "answer": checked.get(name, "floor"), "wall": summary(walls[name])}
        result["device" if device.type == "cuda" else "cpu"] = summary(devices[name])
        results.append(result)
    return results


def environment(options: argparse.Namespace) -> dict:
    folder = Path(__file__).resolve().parent
    git = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=False)
    cuda = options.device == "cuda"
    return {
        "device": torch.cuda.get_device_name() if cuda else platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "commit": git.stdout.strip() or None,
        "seed": options.seed,
        "repeats": options.repeats,
    }


def show(results: list[dict]) -> None:
    clock = "device" if "device" in results[0] else "cpu"
    base = {r["contestant"]: r[clock]["median_us"] for r in results}
    head = results[0]
    print(f"\nB={head['batch']} k={head['k']} {head['dtype']} {head['mode']} ({clock} time)", file=sys.stderr)
    for result in results:
        t = result[clock]
        ratios = "  ".join(f"{base[n] / t['median_us']:6.2f}x {n}" for n in ("eager", "reference") if n in base)
        iqr = f"[{t['q1_us']:.0f}, {t['q3_us']:.0f}]"
        line = f"{result['contestant']:28} {t['median_us']:10.1f} us {iqr:20} {ratios}  {result['answer']}"
        print(f"  {line}", file=sys.stderr)


def plot(report: dict, path: Path) -> None:
    """One panel per shape family: median time over the batch size, quartiles as bars."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    families = sorted({(r["dtype"], r["mode"], r["k"]) for r in report["results"]})
    columns = min(4, len(families))
    lines = -(-len(families) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(4 * columns, 3.4 * lines), squeeze=False, sharey=True)
    for axis, family in zip(axes.flat, families):
        rows = [r for r in report["results"] if (r["dtype"], r["mode"], r["k"]) == family]
        for name in dict.fromkeys(r["contestant"] for r in rows):
            points = [(r["batch"], r["device" if "device" in r else "cpu"]) for r in rows if r["contestant"] == name]
            medians = [t["median_us"] for _, t in points]
            spread = [
                [t["median_us"] - t["q1_us"] for _, t in points],
                [t["q3_us"] - t["median_us"] for _, t in points],
            ]
            axis.errorbar([b for b, _ in points], medians, yerr=spread, marker="o", label=name, capsize=2)
        axis.set(xscale="log", yscale="log", xlabel="images", title="{}, {}, k={}".format(*family))
    for axis in axes[:, 0]:
        axis.set_ylabel("µs")
    axes.flat[0].legend(fontsize=7)
    figure.suptitle(f"{report['environment']['device']}, torch {report['environment']['torch']}")
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batches", type=int, nargs="+", help="default: 1 5 40 320 on a GPU, 1 5 16 on a CPU")
    parser.add_argument("--k", type=int, nargs="+", default=[15, 150])
    parser.add_argument("--dtypes", choices=DTYPES, nargs="+", default=["bf16", "fp32"])
    parser.add_argument("--modes", choices=["zero", "drop"], nargs="+", default=["zero", "drop"])
    parser.add_argument("--repeats", type=int, default=50, help="timed rounds per shape, at least 2")
    parser.add_argument("--threads", type=int, help="CPU threads of torch")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, help="default: on a GPU")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="where to write the figures (default: standard output)")
    parser.add_argument("--plot", type=Path, help="where to draw them (needs matplotlib)")
    parser.add_argument("--from-json", type=Path, help="draw an earlier run instead of measuring")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    if options.from_json:
        report = json.loads(options.from_json.read_text())
    else:
        on_gpu = options.device == "cuda"
        if options.threads:
            torch.set_num_threads(options.threads)
        compiled = {}
        if options.compile if options.compile is not None else on_gpu:
            compiled["torch.compile"] = torch.compile(reference, dynamic=False)
            if on_gpu:
                compiled["torch.compile, reduce-overhead"] = torch.compile(reference, mode="reduce-overhead")
        report = {"environment": environment(options), "results": []}
        with torch.no_grad():
            for batch in options.batches or ([1, 5, 40, 320] if on_gpu else [1, 5, 16]):
                for k in options.k:
                    for dtype in options.dtypes:
                        for mode in options.modes:
                            results = bench_case(batch, k, dtype, mode, options, compiled)
                            show(results)
                            report["results"] += results
                            torch.compiler.reset()
        text = json.dumps(report, indent=1)
        if options.json:
            options.json.write_text(text)
        else:
            print(text)
    if options.plot:
        plot(report, options.plot)


if __name__ == "__main__":
    main()
