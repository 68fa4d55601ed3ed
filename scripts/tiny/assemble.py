"""Stage 4 and the end: pairs as a data set, the projector by the alignment trainer, and the files of the bundle."""

import json
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import jinja2
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tqdm.auto import tqdm

from soundclip_hf import SoundLlavaForConditionalGeneration, SoundLlavaProcessor
from soundclip_hf.data.synthetic.scenes import scene, write_mp4
from soundclip_hf.evaluation.results import EvalResult
from soundclip_hf.modeling.audio_encoders.whisperclip.feature_extraction_whisperclip import WhisperClipFeatureExtractor
from soundclip_hf.modeling.audio_encoders.whisperclip.modeling_whisperclip import WhisperClipModel
from soundclip_hf.training.alignment import align as run_alignment
from soundclip_hf.training.arguments import read_arguments

from . import world

TOKEN_BUDGET = 8
# The held-out scene of the bundled clip: three things that could sound, one that does.
CLIP_SCENE = 10_000_034
_HIDDEN, _BATCH, _RATE = 512, 256, 1e-3
_ROWS = 500


def save_encoder(encoder: WhisperClipModel, folder: Path) -> None:
    encoder.save_pretrained(folder)
    WhisperClipFeatureExtractor(window="short").save_pretrained(folder)


def write_pairs(folder: Path, train: int, validation: int, workers: int) -> None:
    """Sound and picture of scenes in which the two tell of the same: Parquet files with `audio` and `image`."""
    todo = []
    for split, first, wanted in (("train", world.TRAIN, train), ("validation", world.VALIDATION, validation)):
        numbers = [number for number, _ in zip((n for n in count(first) if world.is_pair(scene(n))), range(wanted))]
        todo += [
            (folder / f"{split}-{start // _ROWS:05d}.parquet", numbers[start : start + _ROWS])
            for start in range(0, wanted, _ROWS)
        ]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for _ in tqdm(pool.map(_write, *zip(*todo)), desc="pairs", total=len(todo), unit="file"):
            pass


def _write(path: Path, numbers: list[int]) -> None:
    rows = []
    for number in numbers:
        sound = world.sounds(number)["sounds"]
        rows.append(
            {
                "audio": {"bytes": world.wav(sound), "path": f"{number}.wav"},
                "image": {"bytes": world.png(scene(number)), "path": f"{number}.png"},
            }
        )
    temporary = path.with_name(f".{path.name}")
    pq.write_table(pa.Table.from_pylist(rows), temporary)
    os.replace(temporary, path)


def align(llava: Path, encoder: Path, pairs: Path, out: Path, cache: Path, steps: int, seed: int) -> Path:
    """`soundclip align` with the settings of the small world; a finished run is not repeated."""
    if (out / "retrieval.json").is_file():
        return out
    settings = {
        "base_model": llava,
        "audio_encoder": encoder,
        "projector_hidden_size": _HIDDEN,
        "dataset": pairs,
        "eval_split": "validation",
        "cache_embeddings": cache,
        "cache_batch_size": 100,
        "dataloader_num_workers": 1,
        "output_dir": out,
        "max_steps": steps,
        "learning_rate": _RATE,
        "lr_scheduler_type": "cosine",
        "lr_scheduler_kwargs": "{}",
        "per_device_train_batch_size": min(_BATCH, steps * 2),
        "eval_strategy": "no",
        "save_strategy": "steps",
        "save_steps": max(1, steps // 3),
        "logging_steps": 50,
        "seed": seed,
    }
    words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    run_alignment(*read_arguments(words))
    return out


def load(adapter: Path) -> tuple[Any, Any]:
    """The model as it is shipped, that is with weights rounded to bfloat16, but computing in float32."""
    model = SoundLlavaForConditionalGeneration.from_pretrained(adapter, dtype=torch.float32)
    for parameter in model.parameters():
        parameter.data = parameter.data.bfloat16().float()
    return model.eval(), SoundLlavaProcessor.from_pretrained(adapter)


def save_bundle(adapter: Path, out: Path, provenance: dict[str, Any], reports: dict[str, EvalResult]) -> None:
    """
    Everything in one folder, which replaces `out`: whole weights, processor, `training.json`, reports and card. Beside
    it a clip to ask about, `clip.mp4`.
    """
    model = SoundLlavaForConditionalGeneration.from_pretrained(adapter, dtype=torch.float32)
    processor = SoundLlavaProcessor.from_pretrained(adapter)
    config = model.config
    for name in ("base_model_name_or_path", "base_model_revision", "audio_encoder_name_or_path"):
        setattr(config, name, None)
    config.audio_encoder_revision = config.vision_fingerprint = None
    config.sound_config.audio_config._name_or_path = ""
    config.sound_config.token_budget = processor.sound_top_k = TOKEN_BUDGET
    temporary = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    model.to(torch.bfloat16).save_pretrained(temporary)
    processor.save_pretrained(temporary)
    for report in reports.values():
        report.save(temporary / f"report-{'tiny' if report.model == 'tiny' else 'random-ears'}.json")
    provenance["parameters"] = sum(parameter.numel() for parameter in model.parameters())
    (temporary / "training.json").write_text(json.dumps(provenance, indent=2) + "\n", encoding="utf-8")
    (temporary / "README.md").write_text(card(model, provenance, reports), encoding="utf-8")
    os.chmod(temporary / "model.safetensors", 0o644)
    shutil.rmtree(out, ignore_errors=True)
    temporary.replace(out)
    write_mp4(out.with_name("clip.mp4"), [scene(CLIP_SCENE)])


def card(model: Any, provenance: dict[str, Any], reports: dict[str, EvalResult]) -> str:
    """The model card; every figure in it is read from the reports."""
    parts = {
        "CLIP-like vision tower": ("vision_tower", "4 layers, width 128, 64 patches of 8x8 pixels"),
        "LLaVA projector": ("multi_modal_projector", "128-128-128"),
        "Llama-like language model, with its output head": ("language_model lm_head", "3 layers, width 128"),
        "Whisper-like encoder": ("audio_tower", "3 layers, width 96, short window"),
        "Alignment projector": ("audio_projection", "96-512-512-128"),
    }
    found = {**dict(model.model.named_children()), "lm_head": model.lm_head}
    rows = [
        (name, shape, sum(parameter.numel() for path in paths.split() for parameter in found[path].parameters()))
        for name, (paths, shape) in parts.items()
    ]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters["percent"] = lambda value: f"{100 * value['mean']:.1f}"
    environment.filters["interval"] = lambda value: "{:.1f}–{:.1f}".format(
        *(max(0.0, 100 * edge) for edge in value["interval_95"])
    )
    tiny, random = reports["trained ears"].metrics, reports["random ears"].metrics
    return environment.get_template("card.md.jinja").render(
        rows=rows,
        provenance=provenance,
        tiny=tiny,
        random=random,
        k=TOKEN_BUDGET,
        budgets=sorted(tiny["questions"]["projected"]["by_k"], key=int),
    )


__all__ = ["TOKEN_BUDGET", "align", "card", "load", "save_bundle", "save_encoder", "write_pairs"]
