"""What several sound adapters on one model cost: swapping, the first token after a swap, memory, disk, loading.

A LLaVA with random weights, one audio encoder and several adapters are written to a folder that is removed in the end.
Contestants take turns in one process:

- swap: `set_sound_adapter` against a fresh `SoundLlava.from_pretrained` of the same adapter, and `load_sound_adapter`;
- first token: `generate` of one token right after a swap against without one;
- load: `SoundLlava.from_pretrained` of an adapter against its base alone by the stock class, from the page cache;
- memory: bytes of the weights of N adapters on one model, what is shared counted once, against N models;
- disk: bytes of an adapter, of its encoder and of its base.

It first checks that weights and logits after a swap are those of a fresh load, that logits are the same bit for bit
after swapping back, and that the encoder is one module. Prints medians and quartiles of wall and CPU seconds, and the
median ratio within rounds, and writes JSON with the load of the machine.

    python scripts/bench_adapters.py --repeats 7 --out docs/results/adapters-cpu.json
    python scripts/bench_adapters.py --layers 2 --hidden-size 256 --repeats 3          # seconds
"""

import argparse
import gc
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration
from transformers.utils import logging

from soundclip_hf import SoundClipConfig, SoundLlava, SoundLlavaConfig, WhisperClipConfig

IMAGE_TOKEN, TEXT_TOKENS, SECONDS, BUDGET = 32000, 32, 3, 150


def write(folder: Path, args: argparse.Namespace) -> None:
    """A base, an encoder and `args.adapters` adapters."""
    torch.manual_seed(args.seed)
    vision = CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=args.vision_layers,
        num_attention_heads=16,
        image_size=336,
        patch_size=14,
    )
    text = LlamaConfig(
        vocab_size=32064,
        hidden_size=args.hidden_size,
        intermediate_size=args.hidden_size * 11 // 4,
        num_hidden_layers=args.layers,
        num_attention_heads=args.hidden_size // 64,
        pad_token_id=0,
    )
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=IMAGE_TOKEN)
    stock = LlavaForConditionalGeneration(config)
    stock.save_pretrained(folder / "base")
    # whisper-base's shape; the window is the clip's own length.
    audio = WhisperClipConfig(
        d_model=512, encoder_layers=6, encoder_attention_heads=8, encoder_ffn_dim=2048, window="short"
    )
    AutoModel.from_config(audio).save_pretrained(folder / "encoder")
    model = SoundLlava(SoundLlavaConfig.from_llava_config(config, SoundClipConfig(audio_config=audio)))
    model.load_state_dict(stock.state_dict(), strict=False, assign=True)
    model.config.base_model_name_or_path = str(folder / "base")
    model.config.audio_encoder_name_or_path = str(folder / "encoder")
    for number in range(args.adapters):
        with torch.no_grad():
            for parameter in model.model.audio_projection.parameters():
                parameter.normal_(std=0.05)
        model.save_pretrained(folder / str(number), adapter_only=True)


def load(folder: Path, name: str) -> Any:
    model = SoundLlava.from_pretrained(folder / name)
    model.generation_config.eos_token_id = None
    return model


def prompt(model: Any) -> dict[str, Any]:
    """A picture and a sound of three seconds, with as many placeholders as visual tokens."""
    generator = torch.Generator().manual_seed(2)
    frames = SECONDS * 100
    media = {
        "pixel_values": torch.randn(1, 3, 336, 336, generator=generator),
        "input_features": torch.randn(1, 1, 80, frames, generator=generator),
        "sound_slots": torch.tensor([[0, 0]]),
        "sound_budget": torch.tensor([BUDGET]),
    }
    tokens = sum(slot.num_tokens for slot in model.model.plan_slots(**media))
    text = torch.randint(10, 30000, (1, TEXT_TOKENS), generator=generator)
    ids = torch.cat([torch.full((1, tokens), IMAGE_TOKEN), text], dim=1)
    media["input_features_mask"] = torch.ones(1, 1, frames, dtype=torch.long)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), **media}


@torch.no_grad()
def check(model: Any, folder: Path) -> None:
    """Nothing is timed if a swapped adapter is not the adapter that is loaded alone."""
    inputs = prompt(model)
    before = model(**inputs).logits
    model.set_sound_adapter("1")
    fresh = load(folder, "1")
    for key, value in fresh.state_dict().items():
        if not torch.equal(value, model.state_dict()[key]):
            raise SystemExit(f"{key} differs between a swap and a fresh load: nothing is timed")
    swapped, expected = model(**inputs).logits, fresh(**inputs).logits
    if not torch.allclose(swapped, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max())):
        raise SystemExit("logits differ between a swap and a fresh load: nothing is timed")
    model.set_sound_adapter("default")
    if torch.equal(before, swapped) or not torch.equal(model(**inputs).logits, before):
        raise SystemExit("swapping changes nothing, or swapping back does not undo it: nothing is timed")
    names = [info.name for info in model.list_sound_adapters()]
    if len({parts.audio_tower for parts in model.model.sound_parts(names)}) != 1:
        raise SystemExit("the encoder is not shared: nothing is timed")


