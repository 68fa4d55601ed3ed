"""Fine-tuning: a training step of a SoundLlava with sound against one of stock LLaVA, and how fast rows are loaded.

Random weights, real geometry. Stock `LlavaForConditionalGeneration` and SoundLlava share their weights, and have LoRA
layers of the same settings in the language model. Contestants take turns in one process:

- step: forward, backward and optimizer on one batch of equal rows of a picture, a question and an answer. Of stock; of
  SoundLlava without sound, with embeddings of the sounds (`cache_embeddings`), and with the audio encoder in each step;
- loading: the collator in a `DataLoader`, over pictures and sounds that are files on disk, and over the clips of
  `--clips`; rows with a sound that is opened, with an embedding in its place, and without sound.

It first checks that SoundLlava without sound has the loss of stock, that embeddings have the loss of the encoder, and
that a sound changes the loss. Prints medians and quartiles of wall and CPU seconds, rows per second, and medians of the
ratios within rounds, which share the state of the machine; writes JSON.

    python scripts/bench_finetune.py --variant tiny                                     # a minute or two on a CPU
    python scripts/bench_finetune.py --variant llava --hidden-size 1024 --text-layers 4 --vision-layers 2 \\
        --encoder base --window short --clips CLIPS --json docs/results/finetune-speed-cpu.json
    python scripts/bench_finetune.py --variant llava --device cuda --gradient-checkpointing --json OUT  # one GPU
"""

import argparse
import gc
import json
import os
import platform
import shlex
import statistics
import sys
import tempfile
import time
import wave
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from transformers import CLIPImageProcessor, CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from soundclip_hf import (
    SoundClipConfig,
    SoundLlava,
    SoundLlavaConfig,
    SoundLlavaProcessor,
    WhisperClipConfig,
)
from soundclip_hf.bundled import TINY
from soundclip_hf.modeling.audio_encoders.whisperclip.feature_extraction_whisperclip import WhisperClipFeatureExtractor
from soundclip_hf.training.finetuning import SoundLlavaCollator
from soundclip_hf.training.finetuning.presets import PRESETS, LoraSettings, apply_preset

STOCK, SILENT, CACHED, ENCODER = "stock", "no sound", "cached embeddings", "encoder in the step"
SECONDS, RATE, FILES = 3, 16_000, 32
# Of the variants: vision tower; width, layers and vocabulary of the language model; encoder and its window.
VARIANTS: dict[str, dict[str, Any]] = {
    "tiny": {"vision": (256, 4), "vision_layers": 4, "hidden_size": 256, "text_layers": 4, "vocabulary": 2048},
    "llava": {"vision": (1024, 16), "vision_layers": 24, "hidden_size": 4096, "text_layers": 32, "vocabulary": 32064},
}
# Width, layers and heads of Whisper's encoders.
ENCODERS = {"small-random": (128, 2, 4), "base": (512, 6, 8), "medium": (1024, 24, 16)}


def processor_of(args: argparse.Namespace) -> SoundLlavaProcessor:
    """CLIP's pictures of 336 pixels, Whisper's features, and the tokenizer of the bundled model."""
    return SoundLlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}),
        SoundLlavaProcessor.from_pretrained(TINY).tokenizer,
        WhisperClipFeatureExtractor(window=args.window),
        patch_size=14,
        sound_patches=args.sound_patches,
    )


def models_of(args: argparse.Namespace, image_token: int) -> tuple[Any, Any]:
    """A stock LLaVA and a SoundLlava, whose common weights are the same tensors, with LoRA layers, on the device."""
    vision_width, vision_heads = VARIANTS[args.variant]["vision"]
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=vision_width,
            intermediate_size=4 * vision_width,
            num_hidden_layers=args.vision_layers,
            num_attention_heads=vision_heads,
            image_size=336,
            patch_size=14,
        ),
        text_config=LlamaConfig(
            vocab_size=VARIANTS[args.variant]["vocabulary"],
            hidden_size=args.hidden_size,
            intermediate_size=args.hidden_size * 11 // 4,
            num_hidden_layers=args.text_layers,
            num_attention_heads=max(1, args.hidden_size // 128),
            max_position_embeddings=4096,
            pad_token_id=0,
        ),
        image_token_index=image_token,
    )
    width, layers, heads = ENCODERS[args.encoder]
    audio = WhisperClipConfig(
        d_model=width,
        encoder_layers=layers,
        encoder_attention_heads=heads,
        encoder_ffn_dim=4 * width,
        window=args.window,
    )
    sound = SoundClipConfig(audio_config=audio, patches=args.sound_patches)
    torch.manual_seed(args.seed)
    dtype = getattr(torch, args.dtype)
    with torch.device(args.device):
        stock = LlavaForConditionalGeneration._from_config(config, dtype=dtype)
        ours = SoundLlava._from_config(SoundLlavaConfig.from_llava_config(config, sound), dtype=dtype)
        ours.load_state_dict(stock.state_dict(), strict=False, assign=True)
    ours.model.audio_projection.float()  # as `from_pretrained` keeps it
    lora = LoraSettings(r=args.lora_r, alpha=2 * args.lora_r)
    for model, preset in ((stock, "lora"), (ours, args.preset)):
        torch.manual_seed(args.seed)
        apply_preset(model, preset, lora)
        if args.gradient_checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": False})
    return stock.to(args.device), ours.to(args.device)


