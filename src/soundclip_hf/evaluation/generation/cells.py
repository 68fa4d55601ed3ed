"""The cells of a grid: alignments, budgets and patch modes under which a model captions all samples."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import product

from .answering import AnswerSettings

_LONGEST_NAME = 80
PATCHES = ("zero", "drop")


@dataclass(frozen=True)
class Cell:
    """
    Attributes:
        alpha: Weight of the raw embedding: 1 is raw, 0 projected.
        top_k: Patches to keep beside the sound.
        patches: "zero" or "drop", for the other patches.

    Raises:
        ValueError: If a value is not allowed.
    """

    alpha: float
    top_k: int
    patches: str = "zero"

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha={self.alpha}: must be in 0..1 (0 is projected, 1 is raw)")
        if self.top_k < 0:
            raise ValueError(f"top_k={self.top_k}: must be at least 0")
        if self.patches not in PATCHES:
            raise ValueError(f"patches={self.patches!r}: must be one of {', '.join(PATCHES)}")

    @property
    def alignment(self) -> str:
        """ "raw", "projected", or "mixed" for an alpha between them."""
        return "raw" if self.alpha == 1 else "projected" if self.alpha == 0 else "mixed"

    @property
    def name(self) -> str:
        """Such as "raw-k150-zero" or "alpha0.25-k15-drop": equal settings have one name."""
        start = f"alpha{self.alpha:g}" if self.alignment == "mixed" else self.alignment
        return f"{start}-k{self.top_k}-{self.patches}"

    def answer_settings(self, max_new_tokens: int, temperature: float, seed: int) -> AnswerSettings:
        return AnswerSettings(
            top_k=self.top_k,
            patches=self.patches,
            alignment="raw" if self.alignment == "raw" else "projected",
            alpha=None if self.alignment == "raw" else self.alpha,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            seed=seed,
        )


def grid(
    alignments: Sequence[str] = (),
    alphas: Sequence[float] = (),
    top_ks: Sequence[int] = (150,),
    patches: Sequence[str] = ("zero",),
) -> list[Cell]:
    """
    All combinations, each once: "projected" is alpha 0, and "raw" is alpha 1.

    Raises:
        ValueError: If there is no alignment and no alpha, no budget or no patch mode, or a value is not allowed.
    """
    values = {"projected": 0.0, "raw": 1.0}
    unknown = [name for name in alignments if name not in values]
    if unknown:
        raise ValueError(f"alignment {unknown[0]!r}: must be one of {', '.join(values)}")
    # Alphas that one name stands for are one alpha.
    mixed = [values[name] for name in alignments] + [float(f"{alpha:g}") for alpha in alphas]
    for name, given in (("alignments and alphas", mixed), ("top_k", top_ks), ("patches", patches)):
        if not given:
            raise ValueError(f"{name}: none given; a grid needs at least one")
    return list(dict.fromkeys(Cell(*combination) for combination in product(mixed, top_ks, patches)))


def model_label(name: str) -> str:
    """A model's id or folder as a part of a file name: "org/model" is "org--model"."""
    label = re.sub(r"[^\w.-]+", "-", name.strip("./~").replace("/", "--")) or "model"
    if len(label) > _LONGEST_NAME:
        label = f"{label[-_LONGEST_NAME:]}-{sha256(name.encode()).hexdigest()[:8]}"
    return label


__all__ = ["PATCHES", "Cell", "grid", "model_label"]
