"""Writes the card of a published model: how to load it, what it is made of, what was measured, and its limits."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..evaluation.results import EvalResult
from ..modeling.checkpoint_files import read_shapes
from ..modeling.checkpoints.peft_adapter import PEFT_CONFIG, PEFT_WEIGHTS
from .card_text import inline, number_text, render, size_text
from .finetuning_card import after_training, answers_table, finetuning_settings, is_finetuning
from .model_folder import ModelFolder
from .parts import Part, is_repository

# Settings of an alignment, in the order of the card; the file of the result has all of them.
_TRAINING = (
    *("dataset", "dataset_config", "dataset_revision", "train_split", "loss", "distribution_weight", "temperature"),
    *("learnable_temperature", "batch_size", "num_train_epochs", "max_steps", "learning_rate", "lr_scheduler_type"),
    *("optim", "weight_decay", "seed"),
)

# Data in one file, such as data/rows.jsonl, which could be read as the name of a repository.
_DATA_FILES = {".json", ".jsonl", ".parquet", ".csv", ".arrow"}


def model_card(
    folder: ModelFolder,
    repo: str,
    *,
    revision: str = "main",
    parts: Sequence[Part] = (),
    license_name: str | None = None,
    restricted: Mapping[str, str] | None = None,
    tags: Sequence[str] = (),
) -> str:
    """
    The text of README.md.

    Args:
        folder: What is published; its results are shown.
        repo: `org/name`, for the examples.
        revision: Branch, for the examples.
        parts: Base model and audio encoder.
        license_name: As the Hub spells it; None states none.
        restricted: Weights that may not be used commercially, with their licences.
        tags: Besides those of every card.
    """
    from huggingface_hub import ModelCardData

    name = repo.split("/")[-1]
    dual = folder.form == "dual encoder"
    results = {file: public_result(result, repo) for file, result in folder.results.items()}
    recipe = next((result.config for result in results.values() if "loss" in result.config), {})
    tuned = next((result for result in results.values() if is_finetuning(result)), None)
    measured_last = [after_training(one) if is_finetuning(one) else _shown(one) for one in results.values()]
    index = [entry for result in measured_last if result.numbers() for entry in result.to_model_index()[0]["results"]]
    measured: dict[str, Any] = {"model-index": [{"name": name, "results": index}]} if index else {}
    about = ModelCardData(
        **measured,
        base_model=[part.repo for part in parts] or None,
        base_model_relation="adapter" if folder.form == "adapter" else None,
        datasets=[*_datasets(recipe), *_datasets({} if tuned is None else tuned.config)] or None,
        library_name="soundclip-hf",
        license=license_name,
        pipeline_tag="feature-extraction" if dual else "any-to-any",
        tags=["soundclip", "audio-visual", *(() if dual else ("llava",)), *tags],
    )
    sound = folder.sound_config
    return render(
        "model_card.md.j2",
        about,
        title=name,
        repo=repo,
        revision=None if revision == "main" else revision,
        form=folder.form,
        parts=[replace(part, license=None if part.license is None else inline(part.license)) for part in parts],
        encoder=sound.audio_config.model_type,
        sound=sound,
        projector_parameters=_count(folder, "audio_projection."),
        size=size_text(sum(path.stat().st_size for path in [*folder.weights.values(), *folder.peft.values()])),
        recipe={key: inline(recipe[key]) for key in _TRAINING if recipe.get(key) not in (None, False, -1)},
        has_curve="curve.png" in folder.others,
        tuned=None if tuned is None else finetuning_settings(tuned),
        started_from=None if tuned is None else _started_from(tuned),
        lora=_lora(folder),
        results=[table for file, result in results.items() if (table := _table(file, result))["rows"]],
        license_name=None if license_name is None else inline(license_name),
        restricted={name: inline(terms) for name, terms in (restricted or {}).items()},
    )


def public_result(result: EvalResult, repo: str) -> EvalResult:
    """A result as it is published: of the repository, and of no folder of this machine."""
    dataset, *split = result.dataset.split(",", 1)
    config = {
        name: Path(value).name if isinstance(value, str) and value.startswith(("/", "~")) else value
        for name, value in result.config.items()
    }
    for name in ("dataset", "model"):
        if isinstance(config.get(name), str):
            config[name] = _without_path(config[name])
    if isinstance(config.get("media_folder"), str):
        config["media_folder"] = Path(config["media_folder"]).name
    return replace(result, model=repo, dataset=",".join([_without_path(dataset), *split]), config=config)


def _shown(result: EvalResult) -> EvalResult:
    """A result with the numbers that have an interval (all, if none has) and chance."""
    numbers = result.numbers()
    precise = {name for name in numbers if result.interval(name)}
    chosen = {name: value for name, value in numbers.items() if name in precise or not precise or "chance" in name}
    return replace(result, metrics=_nested(chosen))


def _nested(numbers: Mapping[str, float]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in numbers.items():
        *groups, last = name.split(".")
        place = nested
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = value
    return nested


def _without_path(name: str) -> str:
    """A name on the Hub as it is; of a file or folder, its own name alone."""
    is_file = Path(name).suffix in _DATA_FILES
    return Path(name).name if is_file or not is_repository(name) else name


def _datasets(recipe: Mapping[str, Any]) -> list[str]:
    name = recipe.get("dataset")
    return [name] if isinstance(name, str) and "/" in name and is_repository(name) else []


def _started_from(result: EvalResult) -> str | None:
    """The repository of the model that a fine-tuning began with; None for a folder of another machine."""
    name = result.config.get("model")
    return name if isinstance(name, str) and "/" in name and is_repository(name) else None


def _table(file: str, result: EvalResult) -> dict[str, Any]:
    rows: list[dict[str, str]] = answers_table(result) if is_finetuning(result) else []
    for name, value in () if is_finetuning(result) else _shown(result).numbers().items():
        pair = result.interval(name)
        interval = f"{number_text(pair[0])} – {number_text(pair[1])}" if pair else ""
        rows.append({"name": inline(name), "value": number_text(value), "interval": interval})
    about = {
        "file": file,
        "finetuning": is_finetuning(result),
        "task": inline(result.task),
        "dataset": inline(result.dataset),
    }
    return {**about, "n": result.n, "seed": result.seed, "created": inline(result.created or ""), "rows": rows}


def _lora(folder: ModelFolder) -> dict[str, Any] | None:
    """What the card says of a PEFT adapter."""
    if not folder.peft:
        return None
    about = json.loads(folder.peft[PEFT_CONFIG].read_text(encoding="utf-8"))
    shapes = read_shapes([str(folder.peft[PEFT_WEIGHTS])])
    return {
        "kind": str(about.get("peft_type", "PEFT")),
        "rank": about.get("r"),
        "parameters": sum(math.prod(shape) for shape in shapes.values()),
    }


def _count(folder: ModelFolder, part: str) -> int:
    return sum(math.prod(shape) for key, shape in folder.shapes.items() if part in key)


__all__ = ["model_card", "public_result"]
