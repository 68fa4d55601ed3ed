"""Seconds to load an adapter over a base that is on this machine, against loading that base alone.

For each size a LLaVA with random weights, an audio encoder and an adapter are written to a folder that is removed in
the end. Contestants take turns in one process:

- the base alone, by the stock class;
- the audio encoder alone, by its class: its bytes have to be read by whoever wants to hear;
- the adapter: base, encoder and projector by `SoundLlava.from_pretrained`;
- the dual encoder of the same adapter, by `SoundClipModel.from_pretrained`.

It first checks that the loaded weights are bit for bit those that were written. Prints medians and quartiles of wall
and CPU seconds, the median ratio to the base alone, and to base and encoder together (ratios within each round, which
share the state of the machine), and writes JSON.

    python scripts/bench_loading.py --repeats 9 --output docs/results/loading-cpu.json
    python scripts/bench_loading.py --sizes 130M --repeats 3                    # less than a minute
"""

import argparse
import gc
import json
import platform
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn
from transformers import AutoModel, CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration
from transformers.utils import logging

from soundclip_hf import SoundClipConfig, SoundClipModel, SoundLlava, SoundLlavaConfig, WhisperClipConfig

BASE, ENCODER, ADAPTER, DUAL = "base alone", "encoder alone", "adapter", "dual encoder"
CLIP_LARGE = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
CLIP_SMALL = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 8}
# Parameters -> vision tower, language model (hidden size, layers), dtype of the files.
SIZES: dict[str, tuple[dict[str, int], int, int, torch.dtype]] = {
    "130M": (CLIP_SMALL, 768, 6, torch.float32),
    "525M": (CLIP_LARGE, 1024, 10, torch.float32),
    "1.4B": (CLIP_LARGE, 2048, 19, torch.bfloat16),
}


def write(size: str, folder: Path) -> dict[str, float]:
    """Base, encoder and adapter of a size; returns their megabytes."""
    vision, width, layers, dtype = SIZES[size]
    text = LlamaConfig(
        vocab_size=32064,
        hidden_size=width,
        intermediate_size=11 * width // 4,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
    )
    llava = LlavaConfig(
        vision_config=CLIPVisionConfig(image_size=336, patch_size=14, **vision),
        text_config=text,
        image_token_index=32000,
    )
    whisper = WhisperClipConfig(
        d_model=768, encoder_layers=12, encoder_attention_heads=12, encoder_ffn_dim=3072, num_mel_bins=80
    )
    sound = SoundClipConfig(audio_config=whisper, vision_hidden_size=vision["hidden_size"])
    config = SoundLlavaConfig.from_llava_config(llava, sound_config=sound)
    config.base_model_name_or_path = str(folder / "base")
    config.audio_encoder_name_or_path = str(folder / "encoder")
    torch.manual_seed(0)
    model = SoundLlava._from_config(config, dtype=dtype)
    stock = LlavaForConditionalGeneration._from_config(llava, dtype=dtype)
    stock.load_state_dict(model.state_dict(), strict=False, assign=True)
    stock.save_pretrained(folder / "base")
    model.model.audio_tower.save_pretrained(folder / "encoder")
    model.save_pretrained(folder / "adapter", adapter_only=True)
    return {
        name: round(sum(file.stat().st_size for file in (folder / name).rglob("*.safetensors")) / 1e6, 1)
        for name in ("base", "encoder", "adapter")
    }


def contestants(folder: Path, options: dict[str, Any]) -> dict[str, Callable[[], nn.Module]]:
    return {
        BASE: lambda: LlavaForConditionalGeneration.from_pretrained(folder / "base", **options),
        ENCODER: lambda: AutoModel.from_pretrained(folder / "encoder", **options),
        ADAPTER: lambda: SoundLlava.from_pretrained(folder / "adapter", **options),
        DUAL: lambda: SoundClipModel.from_pretrained(folder / "adapter", **options),
    }


def check(calls: dict[str, Callable[[], nn.Module]], folder: Path, dtype: torch.dtype | None) -> int:
    """Every weight of the adapter's model is that of the file that holds it; returns the parameters of the base."""
    base = {key: value.shape for key, value in calls[BASE]().state_dict().items()}
    state = calls[ADAPTER]().state_dict()
    dual = calls[DUAL]().state_dict()
    seen = set()
    for name, prefix in (("base", ""), ("encoder", "model.audio_tower."), ("adapter", "model.")):
        for path in (folder / name).rglob("*.safetensors"):
            with safe_open(path, framework="pt") as file:
                for stored in file.keys():  # noqa: SIM118  not a mapping
                    key, value = in_model(prefix + stored, state), file.get_tensor(stored)
                    seen.add(key)
                    for where, found in ((state, state[key]), (dual, dual.get(key.removeprefix("model.")))):
                        if found is not None and not torch.equal(found, value.to(found.dtype)):
                            raise SystemExit(f"{key} differs in {len(where)} weights: nothing is timed")
    if seen != state.keys():
        raise SystemExit(f"not from a file: {sorted(state.keys() - seen)}: nothing is timed")
    expected = {torch.float32, dtype or state["lm_head.weight"].dtype}
    if {value.dtype for value in state.values()} - expected:
        raise SystemExit("other dtypes than expected: nothing is timed")
    return sum(shape.numel() for shape in base.values())


