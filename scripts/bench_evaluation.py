"""Time what evaluation computes, against what one would write first.

`ranks`: the ranks of true matches among all candidates, in both directions: `count_ranks`, in tiles, against the plain
matrix of all cosines in float64 and float32. Answers are checked before anything is timed, contestants take turns in
one process, and what each needs beside the embeddings is measured in a process of its own. Where the matrix does not
fit, `--large` times `count_ranks` alone.

`captions`: the bundled model describes synthetic scenes in batches, against one by one. Texts must be the same before
anything is timed. `answers` are prepared and generated from scenes that are made before; a `run` of `generate_captions`
also makes the scenes, in place of reading clips, and writes its files.

Prints medians with quartiles and writes JSON.

    python scripts/bench_evaluation.py ranks --output ranks.json
    python scripts/bench_evaluation.py ranks --n 4000 --large 0 --dim 128          # seconds
    python scripts/bench_evaluation.py ranks --device cuda --large 580147 --dim 1024
    python scripts/bench_evaluation.py captions --threads 1 --output captions.json
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from soundclip_hf import SoundLlava, SoundLlavaProcessor, __version__
from soundclip_hf.evaluation.generation import AnsweringModel, Cell, generate_captions, read_captions
from soundclip_hf.evaluation.generation.answering import generate_answers, prepare, question_about
from soundclip_hf.evaluation.generation.captioning import QUESTION
from soundclip_hf.evaluation.ranking import TIE, count_ranks
from soundclip_hf.evaluation.samples import open_samples, read_sample

TILES = "count_ranks, tiles of float64"
EXACT, HALF = "matrix, float64", "matrix, float32"
Pair = tuple[Tensor, Tensor]
TOP_K, NEW_TOKENS = 8, 64


def plain(audio: Tensor, video: Tensor, dtype: torch.dtype, tie: float) -> Pair:
    """Ranks `(n,)` in both directions from the whole matrix; ties share their average rank."""
    audio, video = F.normalize(audio.to(dtype), dim=-1), F.normalize(video.to(dtype), dim=-1)
    scores = audio @ video.T
    true = scores.diagonal().clone()
    found = []
    for axis in (1, 0):
        own = true.unsqueeze(axis)
        higher, reached = (scores > own + tie).sum(axis), (scores >= own - tie).sum(axis)
        found.append(1 + higher + (reached - higher - 1).double() / 2)
    return found[0], found[1]


def tiles(audio: Tensor, video: Tensor) -> Pair:
    a2v, v2a = count_ranks(audio, video)
    return a2v.average, v2a.average


# Equal scores differ in the last digits of float32, by amounts that no tolerance tells from real differences: its ranks
# are not exact.
METHODS: dict[str, Callable[[Tensor, Tensor], Pair]] = {
    TILES: tiles,
    EXACT: lambda audio, video: plain(audio, video, torch.float64, TIE),
    HALF: lambda audio, video: plain(audio, video, torch.float32, 0.0),
}


def draw(n: int, dim: int, seed: int, device: str) -> Pair:
    """Related embeddings, every tenth one a copy of the one before it, so that there are ties."""
    generator = torch.Generator().manual_seed(seed)
    audio, video = torch.empty(n, dim), torch.empty(n, dim)
    # In pieces: the peak that is measured must not be that of making them.
    for a, v in zip(audio.split(8192), video.split(8192)):
        a.copy_(torch.randn(a.shape, generator=generator))
        v.copy_(torch.randn(a.shape, generator=generator)).add_(a, alpha=0.2)
        a[10::10] = a[9:-1:10]
        v[10::10] = v[9:-1:10]
    return audio.to(device), video.to(device)


def check(pair: Pair) -> float:
    """The tiles must give the ranks of the float64 matrix exactly; returns how many ranks float32 gets wrong."""
    expected, found, half = (METHODS[name](*pair) for name in (EXACT, TILES, HALF))
    if not all(torch.equal(one, other) for one, other in zip(found, expected)):
        raise SystemExit(f"{TILES}: other ranks than the float64 matrix; nothing is timed")
    return float(torch.cat([(one != other).double() for one, other in zip(half, expected)]).mean())


def seconds_of(call: Callable[[], Any], device: str) -> float:
    start = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def summary(values: list[float]) -> dict[str, float]:
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return {"median_s": middle, "q1_s": low, "q3_s": high, "rounds": len(values)}


def peak_megabytes(method: str, n: int, args: argparse.Namespace) -> float:
    """Peak memory of one call beyond the embeddings, in a process of its own."""
    own = [sys.executable, __file__, "ranks", "--n", n, "--dim", args.dim, "--seed", args.seed, "--device", args.device]
    own += ["--threads", args.threads, "--memory-of", method]
    done = subprocess.run([str(part) for part in own], check=True, capture_output=True, text=True)
    return float(done.stdout)


def memory_of(method: str, args: argparse.Namespace) -> float:
    pair = draw(args.n, args.dim, args.seed, args.device)
    METHODS[method](pair[0][:2048], pair[1][:2048])  # thread pools and workspaces
    if args.device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        METHODS[method](*pair)
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    # The peak so far may be that of the imports.
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_of_process()
    METHODS[method](*pair)
    return peak_of_process() - before


def peak_of_process() -> float:
    """In MiB, since it was last set back."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("/proc/self/status names no peak memory: this part needs Linux")


