"""Times WhisperClip's windows (pad30 against short) and measures the peak memory of its running sum against stacking.

Random weights of a Whisper shape, one synthetic clip; correctness is checked before anything is timed. Contestants take
turns. One thread by default: its CPU time hardly depends on what else the machine does, wall time does.

    python scripts/bench_encoder_whisper.py --shape base --seconds 3 --output bench_encoder_whisper.json
"""

import argparse
import itertools
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

from soundclip_hf.modeling.audio_encoders.whisperclip.configuration_whisperclip import WhisperClipConfig
from soundclip_hf.modeling.audio_encoders.whisperclip.feature_extraction_whisperclip import WhisperClipFeatureExtractor
from soundclip_hf.modeling.audio_encoders.whisperclip.modeling_whisperclip import WhisperClipModel

SHAPES = {"tiny": (384, 4, 6), "base": (512, 6, 8), "small": (768, 12, 12), "medium": (1024, 24, 16)}
RATE = 16000


def build(shape: str, window: str, seed: int) -> WhisperClipModel:
    width, layers, heads = SHAPES[shape]
    torch.manual_seed(seed)
    config = WhisperClipConfig(
        d_model=width, encoder_layers=layers, encoder_attention_heads=heads, encoder_ffn_dim=4 * width, window=window
    )
    return WhisperClipModel(config).eval()


def features(window: str, seconds: float, batch: int, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    sounds = 0.1 * torch.randn(batch, round(RATE * seconds), generator=generator)
    return dict(WhisperClipFeatureExtractor(window=window)(sounds, RATE, return_tensors="pt"))


def stacked(model: WhisperClipModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """The straightforward way: keep all hidden states, stack them, average."""
    states = model.encoder(inputs["input_features"][:, 0], output_hidden_states=True).hidden_states[1:]
    return torch.stack(states).mean(0).mean(1)


def running(model: WhisperClipModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    return model(**inputs).pooler_output


METHODS = {"running_sum": running, "stacked": stacked}


def summary(values: list[float]) -> dict[str, float]:
    low, middle, high = statistics.quantiles(values, n=4)
    return {"median": middle, "q1": low, "q3": high, "n": len(values)}


def check(args: argparse.Namespace) -> dict[str, float]:
    """Running sum equals stacking; a clip in a short batch equals the clip alone."""
    model, inputs = build(args.shape, "pad30", args.seed), features("pad30", args.seconds, 2, args.seed)
    fusion = float((running(model, inputs) - stacked(model, inputs)).abs().max())
    model = build(args.shape, "short", args.seed)
    clip = features("short", args.seconds, 1, args.seed)
    padded = {key: torch.nn.functional.pad(value, (0, 40)) for key, value in clip.items()}
    batch = float((running(model, clip) - running(model, padded)).abs().max())
    if max(fusion, batch) > 1e-5:
        raise SystemExit(f"wrong results: fusion differs by {fusion:.1e}, padding by {batch:.1e}")
    return {"running_sum_vs_stacked": fusion, "short_alone_vs_padded": batch}


def bench_windows(args: argparse.Namespace) -> dict[str, Any]:
    contestants = {
        window: (build(args.shape, window, args.seed), features(window, args.seconds, 1, args.seed))
        for window in ("pad30", "short")
    }
    clocks = {"cpu": time.process_time, "wall": time.perf_counter}
    times: dict[str, list[float]] = {f"{window}_{clock}_s": [] for clock in clocks for window in contestants}
    for repeat in range(args.warmup + args.repeats):
        for window, (model, inputs) in contestants.items():
            start = {name: clock() for name, clock in clocks.items()}
            running(model, inputs)
            if repeat >= args.warmup:
                for name, clock in clocks.items():
                    times[f"{window}_{name}_s"].append(clock() - start[name])
    result = {name: summary(values) for name, values in times.items()}
    for clock in clocks:
        pairs = zip(times[f"pad30_{clock}_s"], times[f"short_{clock}_s"], strict=True)
        result[f"speedup_{clock}"] = summary([a / b for a, b in pairs])
    return result


def bench_memory(args: argparse.Namespace) -> dict[str, Any]:
    """Peak of the tensor memory that one forward allocates beyond weights and inputs, from torch's profiler."""
    model, inputs = build(args.shape, "pad30", args.seed), features("pad30", args.seconds, args.batch, args.seed)
    peaks = {name: peak_mib(lambda run=run: run(model, inputs)) for name, run in METHODS.items()}
    return {"batch": args.batch, "peak_mib": peaks, "ratio": peaks["stacked"] / peaks["running_sum"]}


def peak_mib(run: Callable[[], Any]) -> float:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        run()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    steps = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return max(itertools.accumulate(steps)) / 2**20


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="base")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--batch", type=int, default=8, help="for the memory measurement")
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="JSON file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    result = {
        "shape": args.shape,
        "seconds": args.seconds,
        "seed": args.seed,
        "machine": {"cpu": platform.machine(), "threads": args.threads, "system": platform.platform()},
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "max_difference": check(args),
        "windows": bench_windows(args),
        "memory": bench_memory(args),
    }
    text = json.dumps(result, indent=2)
    if args.output:
        args.output.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
