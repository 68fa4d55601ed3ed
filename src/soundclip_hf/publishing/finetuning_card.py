"""What the card of a fine-tuned model says: what was trained on what, and the answers before and after."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..evaluation.results import EvalResult
from ..training.finetuning.presets import PRESETS
from .card_text import inline, number_text

# Settings of a fine-tuning, in the order of the card; the file of the result has all of them.
_DATA = ("dataset", "dataset_config", "dataset_revision", "train_split")
_LORA = ("lora_r", "lora_alpha", "lora_dropout")
_OTHERS = (
    *("quantization", "sound_alignment", "sound_patches", "sound_top_k", "max_length", "batch_size"),
    *("gradient_accumulation_steps", "num_train_epochs", "learning_rate", "lr_scheduler_type", "warmup_steps", "optim"),
    *("weight_decay", "max_grad_norm", "bf16", "fp16", "seed"),
)


def is_finetuning(result: EvalResult) -> bool:
    """Whether a result is the `answers.json` of `soundclip finetune`."""
    parts = (result.metrics.get("before"), result.metrics.get("after"))
    return "preset" in result.config and all(isinstance(part, Mapping) for part in parts)


def finetuning_settings(result: EvalResult) -> dict[str, Any]:
    """
    What was trained, for the card's template.

    Returns:
        `preset`; `meaning`, what the preset trains, None for an unknown one; `trains_llm`; and `rows`, a text for each
        setting.
    """
    config, metrics = result.config, result.metrics
    preset = PRESETS.get(str(config["preset"]))
    chosen = [*_DATA, "steps", *(_LORA if preset is None or preset.lora else ()), *_OTHERS]
    if isinstance(config.get("max_steps"), int) and config["max_steps"] > 0:
        chosen.remove("num_train_epochs")  # the trainer has ignored it
    values = {**config, "steps": metrics.get("steps")}
    rows = {name: values[name] for name in chosen if values.get(name) not in (None, False, -1, "none")}
    for name, meaning in (("eval_loss", "loss on held-out rows"), ("rows_left_out", "rows that could not be used")):
        if metrics.get(name):
            rows[meaning] = number_text(metrics[name])
    return {
        "preset": inline(config["preset"]),
        "meaning": None if preset is None else preset.meaning,
        "trains_llm": preset is not None and (preset.lora or "language_model" in preset.parts),
        "rows": {name: inline(value) for name, value in rows.items()},
    }


def answers_table(result: EvalResult) -> list[dict[str, str]]:
    """Rows of the answers before and after: `name`, and `before` and `after` as texts with the 95 % interval."""
    numbers = result.numbers()
    names = dict.fromkeys(name.partition(".")[2] for name in numbers if name.startswith(("before.", "after.")))
    rows = []
    for name in names:
        group, _, metric = name.partition(".")
        shown = metric if group == "audit" else f"{metric} ({group})"
        cells = {side: _cell(result, f"{side}.{name}", numbers) for side in ("before", "after")}
        rows.append({"name": inline(shown), **cells})
    return rows


def after_training(result: EvalResult) -> EvalResult:
    """The answers after the training alone, for the metadata of the card: scores by alignment, such as "raw.exact"."""
    metrics = {name: scores for name, scores in result.metrics["after"].items() if name != "audit"}
    bars = result.error_bars.get("after")
    return replace(result, metrics=metrics, error_bars=bars if isinstance(bars, dict) else {})


def _cell(result: EvalResult, name: str, numbers: Mapping[str, float]) -> str:
    if name not in numbers:
        return "–"
    pair = result.interval(name)
    interval = f" ({number_text(pair[0])} – {number_text(pair[1])})" if pair else ""
    return number_text(numbers[name]) + interval


__all__ = ["after_training", "answers_table", "finetuning_settings", "is_finetuning"]
