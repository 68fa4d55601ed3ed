"""Writes the card of a published model: how to load it, what it is made of, what was measured, and its limits."""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..evaluation.results import EvalResult
from ..modeling.checkpoint_files import read_shapes
from ..modeling.checkpoints.peft_adapter import PEFT_CONFIG, PEFT_WEIGHTS
from .model_folder import ModelFolder
from .parts import Part, is_repository

TEMPLATE = Path(__file__).parent / "templates" / "model_card.md.j2"
_MARK = re.compile(r"\n<!-- Written by soundclip-hf [^\n]*? \(([0-9a-f]{12})\)[^\n]* -->\n?\Z")
# Cards of transformers, which say nothing about the model.
_BOILERPLATE = (
    "This is the model card of a 🤗 transformers model that has been pushed on the Hub.",
    "<!-- This model card has been generated automatically according to the information the Trainer had access to.",
)
# Settings of an alignment, in the order of the card; the file of the result has all of them.
_TRAINING = (
    *("dataset", "dataset_config", "dataset_revision", "train_split", "loss", "distribution_weight", "temperature"),
    *("learnable_temperature", "batch_size", "num_train_epochs", "max_steps", "learning_rate", "lr_scheduler_type"),
    *("optim", "weight_decay", "seed"),
)


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
    from huggingface_hub import ModelCard, ModelCardData

    name = repo.split("/")[-1]
    dual = folder.form == "dual encoder"
    results = {file: _shown(public_result(result, repo)) for file, result in folder.results.items()}
    recipe = next((result.config for result in results.values() if "loss" in result.config), {})
    index = [
        entry for result in results.values() if result.numbers() for entry in result.to_model_index()[0]["results"]
    ]
    measured: dict[str, Any] = {"model-index": [{"name": name, "results": index}]} if index else {}
    about = ModelCardData(
        **measured,
        base_model=[part.repo for part in parts] or None,
        base_model_relation="adapter" if folder.form == "adapter" else None,
        datasets=_datasets(recipe) or None,
        library_name="soundclip-hf",
        license=license_name,
        pipeline_tag="feature-extraction" if dual else "any-to-any",
        tags=["soundclip", "audio-visual", *(() if dual else ("llava",)), *tags],
    )
    sound = folder.sound_config
    card = ModelCard.from_template(
        about,
        template_str=TEMPLATE.read_text(encoding="utf-8"),
        title=name,
        repo=repo,
        revision=None if revision == "main" else revision,
        form=folder.form,
        parts=[replace(part, license=None if part.license is None else inline(part.license)) for part in parts],
        encoder=sound.audio_config.model_type,
        sound=sound,
        projector_parameters=_count(folder, "audio_projection."),
        size=_size(sum(path.stat().st_size for path in [*folder.weights.values(), *folder.peft.values()])),
        recipe={key: inline(recipe[key]) for key in _TRAINING if recipe.get(key) not in (None, False, -1)},
        has_curve="curve.png" in folder.others,
        lora=_lora(folder),
        results=[_table(file, result) for file, result in results.items()],
        license_name=None if license_name is None else inline(license_name),
        restricted={name: inline(terms) for name, terms in (restricted or {}).items()},
        version=version("soundclip-hf"),
    )
    text = str(card).rstrip() + "\n"
    by = f"Written by soundclip-hf {version('soundclip-hf')} ({_digest(text)})"
    return f"{text}\n<!-- {by}. Later pushes write it again, unless it was edited. -->\n"


def is_generated(text: str) -> bool:
    """Whether a card was written by a program and not edited since, so that it may be written again."""
    if any(words in text for words in _BOILERPLATE):
        return True
    mark = _MARK.search(text)
    return mark is not None and _digest(text[: mark.start()]) == mark[1]


def inline(value: Any) -> str:
    """Text of others inside a line of the card: one line, in which nothing is markup, a link or the end of a cell."""
    text = " ".join(str(value).split())
    for mark, shown in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "&#124;"), ("`", "'"), ("[", "&#91;")):
        text = text.replace(mark, shown)
    return text


def _digest(text: str) -> str:
    return hashlib.sha256(text.strip().encode()).hexdigest()[:12]


def public_result(result: EvalResult, repo: str) -> EvalResult:
    """A result as it is published: of the repository, and of no folder of this machine."""
    dataset, *split = result.dataset.split(",", 1)
    config = {
        name: Path(value).name if isinstance(value, str) and value.startswith(("/", "~")) else value
        for name, value in result.config.items()
    }
    if isinstance(config.get("dataset"), str):
        config["dataset"] = _without_path(config["dataset"])
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
    return name if is_repository(name) else Path(name).name


def _datasets(recipe: Mapping[str, Any]) -> list[str]:
    name = recipe.get("dataset")
    return [name] if isinstance(name, str) and "/" in name and is_repository(name) else []


def _table(file: str, result: EvalResult) -> dict[str, Any]:
    rows = []
    for name, value in result.numbers().items():
        pair = result.interval(name)
        interval = f"{_number(pair[0])} – {_number(pair[1])}" if pair else ""
        rows.append({"name": inline(name), "value": _number(value), "interval": interval})
    about = {"file": file, "task": inline(result.task), "dataset": inline(result.dataset)}
    return {**about, "n": result.n, "seed": result.seed, "created": inline(result.created or ""), "rows": rows}


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} KB"


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "–"


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


__all__ = ["is_generated", "model_card", "public_result"]