def rows_of(folder: Path, words: int) -> list[dict[str, Any]]:
    """Rows of a JPEG of 640 x 480 and a wav of three seconds, which are written to `folder`."""
    generator = np.random.default_rng(0)
    slope = np.linspace(0, 200, 640, dtype=np.float32)[None, :, None]
    rows = []
    for index in range(FILES):
        pixels = slope + generator.uniform(0, 55, (480, 640, 3)) * np.array([1, 0.5, 0.2])
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index}.jpg", quality=90)
        samples = generator.uniform(-8000, 8000, SECONDS * RATE).astype("<i2")
        with wave.open(str(folder / f"{index}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes(samples.tobytes())
        rows.append(
            {**conversation(words), "image": str(folder / f"{index}.jpg"), "audio": str(folder / f"{index}.wav")}
        )
    return rows


def conversation(words: int) -> dict[str, str]:
    return {"question": "What can be heard in this clip?", "answer": " ".join(["dog"] * words)}


def without_sound(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "audio"}


def batches_of(
    rows: list[dict[str, Any]], collator: SoundLlavaCollator, ours: Any, args: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """The batch of each contestant, on the device."""
    heard = on_device(collator(rows), args.device)
    tower = ours.model.audio_tower
    with torch.no_grad():
        features = heard["input_features"].to(tower.dtype)
        found = tower(features, input_features_mask=heard.get("input_features_mask")).pooler_output.float().cpu()
    embedded = collator([{**row, "sound_embeds": own[None]} for row, own in zip(rows, found)])
    silent = on_device(collator([without_sound(row) for row in rows]), args.device)
    return {STOCK: silent, SILENT: silent, CACHED: on_device(embedded, args.device), ENCODER: heard}


def on_device(batch: dict[str, Any], device: str) -> dict[str, Any]:
    return {name: value.to(device) if isinstance(value, torch.Tensor) else value for name, value in batch.items()}


def check(models: dict[str, Any], batches: dict[str, dict[str, Any]], autocast: Callable[[], Any], dtype: str) -> None:
    """Nothing is timed if a contestant does not compute what it should."""
    losses = {}
    for name, model in models.items():
        model.eval()
        with torch.no_grad(), autocast():
            losses[name] = float(model(**batches[name]).loss)
    tolerance = 1e-5 if dtype == "float32" else 1e-2
    print("losses: " + ", ".join(f"{name} {loss:.5f}" for name, loss in losses.items()))
    for one, other in ((STOCK, SILENT), (ENCODER, CACHED)):
        if not abs(losses[one] - losses[other]) <= tolerance * abs(losses[one]):
            raise SystemExit(
                f"the loss of {one!r} is {losses[one]}, that of {other!r} {losses[other]}: nothing is timed"
            )
    if losses[CACHED] == losses[SILENT]:
        raise SystemExit("a sound does not change the loss: nothing is timed")


def step_times(args: argparse.Namespace, rows: list[dict[str, Any]], collator: SoundLlavaCollator) -> dict[str, Any]:
    stock, ours = models_of(args, collator.processor.image_token_id)
    # Rows are equal in length, so that nothing is padded.
    batches = batches_of(rows[: args.batch_size], collator, ours, args)
    models = {STOCK: stock, SILENT: ours, CACHED: ours, ENCODER: ours}
    cuda = args.device == "cuda"

    def autocast() -> Any:
        return torch.autocast(args.device, torch.bfloat16, enabled=args.dtype == "bfloat16")

    check(models, batches, autocast, args.dtype)
    optimizers = {
        id(model): torch.optim.AdamW([own for own in model.parameters() if own.requires_grad], lr=1e-5)
        for model in (stock, ours)
    }
    memory: dict[str, int] = {}

    def step(name: str) -> Callable[[], None]:
        model, batch = models[name], batches[name]
        optimizer = optimizers[id(model)]

        def call() -> None:
            if cuda:
                torch.cuda.reset_peak_memory_stats()
            model.train()
            with autocast():
                loss = model(**batch).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if cuda:
                torch.cuda.synchronize()
                memory[name] = torch.cuda.max_memory_allocated()

        return call

    seconds = measure({name: step(name) for name in models}, args.repeats)
    found = summarise(seconds, STOCK, args.batch_size)
    for name, row in found.items():
        row["tokens"] = batches[name]["input_ids"].shape[1]
        if cuda:
            row["peak_memory_gib"] = round(memory[name] / 2**30, 2)
    return found


def loading_times(
    args: argparse.Namespace, rows: list[dict[str, Any]], collator: SoundLlavaCollator
) -> dict[str, dict[str, Any]]:
    """Number of workers -> contestants. A pass over the rows by workers that are there already is one measurement."""
    embedding = torch.zeros(1, ENCODERS[args.encoder][0])
    kinds = {
        STOCK: [without_sound(row) for row in rows],
        CACHED: [{**row, "sound_embeds": embedding} for row in rows],
        ENCODER: rows,
    }
    if args.clips:
        clips = [{**conversation(args.words), "video": str(path)} for path in sorted(args.clips.glob("*.mp4"))]
        if not clips:
            raise SystemExit(f"--clips {args.clips}: holds no .mp4 file")
        kinds |= {
            f"clips, {CACHED}": [{**clip, "sound_embeds": embedding} for clip in clips],
            f"clips, {ENCODER}": clips,
        }
    count = max(args.load_rows // args.batch_size, 1) * args.batch_size
    found = {}
    for workers in args.workers:
        loaders = {
            name: DataLoader(
                [own[index % len(own)] for index in range(count)],  # type: ignore[arg-type]
                batch_size=args.batch_size,
                collate_fn=collator,
                num_workers=workers,
                persistent_workers=workers > 0,
            )
            for name, own in kinds.items()
        }

        def one_pass(loader: DataLoader) -> Callable[[], None]:
            def call() -> None:
                for _ in loader:
                    pass

            return call

        seconds = measure({name: one_pass(loader) for name, loader in loaders.items()}, args.load_repeats)
        found[str(workers)] = summarise(seconds, STOCK, count, with_cpu=workers == 0)
        del loaders
        gc.collect()
    return found


def measure(calls: dict[str, Callable[[], None]], repeats: int) -> dict[str, dict[str, list[float]]]:
    """Wall and CPU seconds of contestants that take turns; the first turn is not counted."""
    seconds: dict[str, dict[str, list[float]]] = {name: {"wall": [], "cpu": []} for name in calls}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            if turn:
                seconds[name]["cpu"].append(time.process_time() - cpu)
                seconds[name]["wall"].append(time.perf_counter() - wall)
    return seconds


def summarise(
    seconds: dict[str, dict[str, list[float]]], baseline: str, rows: int, with_cpu: bool = True
) -> dict[str, dict[str, Any]]:
    """
    Medians and quartiles; `*_ratio` is the number of rows per second, as a multiple of the baseline's in that round.

    Args:
        with_cpu: False where other processes do the work.
    """
    summary: dict[str, dict[str, Any]] = {}
    for name, clocks in seconds.items():
        summary[name] = {}
        for clock in ("wall", "cpu") if with_cpu else ("wall",):
            ratios = [base / own for base, own in zip(seconds[baseline][clock], clocks[clock], strict=True)]
            for label, values in ((f"{clock}_s", clocks[clock]), (f"{clock}_ratio", ratios)):
                low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
                summary[name] |= {label: round(middle, 4), f"{label}_q1": round(low, 4), f"{label}_q3": round(high, 4)}
        summary[name]["rows_per_s"] = round(rows / summary[name]["wall_s"], 3)
        if with_cpu:
            summary[name]["rows_per_cpu_s"] = round(rows / summary[name]["cpu_s"], 3)
    return summary


def bottlenecks(step: dict[str, Any], loading: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """For each number of workers, the rows per second that are loaded to those that are trained on."""
    found: dict[str, Any] = {}
    for workers, kinds in loading.items():
        ratios = {
            name: row["rows_per_s"] / step[name.removeprefix("clips, ")]["rows_per_s"] for name, row in kinds.items()
        }
        found[workers] = {
            "loaded_to_trained": {name: round(ratio, 2) for name, ratio in ratios.items()},
            "slower_than_the_step": sorted(name for name, ratio in ratios.items() if ratio < 1),
        }
    return found


def show(title: str, rows: dict[str, dict[str, Any]], clocks: tuple[str, ...]) -> None:
    heads = "".join(f"{clock + ' s':>10}{'ratio':>8}{'IQR':>16}" for clock in clocks)
    print(f"\n{title}\n{'':28}{'rows/s':>9}{heads}")
    for name, row in rows.items():
        told = "".join(
            f"{row[f'{clock}_s']:10.3f}{row[f'{clock}_ratio']:8.3f}"
            f"{row[f'{clock}_ratio_q1']:8.3f}-{row[f'{clock}_ratio_q3']:.3f}  "
            for clock in clocks
        )
        memory = f"{row['peak_memory_gib']:8.2f} GiB" if "peak_memory_gib" in row else ""
        print(f"{name:28}{row['rows_per_s']:9.2f}{told}{memory}", flush=True)


def machine(device: str) -> dict[str, Any]:
    name = torch.cuda.get_device_name() if device == "cuda" else None
    return {"gpu": name, "cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", choices=VARIANTS, default="tiny")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="default: bfloat16 on a GPU, else float32")
    parser.add_argument("--batch-size", type=int, help="default: 8 on a GPU, else 2")
    parser.add_argument("--repeats", type=int, default=7, help="of a training step")
    parser.add_argument("--vision-layers", type=int, help="default: that of the variant")
    parser.add_argument("--text-layers", type=int, help="default: that of the variant")
    parser.add_argument("--hidden-size", type=int, help="of the language model; default: that of the variant")
    parser.add_argument("--encoder", choices=ENCODERS, help="default: medium, as WhisperCLIP's; small-random of tiny")
    parser.add_argument("--window", choices=["pad30", "short"], help="default: pad30, as WhisperCLIP's; short of tiny")
    parser.add_argument("--sound-patches", choices=["zero", "drop"], default="zero")
    parser.add_argument("--preset", choices=[name for name in PRESETS if PRESETS[name].lora], default="lora+projector")
    parser.add_argument("--lora-r", type=int, default=16)
    parser.add_argument("--gradient-checkpointing", action="store_true")
    parser.add_argument("--words", type=int, default=48, help="of an answer")
    parser.add_argument("--workers", type=int, nargs="*", default=[0, 1, 2, 4], help="nothing: loading is not timed")
    parser.add_argument("--load-rows", type=int, default=96, help="of a pass")
    parser.add_argument("--load-repeats", type=int, default=3)
    parser.add_argument("--clips", type=Path, help="a folder of .mp4 files, which are loaded, too")
    parser.add_argument("--threads", type=int, default=1, help="of a training step on the CPU")
    parser.add_argument("--note", help="kept in the JSON, such as what else ran on the machine")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    shape = VARIANTS[args.variant]
    for name in ("vision_layers", "text_layers", "hidden_size"):
        if getattr(args, name) is None:
            setattr(args, name, shape[name])
    tiny = args.variant == "tiny"
    args.encoder = args.encoder or ("small-random" if tiny else "medium")
    args.window = args.window or ("short" if tiny else "pad30")
    args.dtype = args.dtype or ("bfloat16" if args.device == "cuda" else "float32")
    args.batch_size = args.batch_size or (8 if args.device == "cuda" else 2)
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: PyTorch sees no GPU")
    if min(args.repeats, args.load_repeats) < 2:
        parser.error("--repeats and --load-repeats: at least 2, as quartiles need")
    if args.batch_size > FILES:
        parser.error(f"--batch-size {args.batch_size}: at most {FILES}")
    return args


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    report: dict[str, Any] = {
        "command": shlex.join(["python", "scripts/bench_finetune.py", *sys.argv[1:]]),
        "config": {
            name: value if isinstance(value, (int, list)) or value is None else str(value)
            for name, value in vars(args).items()
            if name not in ("json", "note", "clips")
        },
        "versions": {name: version(name) for name in ("soundclip-hf", "torch", "transformers", "peft")},
        "machine": {"load": os.getloadavg()},
        "note": args.note,
        "seed": args.seed,
        "n": args.repeats,
    }
    collator = SoundLlavaCollator(processor_of(args))
    with tempfile.TemporaryDirectory() as folder:
        rows = rows_of(Path(folder), args.words)
        # Loading first: workers are copies of this process, which has not started the GPU yet.
        report["loading"] = loading_times(args, rows, collator)
        for workers, found in report["loading"].items():
            clocks = ("wall", "cpu") if workers == "0" else ("wall",)
            show(f"loading, {workers} workers, passes of {args.load_rows} rows", found, clocks)
        report["machine"] |= machine(args.device)
        print(f"\ndevice: {report['machine']['gpu'] or report['machine']['cpu']}, {report['machine']['cores']} cores")
        report["step"] = step_times(args, rows, collator)
    show(f"training step of {args.batch_size} rows, {args.variant}, {args.dtype}", report["step"], ("wall", "cpu"))
    report["bottleneck"] = bottlenecks(report["step"], report["loading"])
    for workers, found in report["bottleneck"].items():
        slower = ", ".join(found["slower_than_the_step"]) or "none"
        print(f"{workers} workers: loading is slower than the step of: {slower}")
    report["machine"]["load_at_the_end"] = os.getloadavg()
    if args.json:
        temporary = args.json.with_suffix(".tmp")
        temporary.write_text(json.dumps(report, indent=2) + "\n")
        temporary.replace(args.json)


if __name__ == "__main__":
    main()
