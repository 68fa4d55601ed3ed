"""Tiny models on a Hub, and the folder of an adapter for them, as `soundclip align` leaves it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tiny_inputs import Sample, build_inputs
from tiny_models import tiny_llava, tiny_sound_llava
from tiny_processors import tiny_llava_processor, tiny_sound_processor

from soundclip_hf.evaluation.results import EvalResult

BASE, ENCODER = "org/base", "org/encoder"
SAMPLES = [Sample([((40, 20), 1)]), Sample([((28, 28), None)], text=(21, 22))]


def write_parts(hub: Any, folder: Path) -> dict[str, str]:
    """The base model, in shards, and the audio encoder on a Hub; returns their commits."""
    tiny_llava("llava").save_pretrained(folder / "base", max_shard_size="60KB")
    tiny_llava_processor("llava").save_pretrained(folder / "base")
    (folder / "base" / "README.md").write_text("---\nlicense: llama2\n---\n# Base\n")
    model = tiny_sound_llava("llava")
    model.model.audio_tower.save_pretrained(folder / "encoder")
    return {repo: hub.commit(repo, folder / repo.split("/")[1]) for repo in (BASE, ENCODER)}


def adapter_model(bias: float = 1.0) -> Any:
    """The model of an adapter that names its parts, but no commits."""
    model = tiny_sound_llava("llava")
    with torch.no_grad():
        model.model.audio_projection.fc3.bias.fill_(bias)
    model.config.base_model_name_or_path, model.config.audio_encoder_name_or_path = BASE, ENCODER
    return model


def write_adapter(folder: Path, bias: float = 1.0, *, measured: bool = True) -> Path:
    adapter_model(bias).save_pretrained(folder, adapter_only=True)
    tiny_sound_processor("llava").save_pretrained(folder)
    (folder / "checkpoint-3").mkdir(exist_ok=True)
    (folder / "checkpoint-3" / "optimizer.pt").write_bytes(b"x")
    (folder / "training_args.bin").write_bytes(b"x")
    if measured:
        result().save(folder / "retrieval.json")
    return folder


def result() -> EvalResult:
    return EvalResult(
        task="retrieval",
        model="out/align",
        dataset="org/clips, test",
        n=500,
        seed=3,
        metrics={"chance": {"t1": 1.0}, "projected_a2v": {"t1": 45.25}, "best_epoch": {"epoch": 4}},
        error_bars={"projected_a2v": {"interval_95": {"t1": [40.5, 50.0]}}},
        config={"dataset": "org/clips", "loss": "info_nce+distribution", "learning_rate": 5e-5, "max_steps": -1},
    )


def logits(model: Any) -> list[list[float]]:
    """Of fixed inputs."""
    with torch.no_grad():
        return model(**build_inputs(model, SAMPLES)).logits[:, -1].tolist()


__all__ = ["BASE", "ENCODER", "adapter_model", "logits", "result", "write_adapter", "write_parts"]
