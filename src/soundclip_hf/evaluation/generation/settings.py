"""The settings of an evaluation of captions, as `soundclip eval generation` reads them from a file and its options."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from .captioning import QUESTION
from .cells import Cell, grid
from .references import AUTO, REFERENCES
from .scoring import METRICS, check_metrics


@dataclass(frozen=True)
class GenerationSettings:
    """
    Attributes:
        model: Ids or folders; none is the bundled model.
        data, split, media, limit: See `open_samples`.
        alignments, alphas: Both together are the alignments of the grid; by default raw and projected.
        top_k: Budgets of the grid; none is that of each model.
        patches: Patch modes of the grid.
        question, frame, max_new_tokens, temperature, seed: See `Asked`; `seed` is also that of the bootstrap.
        batch_size: Samples at a time.
        reference, metrics: See `CaptionScoring`.
        bertscore_model, bertscore_layer, bertscore_baseline: See `BertScorer`; the baseline is a number, a path or
            "roberta-large".
        clip, clap: Models of CLIPScore and the CLAP score.
        protocol: A name that results carry in their `config`.

    Raises:
        ValueError: If a value is not allowed.
    """

    model: tuple[str, ...] = ()
    data: str | None = None
    split: str | None = None
    media: str | None = None
    limit: int | None = None
    alignments: tuple[str, ...] = ()
    alphas: tuple[float, ...] = ()
    top_k: tuple[int, ...] = ()
    patches: tuple[str, ...] = ("zero",)
    question: str = QUESTION
    frame: str = "middle"
    max_new_tokens: int = 64
    temperature: float = 0.0
    seed: int = 0
    batch_size: int = 8
    reference: str = AUTO
    metrics: tuple[str, ...] = tuple(METRICS)
    bertscore_model: str | None = None
    bertscore_layer: int | None = None
    bertscore_baseline: Any = None
    clip: str | None = None
    clap: str | None = None
    protocol: str | None = None

    def __post_init__(self) -> None:
        check_metrics(self.metrics)
        if self.reference not in REFERENCES:
            raise ValueError(f"reference={self.reference!r}: must be one of {', '.join(REFERENCES)}")
        for name, least in (("batch_size", 1), ("max_new_tokens", 1), ("limit", 1), ("temperature", 0), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name}={value}: must be at least {least}")
        self.cells((0,))

    @property
    def baseline(self) -> float | str | None:
        """`bertscore_baseline`, as a number where it is one."""
        with suppress(TypeError, ValueError):
            return float(self.bertscore_baseline)
        return self.bertscore_baseline

    def cells(self, default_top_k: Sequence[int]) -> list[Cell]:
        """The grid of a model, with its own budget where none is set."""
        alignments = self.alignments if self.alignments or self.alphas else ("raw", "projected")
        return grid(alignments, self.alphas, self.top_k or default_top_k, self.patches)


__all__ = ["GenerationSettings"]
