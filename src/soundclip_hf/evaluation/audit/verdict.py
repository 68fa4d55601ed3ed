"""Which fault the numbers of an audit are consistent with, in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

# Share of the effect of a swapped sound from which on the effect of the batch is no matter of rounding.
_SHARE = 0.1
_NAMED = 3


@dataclass(frozen=True)
class Fault:
    """
    Attributes:
        name: "inputs", "deaf", "presence", "unheard", "token", "pairing" or "batch".
        text: What was seen, and what it is consistent with.
    """

    name: str
    text: str


def tolerance_of(precision: torch.dtype) -> float:
    """
    The largest difference of a log-probability, in nats, that can be rounding: other sounds make batches of other
    lengths, and padding changes sums in their last digits.
    """
    return 1e-3 if precision in (torch.float32, torch.float64) else 0.05


def find_faults(
    rows: Sequence[Mapping[str, Any]], pairing: Sequence[Mapping[str, Any]], tolerance: float
) -> list[Fault]:
    """
    Args:
        rows: Of [`measure`].
        pairing: Of [`check_pairing`]; empty if it was not checked.
        tolerance: Of [`tolerance_of`].
    """
    faults = [*_of_hearing(rows, tolerance)]
    if not faults and "token" in rows[0]["channels"] and not _reached(rows, "token", tolerance):
        faults.append(
            Fault(
                "token",
                "With all patches kept, no answer depends on the sound: its token does not reach the language model, "
                "and the sound only chooses patches. Consistent with a select strategy that drops the first row of a "
                "slot (sound_select_strategy='default').",
            )
        )
    return faults + _of_pairing(rows, pairing, tolerance)


def _of_hearing(rows: Sequence[Mapping[str, Any]], tolerance: float) -> list[Fault]:
    silent, swapped, none = (
        _reached(rows, "total", tolerance, condition) for condition in (("silent",), ("swapped",), ("none",))
    )
    if not silent and not swapped:
        if not none:
            where = (
                "its features are among the inputs, and the model ignores them"
                if _in_inputs(rows)
                else "its tensors are missing from what the model is given"
            )
            return [
                Fault(
                    "inputs",
                    "Every answer is that of the prompt without any sound. Consistent with a sound that is lost on its "
                    f"way: {where}.",
                )
            ]
        if not _in_inputs(rows):
            return [
                Fault(
                    "inputs",
                    "No answer depends on the sound, and neither does any tensor that the model is given. Consistent "
                    "with a processor, or code behind it, that drops the sound or replaces it by zeros.",
                )
            ]
        return [
            Fault(
                "deaf",
                "No answer depends on the sound, though the model is given its features. Consistent with an audio "
                "encoder that is fed zeros, or whose output is not used.",
            )
        ]
    if not swapped:
        return [
            Fault(
                "presence",
                "Answers differ between a sound and silence, but not between two sounds. Consistent with an audio "
                "encoder that says the same of every sound.",
            )
        ]
    unheard = [row["id"] for row in rows if not _reached([row], "total", tolerance)]
    if unheard:
        return [
            Fault(
                "unheard",
                f"In {len(unheard)} of {len(rows)} samples the answer does not depend on the sound ({_some(unheard)}). "
                "Consistent with sounds that are lost in some rows of a batch, or are too short or too long.",
            )
        ]
    return []


def _of_pairing(
    rows: Sequence[Mapping[str, Any]], pairing: Sequence[Mapping[str, Any]], tolerance: float
) -> list[Fault]:
    cells = [cell for row in rows if (cell := row["channels"]["total"].get("swapped")) is not None]
    effect = sum(cell["moved"] for cell in cells) / max(len(cells), 1)

    def matters(found: Mapping[str, Any]) -> bool:
        return found["change"] > tolerance and found["moved"] >= _SHARE * effect

    differ = [row for row in pairing if matters(row["alone"]) or matters(row["reversed"])]
    wrong = [row for row in differ if row["heard"] not in (None, row["id"])]
    if wrong:
        pairs = _some([f"{row['id']} hears {row['heard']}" for row in wrong])
        return [
            Fault(
                "pairing",
                f"In a batch, {len(wrong)} of {len(pairing)} samples are answered with the sound of another one "
                f"({pairs}). Consistent with sounds that are paired with the wrong prompts.",
            )
        ]
    if differ:
        return [
            Fault(
                "batch",
                f"{len(differ)} of {len(pairing)} samples are answered in another way in a batch than alone, or in a "
                f"batch of another order ({_some([row['id'] for row in differ])}). Consistent with sounds or pictures "
                "that are lost or mixed up in a batch, or with padding that the model does not mask.",
            )
        ]
    return []


def _reached(
    rows: Sequence[Mapping[str, Any]],
    channel: str,
    tolerance: float,
    conditions: Sequence[str] = ("silent", "swapped"),
) -> bool:
    """Whether any of the conditions made a difference beyond rounding in any row; True if none could."""
    cells = [cell for row in rows for name in conditions if (cell := row["channels"][channel].get(name)) is not None]
    return not cells or any(cell["change"] > tolerance for cell in cells)


def _in_inputs(rows: Sequence[Mapping[str, Any]]) -> bool:
    return any(row["sound_in_inputs"] for row in rows)


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


__all__ = ["Fault", "find_faults", "tolerance_of"]
