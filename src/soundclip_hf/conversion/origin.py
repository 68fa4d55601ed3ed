"""What every origin shares: a key map from our names to the original ones, read strictly in both directions."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import FeatureExtractionMixin, PreTrainedModel
from transformers.utils import logging

logger = logging.get_logger(__name__)

_LISTED = 8

# Which checkpoint a state dict is of, by an entry that only this one has; the first that matches.
_SIGNATURES = (
    ("imagebind", r"^modality_trunks\.audio\."),
    ("imagebind (without its audio trunk)", r"^modality_(trunks|preprocessors|heads)\."),
    ("audioclip", r"^audio\.fbsp\."),
    ("wav2clip", r"^audio_encoder\.(layer1|conv1|bn1|spectrogram)\."),
    ("clap", r"^audio_model\.audio_encoder\."),
    ("LAION's CLAP under its original names (convert it to transformers first)", r"^(module\.)?audio_branch\."),
    ("msclap", r"(^|\.)(caption_encoder|audio_encoder\.base)\."),
    ("whisper", r"^(model\.)?encoder\.conv1\.weight$"),
    ("OpenAI's Whisper under its original names (convert it to transformers first)", r"^encoder\.blocks\.0\.attn\."),
)


@dataclass(frozen=True)
class Origin:
    r"""
    One original checkpoint format.

    Attributes:
        name (`str`): Name of the encoder, as `from_original` takes it.
        model_type (`str`): That of the configuration of our model.
        build: Makes model and feature extractor for a state dict; keyword arguments change the configuration.
        rules: Pairs (pattern, replacement), our key to the original one; the first whose pattern matches at the start
            of the key is applied.
        ignored (`str`): Pattern of original keys that belong to other parts of the checkpoint.
        constants: Original entries that a formula fixes and our model does not store. Where a checkpoint has one it
            must have this value.
        fixed (`str`): Pattern of original entries that our model builds by itself, so that a checkpoint may lack them;
            where it has one it must have this value.
        ours (`str`): Pattern of entries of our model that no original has.
        normalise: Brings variants of the original names to one.
    """

    name: str
    model_type: str
    build: Callable[..., tuple[PreTrainedModel, FeatureExtractionMixin]]
    rules: tuple[tuple[str, str], ...]
    ignored: str = r"(?!)"
    constants: Callable[[], dict[str, Tensor]] = dict
    fixed: str = r"(?!)"
    ours: str = r"(?!)"
    normalise: Callable[[Mapping[str, Any]], Mapping[str, Any]] = field(default=lambda state: state)

    def original_key(self, key: str) -> str:
        """The original name of one of our entries."""
        for pattern, replacement in self.rules:
            renamed, count = re.subn(f"^{pattern}", replacement, key)
            if count:
                return renamed
        raise KeyError(f"{self.name}: no rule gives {key} an original name.")

    def check_kind(self, state: Mapping[str, Any]) -> None:
        """Raise `ValueError` if these are not weights of this encoder, saying what they look like."""
        seen = looks_like(state)
        if seen is None or seen.split(" ")[0] != self.name or "(" in seen:
            first = ", ".join(list(state)[:3]) or "none at all"
            raise ValueError(
                f"This is no checkpoint of {self.name}: "
                + (f"it looks like {seen}." if seen else f"its entries are those of no encoder known here ({first} …).")
            )

    def convert(self, state: Mapping[str, Any], ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """
        Rename an original state dict to `ours`.

        Raises:
            ValueError: If entries are missing, unknown, or of another shape; all of them are named in one message.
        """
        state = self.normalise(state)
        names = {self.original_key(key): key for key in ours if not re.match(self.ours, key)}
        built = {key: ours[own] for key, own in names.items() if re.search(self.fixed, key)}
        constants = {**self.constants(), **built}
        ignored = [key for key in state if key not in names and re.match(self.ignored, key)]
        unknown = [key for key in state if key not in names and key not in constants and key not in set(ignored)]
        problems = {
            "missing": [key for key in names if key not in state and key not in built],
            "unknown": unknown,
            "of another shape": [
                f"{key} {tuple(state[key].shape)} for {tuple(ours[own].shape)}"
                for key, own in names.items()
                if key in state and state[key].shape != ours[own].shape and not _scalars(state[key], ours[own])
            ],
            "of another value than the formula's": [
                key for key, value in constants.items() if key in state and not _equal(state[key], value)
            ],
        }
        if any(problems.values()):
            unfit = "; ".join(f"{len(keys)} {what}: {_listed(keys)}" for what, keys in problems.items() if keys)
            raise ValueError(f"The {self.name} checkpoint does not fit. Entries {unfit}.")
        if ignored:
            parts = sorted({".".join(key.split(".")[:2]) for key in ignored})
            logger.warning(
                f"{self.name}: {len(ignored)} of {len(state)} entries belong to other parts of the checkpoint and "
                f"were left behind ({_listed(parts)})."
            )
        kept = {own: value for own, value in ours.items() if re.match(self.ours, own)}
        return {**kept, **{own: state.get(key, ours[own]).reshape(ours[own].shape) for key, own in names.items()}}

    def to_original(self, model: PreTrainedModel) -> dict[str, Tensor]:
        """The state dict of `model` under its original names, constants included; tensors are not copied."""
        state = model.state_dict()
        renamed = {self.original_key(key): state[key] for key in state if not re.match(self.ours, key)}
        return {**renamed, **self.constants()}


def looks_like(state: Mapping[str, Any]) -> str | None:
    """Name of the encoder whose original state dict this is, as far as its keys tell."""
    return next((name for name, pattern in _SIGNATURES if any(re.search(pattern, key) for key in state)), None)


def _scalars(stored: Tensor, own: Tensor) -> bool:
    # Some tools save a number as an array of one.
    return own.ndim == 0 and stored.numel() == 1


def _equal(stored: Tensor, value: Tensor) -> bool:
    return stored.shape == value.shape and torch.allclose(stored.to(value), value, rtol=0, atol=1e-6)


def _listed(names: list[str]) -> str:
    rest = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {rest} more" if rest > 0 else "")


__all__ = ["Origin", "looks_like"]