def measure(contestants: dict[str, Callable[[], Any]], repeats: int, baseline: str) -> dict[str, dict[str, float]]:
    """
    Seconds of contestants that take turns, the first turn not counted.

    A contestant that returns a function is prepared by its call, and timed in that function.
    """
    wall: dict[str, list[float]] = {name: [] for name in contestants}
    cpu: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(repeats + 1):
        for name, contestant in contestants.items():
            gc.collect()
            start, start_cpu = time.perf_counter(), time.process_time()
            result = contestant()
            if callable(result) and not isinstance(result, nn.Module):
                start, start_cpu = time.perf_counter(), time.process_time()
                result = result()
            seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
            del result
            if turn:
                wall[name].append(seconds)
                cpu[name].append(cpu_seconds)
    return {
        name: {
            **spread("wall", wall[name]),
            **spread("cpu", cpu[name]),
            **spread("ratio", [own / other for own, other in zip(wall[name], wall[baseline])]),
        }
        for name in contestants
    }


def spread(name: str, values: list[float]) -> dict[str, float]:
    low, middle, high = statistics.quantiles(values, n=4)
    return {name: middle, f"{name}_q1": low, f"{name}_q3": high}


def swap_times(model: Any, folder: Path, repeats: int) -> dict[str, Any]:
    def swap() -> Callable[[], None]:
        model.set_sound_adapter("default")
        return lambda: model.set_sound_adapter("1")

    def add() -> Callable[[], None]:
        if "added" in [info.name for info in model.list_sound_adapters()]:
            model.delete_sound_adapter("added")
        return lambda: model.load_sound_adapter(folder / "1", "added")

    contestants = {"fresh load": lambda: load(folder, "1"), "set_sound_adapter": swap, "load_sound_adapter": add}
    found = measure(contestants, repeats, "fresh load")
    model.set_sound_adapter("default")
    model.delete_sound_adapter("added")
    return found


def first_token_times(model: Any, repeats: int) -> dict[str, Any]:
    """With the swap inside the measured time."""
    inputs = prompt(model)

    def token() -> Any:
        return model.generate(**inputs, max_new_tokens=1, do_sample=False)

    def swapped() -> Callable[[], Any]:
        model.set_sound_adapter("default")

        def call() -> Any:
            model.set_sound_adapter("1")
            return token()

        return call

    def unswapped() -> Callable[[], Any]:
        model.set_sound_adapter("1")
        return token

    return measure({"no swap": unswapped, "after a swap": swapped}, repeats, "no swap")


def load_times(folder: Path, repeats: int) -> dict[str, Any]:
    contestants = {
        "base alone": lambda: LlavaForConditionalGeneration.from_pretrained(folder / "base"),
        "adapter": lambda: load(folder, "0"),
    }
    return measure(contestants, repeats, "base alone")


def weight_bytes(modules: Iterable[nn.Module]) -> int:
    """Of all weights, those of shared modules once."""
    tensors = {
        tensor.data_ptr(): tensor.nbytes for module in modules for tensor in (*module.parameters(), *module.buffers())
    }
    return sum(tensors.values())


def memory(model: Any) -> dict[str, int]:
    parts = model.model.sound_parts([info.name for info in model.list_sound_adapters()])
    of_adapters = [module for own in parts for module in (own.audio_tower, own.audio_projection)]
    one = weight_bytes([model])
    return {
        "adapters": len(parts),
        "model_with_one": one,
        "model_with_all": weight_bytes([model, *of_adapters]),
        "as_many_models": one * len(parts),
    }


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def show(title: str, rows: dict[str, dict[str, float]]) -> None:
    print(f"\n{title}\n{'':24}{'wall s':>10}  {'IQR':>20}{'CPU s':>10}{'ratio':>10}")
    for name, row in rows.items():
        quartiles = f"{row['wall_q1']:.5f} to {row['wall_q3']:.5f}"
        print(f"{name:24}{row['wall']:10.5f}  {quartiles:>20}{row['cpu']:10.5f}{row['ratio']:10.5f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--adapters", type=int, default=4)
    parser.add_argument("--hidden-size", type=int, default=768, help="of the language model")
    parser.add_argument("--layers", type=int, default=6, help="of the language model")
    parser.add_argument("--vision-layers", type=int, default=6)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    report: dict[str, Any] = {
        "command": " ".join(["python", *sys.argv]),
        "config": {key: value for key, value in vars(args).items() if key != "out"},
        "versions": {name: version(name) for name in ("soundclip-hf", "torch", "transformers")},
        "machine": {
            "cpu": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "load": os.getloadavg(),
        },
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, args)
        gc.collect()
        model = load(folder, "0")
        for number in range(1, args.adapters):
            model.load_sound_adapter(folder / str(number), str(number))
        check(model, folder)
        report["disk_bytes"] = {part: folder_bytes(folder / part) for part in ("base", "encoder", "0")}
        report["disk_bytes"]["adapter"] = report["disk_bytes"].pop("0")
        report["memory_bytes"] = memory(model)
        report["first_token"] = first_token_times(model, args.repeats)
        report["swap"] = swap_times(model, folder, args.repeats)
        del model
        report["load"] = load_times(folder, args.repeats)
    report["machine"]["load_at_the_end"] = os.getloadavg()
    for part in ("swap", "first_token", "load"):
        show(part.replace("_", " "), report[part])
    for part in ("disk_bytes", "memory_bytes"):
        print(f"\n{part}: {report[part]}")
    if args.out:
        temporary = args.out.with_suffix(".tmp")
        temporary.write_text(json.dumps(report, indent=2) + "\n")
        temporary.replace(args.out)


if __name__ == "__main__":
    main()