def in_model(stored: str, state: dict[str, Any]) -> str:
    """The name in the model of a weight of the official layout."""
    if stored in state:
        return stored
    for old, new in (("language_model.model.", "model.language_model."), ("language_model.lm_head.", "lm_head.")):
        if stored.startswith(old):
            return new + stored.removeprefix(old)
    return f"model.{stored}"


def measure(calls: dict[str, Callable[[], nn.Module]], repeats: int) -> dict[str, dict[str, list[float]]]:
    seconds: dict[str, dict[str, list[float]]] = {name: {"wall": [], "cpu": []} for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            # transformers compiles a pattern for each weight: a process that loads one model has none of them yet.
            re.purge()
            gc.collect()
            wall, cpu = time.perf_counter(), time.process_time()
            model = call()
            seconds[name]["cpu"].append(time.process_time() - cpu)
            seconds[name]["wall"].append(time.perf_counter() - wall)
            del model
    return seconds


def summarise(seconds: dict[str, dict[str, list[float]]]) -> dict[str, Any]:
    summary: dict[str, Any] = {}
    for name, clocks in seconds.items():
        row: dict[str, float] = {}
        for clock, values in clocks.items():
            low, middle, high = statistics.quantiles(values, n=4)
            row |= {f"{clock}_s": round(middle, 4), f"{clock}_q1_s": round(low, 4), f"{clock}_q3_s": round(high, 4)}
            base, encoder = seconds[BASE][clock], seconds[ENCODER][clock]
            together = [one + other for one, other in zip(base, encoder, strict=True)]
            for against, others in (("base", base), ("base_and_encoder", together)):
                ratios = [value / other for value, other in zip(values, others, strict=True)]
                row[f"{clock}_to_{against}"] = round(statistics.median(ratios), 3)
        summary[name] = row
    return summary


def show(title: str, summary: dict[str, Any]) -> None:
    print(f"\n{title}\n{'':16}{'wall s':>8}{'CPU s':>8}{'to base (wall, CPU)':>22}{'to base + encoder':>20}")
    for name, row in summary.items():
        both = [f"{row[f'wall_to_{of}']:.2f} {row[f'cpu_to_{of}']:.2f}" for of in ("base", "base_and_encoder")]
        print(f"{name:16}{row['wall_s']:8.3f}{row['cpu_s']:8.3f}{both[0]:>22}{both[1]:>20}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=[*SIZES])
    parser.add_argument("--dtypes", nargs="+", choices=["auto", "float32", "bfloat16"], default=["auto", "bfloat16"])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--folder", type=Path, help="where the models are written: up to 3.5 GB")
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    report: dict[str, Any] = {
        "config": {"repeats": args.repeats, "threads": args.threads},
        "versions": {name: version(name) for name in ("soundclip-hf", "torch", "transformers", "safetensors")},
        "machine": {"cpu": platform.processor() or platform.machine(), "python": platform.python_version()},
        "sizes": {},
    }
    for size in args.sizes:
        folder = Path(tempfile.mkdtemp(dir=args.folder))
        try:
            about: dict[str, Any] = {"megabytes": write(size, folder), "stored": str(SIZES[size][3]).split(".")[1]}
            for dtype in args.dtypes:
                calls = contestants(folder, {"dtype": dtype})
                wanted = None if dtype == "auto" else getattr(torch, dtype)
                about["base_parameters"] = check(calls, folder, wanted)
                about[f"dtype={dtype}"] = summarise(measure(calls, args.repeats))
                title = f"{size} ({about['base_parameters'] / 1e6:.0f} M, stored as {about['stored']}), dtype={dtype}"
                show(title, about[f"dtype={dtype}"])
            report["sizes"][size] = about
        finally:
            shutil.rmtree(folder)
    if args.output:
        temporary = args.output.with_suffix(".tmp")
        temporary.write_text(json.dumps(report, indent=2) + "\n")
        temporary.replace(args.output)


if __name__ == "__main__":
    main()
