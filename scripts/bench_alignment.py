"""Alignment: pairs per second from cached embeddings by the trainer and by a plain PyTorch loop on the same tensors,
and through the encoders; time and memory of the loss, chunked and plain.

Equality is checked before anything is timed, contestants take turns, and seconds are those of the processor: on a
machine that is busy otherwise they repeat, where those of the clock do not. Memory is the highest resident size of a
process of its own. Weights and embeddings are random: only shapes matter here. Prints and writes JSON.

    python scripts/bench_alignment.py --output alignment.json
    python scripts/bench_alignment.py --pairs 2048 --loss-batch 2048 --repeats 2 --no-encoders       # a minute
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPVisionConfig

from soundclip_hf import SoundClipConfig, SoundClipModel, WhisperClipConfig, __version__
from soundclip_hf.losses import alignment_loss, soundclip_loss
from soundclip_hf.training.arguments import AlignmentArguments, AlignmentTrainingArguments
from soundclip_hf.training.collators import collate_cached
from soundclip_hf.training.embedding_cache import CachedPairs, build_cache, finish_cache
from soundclip_hf.training.trainer import AlignmentTrainer, PairEncoder

WIDTH = 1024


def dual_encoder(whole: bool) -> SoundClipModel:
    """Towers of real size (Whisper-tiny, CLIP ViT-L/14-336), or stumps of the right width in front of the projector."""
    torch.manual_seed(0)
    layers, width = (4, 384) if whole else (1, WIDTH)
    audio = WhisperClipConfig(
        d_model=width, encoder_layers=layers, encoder_attention_heads=6 if whole else 8, window="short"
    )
    vision = CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=4096 if whole else 64,
        num_hidden_layers=24 if whole else 2,
        num_attention_heads=16,
        image_size=336 if whole else 28,
        patch_size=14,
    )
    return SoundClipModel(SoundClipConfig(audio_config=audio, vision_config=vision, vision_hidden_size=WIDTH))


def cached_pairs(folder: Path, pairs: int) -> CachedPairs:
    generator = torch.Generator().manual_seed(1)

    def embed(rows: Tensor) -> tuple[Tensor, Tensor, Tensor, int]:
        shape = (len(rows), WIDTH)
        return rows, torch.randn(shape, generator=generator), torch.randn(shape, generator=generator), 0

    build_cache(list(range(pairs)), folder, {"encoder": "random"}, torch.tensor, embed, batch_size=1024)
    finish_cache(folder)
    return CachedPairs(folder)


def plain_loop(pairs: CachedPairs, batch: int, epochs: int) -> float:
    """The fewest lines that train the same projector: seconds of all epochs."""
    model = dual_encoder(False).train()
    tensors = pairs.__getitems__(range(len(pairs)))
    audio, vision = tensors["audio_embeddings"], tensors["vision_embeddings"]
    optimizer = torch.optim.Adam(model.audio_projection.parameters(), lr=5e-5)
    start = time.process_time()
    for places in (part for _ in range(epochs) for part in torch.randperm(len(pairs)).split(batch)):
        loss = soundclip_loss(model.audio_projection.project(audio[places]), vision[places])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
    return time.process_time() - start


def with_trainer(pairs: CachedPairs, batch: int, epochs: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        arguments = AlignmentTrainingArguments(
            output_dir=folder,
            num_train_epochs=epochs,
            per_device_train_batch_size=batch,
            lr_scheduler_type="constant",
            eval_strategy="no",
            save_strategy="no",
            disable_tqdm=True,
            logging_steps=1000,
            use_cpu=True,
        )
        model = PairEncoder(dual_encoder(False))
        trainer = AlignmentTrainer(
            model, AlignmentArguments(), args=arguments, train_dataset=pairs, data_collator=collate_cached
        )
        start = time.process_time()
        trainer.train()
        return time.process_time() - start


def through_encoders(pairs: int) -> float:
    """Seconds of one step in which both towers run; media are already decoded."""
    model = PairEncoder(dual_encoder(True)).train()
    optimizer = torch.optim.Adam(model.soundclip.audio_projection.parameters(), lr=5e-5)
    frames = 300  # 3 seconds
    batch = {
        "input_features": torch.randn(pairs, 1, 80, frames),
        "input_features_mask": torch.ones(pairs, 1, frames, dtype=torch.int64),
        "pixel_values": torch.randn(pairs, 3, 336, 336),
    }
    start = time.process_time()
    outputs = model(**batch)
    soundclip_loss(outputs["projected"], outputs["vision"]).backward()
    optimizer.step()
    return time.process_time() - start


def loss_step(batch: int, chunk: int | None) -> float:
    generator = torch.Generator().manual_seed(2)
    audio = torch.randn(batch, WIDTH, generator=generator).requires_grad_()
    vision = torch.randn(batch, WIDTH, generator=generator)
    start = time.process_time()
    alignment_loss(audio, vision, "info_nce", chunk_size=chunk).backward()
    return time.process_time() - start


def peak_of_loss(batch: int, chunk: int | None) -> float:
    """MiB, features and their gradients (64 MiB at batch 8192) included."""
    command = [sys.executable, __file__, "--loss-batch", str(batch), "--peak", str(chunk or 0)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def watched(work: Callable[[], Any]) -> float:
    """MiB by which the resident size grew while `work` ran, looked at every millisecond."""

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    before, highest, done = resident(), [0], threading.Event()

    def look() -> None:
        while not done.wait(0.001):
            highest[0] = max(highest[0], resident())

    watcher = threading.Thread(target=look)
    watcher.start()
    work()
    done.set()
    watcher.join()
    return (highest[0] - before) / 2**20


def timed(contestants: dict[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, contestant in contestants.items():
            seconds[name].append(contestant())
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=8192)
    parser.add_argument("--epochs", type=int, default=4, help="the paper has 10")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--loss-batch", type=int, default=8192)
    parser.add_argument("--chunk", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--encoders", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--encoder-pairs", type=int, default=8)
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.peak is not None:
        print(watched(lambda: loss_step(options.loss_batch, options.peak or None)))
        return

    audio, vision = torch.randn(1000, 64), torch.randn(1000, 64)
    torch.testing.assert_close(
        alignment_loss(audio, vision, chunk_size=options.chunk), alignment_loss(audio, vision), rtol=1e-5, atol=1e-6
    )
    with tempfile.TemporaryDirectory() as folder:
        pairs = cached_pairs(Path(folder) / "cache", options.pairs)
        for contestant in (plain_loop, with_trainer):
            contestant(cached_pairs(Path(folder) / f"warm-{contestant.__name__}", 2 * options.batch), options.batch, 1)
        epochs = timed(
            {
                "trainer, cached": lambda: with_trainer(pairs, options.batch, options.epochs),
                "plain loop, same tensors": lambda: plain_loop(pairs, options.batch, options.epochs),
            },
            options.repeats,
        )
    rates = {name: [options.epochs * options.pairs / second for second in seconds] for name, seconds in epochs.items()}
    if options.encoders:
        seconds = timed({"x": lambda: through_encoders(options.encoder_pairs)}, 2)["x"]
        rates["through Whisper-tiny and CLIP ViT-L/14-336"] = [options.encoder_pairs / second for second in seconds]
    chunks = {"plain": None, f"chunks of {options.chunk}": options.chunk}
    loss_seconds = timed(
        {name: lambda chunk=chunk: loss_step(options.loss_batch, chunk) for name, chunk in chunks.items()},
        options.repeats,
    )
    report: dict[str, Any] = {
        "pairs_per_second": {name: statistics.median(values) for name, values in rates.items()},
        "trainer_over_plain": statistics.median(
            one / other for one, other in zip(rates["trainer, cached"], rates["plain loop, same tensors"])
        ),
        "loss": {
            name: {
                "seconds": statistics.median(loss_seconds[name]),
                "peak_mib": peak_of_loss(options.loss_batch, chunk),
            }
            for name, chunk in chunks.items()
        },
        "config": {name: str(value) for name, value in vars(options).items()},
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "soundclip-hf": __version__,
        },
    }
    print(json.dumps(report, indent=1))
    if options.output:
        options.output.write_text(json.dumps({**report, "all": {**rates, "loss": loss_seconds}}, indent=1) + "\n")


if __name__ == "__main__":
    main()
