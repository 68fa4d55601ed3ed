"""What a fine-tuning trains: presets by name, LoRA layers in the language model alone, and the table of parameters."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from ...extras import require
from ..settings_parser import ArgumentsError

# The linear layers of a Llama-like decoder, and of no tower. Other language models name theirs in `lora_targets`.
LORA_TARGETS = r".*language_model.*\.(q|k|v|o|gate|up|down)_proj"
# Part of the table -> the modules of a SoundLlava that it counts.
PARTS = {
    "audio_tower": ("audio_tower",),
    "audio_projection": ("audio_projection",),
    "vision_tower": ("vision_tower",),
    "multi_modal_projector": ("multi_modal_projector", "image_newline"),
    "language_model": ("language_model", "lm_head"),
}
LORA = "lora"


@dataclass(frozen=True)
class Preset:
    """
    Attributes:
        parts: Keys of `PARTS` whose own weights are trained.
        lora: Whether LoRA layers are added to the language model, and trained.
        meaning: In words.
    """

    parts: tuple[str, ...]
    lora: bool
    meaning: str


PRESETS = {
    "projector": Preset(("audio_projection",), False, "the sound's projector"),
    "projector+mm_projector": Preset(
        ("audio_projection", "multi_modal_projector"), False, "the sound's projector and LLaVA's own"
    ),
    "lora": Preset((), True, "LoRA layers in the language model"),
    "lora+projector": Preset(
        ("audio_projection",), True, "LoRA layers in the language model, and the sound's projector"
    ),
    "full-lm": Preset(("language_model",), False, "every weight of the language model"),
}


@dataclass(frozen=True)
class LoraSettings:
    """
    Attributes:
        r, alpha, dropout: Of `peft.LoraConfig`.
        targets: A regular expression for the whole names of modules.
    """

    r: int = 16
    alpha: int = 32
    dropout: float = 0.05
    targets: str = LORA_TARGETS


def apply_preset(model: nn.Module, name: str, lora: LoraSettings | None = None) -> None:
    """
    Freeze a SoundLlava, and thaw or add what the preset trains.

    LoRA layers are in float32, whatever the precision of the model.

    Args:
        model: A `SoundLlavaForConditionalGeneration`; also on the meta device.
        name: A key of `PRESETS`.

    Raises:
        ArgumentsError: For an unknown preset; if `lora.targets` matches nothing, or a module outside the language
            model.
        NotInstalledError: If the preset adds LoRA layers and PEFT is not installed.
    """
    preset = find_preset(name)
    model.requires_grad_(False)
    if preset.lora:
        _add_lora(model, lora or LoraSettings())
    for key, parameter in model.named_parameters():
        part = part_of(key)
        if part == LORA or (part in preset.parts and parameter.is_floating_point()):
            parameter.requires_grad_(True)


def find_preset(name: str) -> Preset:
    """
    Raises:
        ArgumentsError: If there is none of this name; all are listed.
    """
    if name not in PRESETS:
        listed = "; ".join(f"{known!r} ({preset.meaning})" for known, preset in PRESETS.items())
        raise ArgumentsError(f"preset={name!r}: is unknown; there are {listed}")
    return PRESETS[name]


def part_of(key: str) -> str:
    """The row of the table that a parameter of this name is counted in."""
    names = key.split(".")
    if any(name.startswith("lora_") for name in names):
        return LORA
    return next((part for part, modules in PARTS.items() if any(name in names for name in modules)), "other")


def _add_lora(model: nn.Module, settings: LoraSettings) -> None:
    require("peft", what="a preset with LoRA", extra="train")
    from peft import LoraConfig, inject_adapter_in_model

    is_meta = all(parameter.is_meta for parameter in model.parameters())
    config = LoraConfig(
        r=settings.r, lora_alpha=settings.alpha, lora_dropout=settings.dropout, target_modules=settings.targets
    )
    try:
        inject_adapter_in_model(config, model, low_cpu_mem_usage=is_meta)
    except ValueError as error:
        raise ArgumentsError(f"lora_targets={settings.targets!r}: {' '.join(str(error).split())}") from error
    own = [key for key, _ in model.named_parameters() if part_of(key) == LORA]
    stray = sorted(key for key in own if "language_model" not in key.split("."))
    if stray:
        raise ArgumentsError(
            f"lora_targets={settings.targets!r}: matches {len(stray)} weights outside the language model, such as "
            f"{stray[0]}; name its layers alone, as {LORA_TARGETS!r} does"
        )
    for key, parameter in model.named_parameters():
        if part_of(key) == LORA:
            parameter.data = parameter.data.float()


@dataclass(frozen=True)
class PartRow:
    """
    A row of the table of parameters.

    Attributes:
        parameters, trained: Numbers of parameters.
        bytes: Of all of them; 4-bit weights count as they are packed.
    """

    part: str
    parameters: int
    trained: int
    bytes: int


def parameter_table(model: nn.Module) -> list[PartRow]:
    """One row for each part of the model that has parameters, in the order of `PARTS`, LoRA and others last."""
    rows: dict[str, list[int]] = {}
    for key, parameter in model.named_parameters():
        row = rows.setdefault(part_of(key), [0, 0, 0])
        count = _count(parameter)
        row[0] += count
        row[1] += count if parameter.requires_grad else 0
        row[2] += parameter.numel() * parameter.element_size()
    order = [*PARTS, LORA, "other"]
    return [PartRow(part, *rows[part]) for part in sorted(rows, key=order.index)]


def _count(parameter: torch.Tensor) -> int:
    # bitsandbytes packs two weights of 4 bits into a byte.
    state: Any = getattr(parameter, "quant_state", None)
    return parameter.numel() if state is None else int(torch.Size(state.shape).numel())


def table_text(rows: Iterable[PartRow]) -> str:
    """The table as lines of text, with its sum and the share that is trained."""
    rows = list(rows)
    total, trained = sum(row.parameters for row in rows), sum(row.trained for row in rows)
    lines = [f"{'part':<22}{'parameters':>16}{'trained':>16}"]
    lines += [f"{row.part:<22}{row.parameters:>16,}{row.trained:>16,}" for row in rows]
    share = 100 * trained / max(total, 1)
    return "\n".join([*lines, f"{'all':<22}{total:>16,}{trained:>16,} ({share:.3g} %)"])


def as_dicts(rows: Iterable[PartRow]) -> list[dict[str, Any]]:
    return [asdict(row) for row in rows]


__all__ = [
    "LORA",
    "LORA_TARGETS",
    "PARTS",
    "PRESETS",
    "LoraSettings",
    "PartRow",
    "Preset",
    "apply_preset",
    "as_dicts",
    "find_preset",
    "parameter_table",
    "part_of",
    "table_text",
]