def ranks(args: argparse.Namespace) -> dict[str, Any]:
    pair = draw(args.n, args.dim, args.seed, args.device)
    wrong = check(pair)
    taken: dict[str, list[float]] = {name: [] for name in METHODS}
    for _ in range(args.repeats):
        for name, method in METHODS.items():
            taken[name].append(seconds_of(lambda method=method: method(*pair), args.device))
    found: dict[str, Any] = {"n": args.n, "float32_ranks_that_differ": wrong, "methods": {}}
    print(
        f"{args.n:,} x {args.n:,}, width {args.dim}, both directions; float32 gets {100 * wrong:.3g} % of ranks wrong"
    )
    for name, values in taken.items():
        row = {**summary(values), "peak_mb": peak_megabytes(name, args.n, args)}
        found["methods"][name] = row
        show(name, row)
    if args.large:
        del pair
        pair = draw(args.large, args.dim, args.seed, args.device)
        values = [seconds_of(lambda: tiles(*pair), args.device) for _ in range(args.large_repeats)]
        del pair
        row = {**summary(values), "peak_mb": peak_megabytes(TILES, args.large, args)}
        found["large"] = {"n": args.large, "methods": {TILES: row}}
        print(
            f"{args.large:,} x {args.large:,}; the float64 matrix alone would take {8 * args.large**2 / 1e9:,.0f} GB "
            "(computed, not measured)"
        )
        show(TILES, row)
    return found


def show(name: str, row: dict[str, float]) -> None:
    print(
        f"{name:32}{row['median_s']:10.2f} s  [{row['q1_s']:.2f}, {row['q3_s']:.2f}] of {row['rounds']:.0f}"
        f"{row['peak_mb']:12,.0f} MB"
    )


