"""Exact search over an AVE-2-sized index: `exact_search`, in chunks, against plain `torch.topk(q @ x.T)`.

580,147 normalised random vectors of width 1024 (2.4 GB). Correctness is checked before anything is timed, contestants
take turns in one process, and what each needs beside the vectors is measured in a process of its own. Prints medians
and writes JSON.

    python scripts/bench_search.py --repeats 15 --output search.json
    python scripts/bench_search.py --rows 50000                            # seconds
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from soundclip_hf import __version__
from soundclip_hf.retrieval.exact_search import exact_search

PLAIN = "torch.topk(q @ x.T)"


def contestants(chunks: list[int]) -> dict[str, Callable[[Tensor, Tensor, int], Any]]:
    return {
        PLAIN: lambda queries, vectors, k: torch.topk(queries @ vectors.T, k),
        **{
            f"exact_search, chunk {chunk}": lambda queries, vectors, k, chunk=chunk: exact_search(
                queries, vectors, k, normalized=True, chunk=chunk
            )
            for chunk in chunks
        },
    }


def draw(rows: int, dim: int, seed: int) -> Tensor:
    """Normalised vectors, made in pieces: the peak that is measured must not be that of making them."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.empty(rows, dim)
    for block in vectors.split(8192):
        block.copy_(F.normalize(torch.randn(block.shape, generator=generator), dim=-1))
    return vectors


def check(methods: dict[str, Any], queries: Tensor, vectors: Tensor, k: int) -> None:
    """All find the same rows; where scores of neighbours differ by rounding alone, the scores must agree."""
    expected = torch.topk(queries @ vectors.T, k)
    for name, method in methods.items():
        scores, rows = method(queries, vectors, k)
        torch.testing.assert_close(scores, expected.values, rtol=0, atol=1e-6, msg=f"{name}: other scores")
        other = rows != expected.indices
        exact = (queries[:, None] * vectors[rows]).sum(-1) - (queries[:, None] * vectors[expected.indices]).sum(-1)
        if (exact[other].abs() > 1e-6).any():
            raise SystemExit(f"{name}: {int(other.sum())} other rows than the reference: nothing is timed")


def measure(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def summarise(seconds: dict[str, list[float]], queries: int) -> dict[str, dict[str, float]]:
    """Milliseconds per query, and the median of the ratios within each round (rounds share the machine's mood)."""
    summary = {}
    for name, values in seconds.items():
        per_query = [1000 * value / queries for value in values]
        ratios = [value / base for value, base in zip(values, seconds[PLAIN])]
        low, middle, high = statistics.quantiles(per_query, n=4)
        ratio_low, _, ratio_high = statistics.quantiles(ratios, n=4)
        summary[name] = {
            "ms_per_query": middle,
            "q1": low,
            "q3": high,
            "ratio_to_plain": statistics.median(ratios),
            "ratio_q1": ratio_low,
            "ratio_q3": ratio_high,
        }
    return summary


def extra_megabytes(method: str, queries: int, args: argparse.Namespace) -> float:
    """Peak memory of one search beyond that before it, in a process of its own."""
    own = [sys.executable, __file__, "--rows", args.rows, "--dim", args.dim, "--top-k", args.top_k]
    own += ["--seed", args.seed, "--threads", args.threads, "--chunks", *args.chunks]
    done = subprocess.run(
        [str(part) for part in [*own, "--memory-of", method, "--queries", queries]],
        check=True,
        capture_output=True,
        text=True,
    )
    return float(done.stdout)


def memory_of(method: str, args: argparse.Namespace) -> float:
    vectors, queries = draw(args.rows, args.dim, args.seed), draw(args.queries[0], args.dim, args.seed + 1)
    search = contestants(args.chunks)[method]
    search(queries, vectors[: min(args.rows, 2 * min(args.chunks))], args.top_k)  # thread pools and workspaces
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    before = pages * resource.getpagesize()
    search(queries, vectors, args.top_k)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=580_147, help="AVE-2's segments")
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--queries", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--top-k", type=int, default=5)
    parser.add_argument("--chunks", type=int, nargs="+", default=[8192, 32768, 131072])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.memory_of:
        print(memory_of(args.memory_of, args))
        return
    methods = contestants(args.chunks)
    report: dict[str, Any] = {
        "config": {key: value for key, value in vars(args).items() if key not in ("output", "memory_of")},
        "versions": {"soundclip_hf": __version__, "torch": torch.__version__},
        "machine": {"cpu": platform.processor() or platform.machine(), "threads": args.threads},
        "results": {},
    }
    memory = {count: {name: extra_megabytes(name, count, args) for name in methods} for count in args.queries}
    vectors = draw(args.rows, args.dim, args.seed)
    for count in args.queries:
        queries = draw(count, args.dim, args.seed + 1)
        check(methods, queries, vectors, args.top_k)
        calls = {
            name: (lambda method=method, queries=queries: method(queries, vectors, args.top_k))
            for name, method in methods.items()
        }
        summary = summarise(measure(calls, args.repeats), count)
        report["results"][str(count)] = summary
        print(f"\n{count} queries, {args.rows:,} x {args.dim}, k={args.top_k}, {args.repeats} rounds")
        print(f"{'':28}{'ms/query':>10}  {'IQR':>17}{'ratio':>8}{'peak MB':>9}")
        for name, row in summary.items():
            row["peak_mb"] = memory[count][name]
            print(
                f"{name:28}{row['ms_per_query']:10.2f}  {row['q1']:7.2f} to {row['q3']:6.2f}"
                f"{row['ratio_to_plain']:8.3f}{row['peak_mb']:9.1f}"
            )
    if args.output:
        temporary = args.output.with_suffix(".tmp")
        temporary.write_text(json.dumps(report, indent=2))
        temporary.replace(args.output)


if __name__ == "__main__":
    main()