def captions(args: argparse.Namespace) -> dict[str, Any]:
    answering = AnsweringModel(
        SoundLlava.from_pretrained("tiny").eval(), SoundLlavaProcessor.from_pretrained("tiny"), "tiny", None, "own"
    )
    samples = open_samples("synthetic", limit=args.n)
    cell = Cell(0.0, TOP_K)
    settings = cell.answer_settings(NEW_TOKENS, 0.0, args.seed)
    rate = answering.processor.feature_extractor.sampling_rate
    media = [read_sample(sample, sampling_rate=rate) for sample in samples]
    conversations = [question_about(QUESTION, one.picture, one.sound, rate) for one in media]

    def answers(size: int) -> list[str]:
        parts = [conversations[start : start + size] for start in range(0, args.n, size)]
        found = [generate_answers(prepare(part, settings, answering), settings, answering) for part in parts]
        return [answer.text for part in found for answer in part]

    def run(size: int) -> list[str]:
        with tempfile.TemporaryDirectory() as folder:
            (done,) = generate_captions(samples, [cell], answering, Path(folder), batch_size=size)
            return [*read_captions(done.path).texts.values()]

    calls: dict[str, Callable[[int], list[str]]] = {"answers": answers, "run": run}
    sizes = (1, args.batch_size)
    if len({tuple(call(size)) for call in calls.values() for size in sizes}) > 1:
        raise SystemExit("batches give other texts than single questions: nothing is timed")
    taken: dict[str, dict[int, list[tuple[float, float]]]] = {name: {size: [] for size in sizes} for name in calls}
    for _ in range(args.repeats):
        for name, call in calls.items():
            for size in sizes:
                cpu, wall = time.process_time(), time.perf_counter()
                call(size)
                taken[name][size].append((time.process_time() - cpu, time.perf_counter() - wall))
    report: dict[str, Any] = {"n": args.n, "batch_size": args.batch_size, "clocks": {}}
    for place, clock in enumerate(("cpu", "wall")):
        report["clocks"][clock] = {}
        for name, by_size in taken.items():
            seconds = {size: [pair[place] for pair in pairs] for size, pairs in by_size.items()}
            # Within a round, so that both share the machine's mood.
            ratios = [one / batch for one, batch in zip(*seconds.values())]
            per_second = {size: quartiles([args.n / value for value in values]) for size, values in seconds.items()}
            report["clocks"][clock][name] = {"per_second": per_second, "ratio": quartiles(ratios)}
            texts = [f"{size} at a time {shown(found)}/s" for size, found in per_second.items()]
            print(f"{clock:5}{name:8}{', '.join(texts)}: {shown(quartiles(ratios))} times as fast")
    return report


def quartiles(values: list[float]) -> list[float]:
    """First quartile, median, third quartile."""
    return statistics.quantiles(values, n=4) if len(values) > 1 else values * 3


def shown(found: list[float]) -> str:
    low, middle, high = found
    return f"{middle:.2f} [{low:.2f}, {high:.2f}]"


def add_ranks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--n", type=int, default=20_000, help="pairs, for all contestants")
    parser.add_argument("--large", type=int, default=100_000, help="pairs, for count_ranks alone; 0: leave it out")
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--large-repeats", type=int, default=3)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)


def add_captions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--n", type=int, default=32, help="scenes")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=7)


# Name -> adds its options, and measures; what it returns is written.
PARTS: dict[str, tuple[Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], dict[str, Any]]]] = {
    "ranks": (add_ranks, ranks),
    "captions": (add_captions, captions),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    for name, (add_options, _) in PARTS.items():
        own = parts.add_parser(name)
        add_options(own)
        own.add_argument("--seed", type=int, default=0)
        own.add_argument("--threads", type=int, default=torch.get_num_threads())
        own.add_argument("--output", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if getattr(args, "memory_of", None):
        print(memory_of(args.memory_of, args))
        return
    report = {
        "config": {key: value for key, value in vars(args).items() if key not in ("output", "memory_of")},
        "versions": {"soundclip_hf": __version__, "torch": torch.__version__},
        "machine": {"cpu": platform.processor() or platform.machine(), "threads": args.threads},
        args.part: PARTS[args.part][1](args),
    }
    if getattr(args, "device", "cpu") == "cuda":
        report["machine"]["gpu"] = torch.cuda.get_device_name()
    if args.output:
        temporary = args.output.with_suffix(".tmp")
        temporary.write_text(json.dumps(report, indent=2))
        temporary.replace(args.output)


if __name__ == "__main__":
    main()
