"""Adds scores, reasons, lists of sound sources and the judge's provenance to rows.

A judgement that fails is null: no score is ever made up. A question that was answered before is not asked again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..ave2.schema import REASONS, SCORES, SOURCES, complete
from ..inference.asking import Outcome, iterate
from ..inference.server import Server
from .model_run import ModelRun
from .rubric import Rubric

JUDGED = (*SCORES, *REASONS, *SOURCES, "audio_visual_label")
FAILED: dict[str, Any] = dict.fromkeys(JUDGED)
STEP = "judge"


@dataclass(frozen=True)
class Judgement:
    """One row, judged or not.

    Attributes:
        row: Complete. The judged columns are null if there is no judgement.
        failure: None, or why there is no judgement: "no_evidence", "server", "refused", "budget" or "unusable".
        detail: More about the failure.
        cached: Whether no request had to be sent.
    """

    row: dict[str, Any]
    failure: str | None = None
    detail: str = ""
    cached: bool = False


@dataclass
class Judge(ModelRun[Judgement]):
    """Asks a model to score rows by their captions or by their clips: the rubric decides which.

    Attributes:
        server: The model.
        rubric: The prompt.
        cache, dead_letters, earlier, spent, requests: As of `ModelRun`.
    """

    server: Server
    rubric: Rubric = field(default_factory=Rubric)
    cache: str | Path | None = None
    dead_letters: str | Path | None = None
    earlier: Mapping[tuple[str, str], int] = field(default_factory=dict)
    spent: float = field(default=0.0, init=False)
    requests: int = field(default=0, init=False)

    def judge(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[Judgement]:
        """Judge rows, many at a time. They come back in order, and are read as needed.

        Raises:
            ServerError: As of `ModelRun.stream`.
        """
        return iterate(self.stream(rows))

    def prompts(self) -> Mapping[str, tuple[Server, Rubric]]:
        return {STEP: (self.server, self.rubric)}

    def steps(self, row: Mapping[str, Any]) -> list[str]:
        return [STEP]

    def result(self, row: Mapping[str, Any], outcomes: Mapping[str, Outcome]) -> Judgement:
        outcome = outcomes[STEP]
        provenance = {
            "judge_model": outcome.answer.model if outcome.answer else self.server.model,
            "judge_prompt_id": self.rubric.prompt_id,
            "judge_prompt_sha256": self.rubric.sha256,
            "judge_seed": self.server.seed,
            "judge_mode": self.rubric.mode,
            "judge_raw": outcome.text,
        }
        judged = complete({**row, **provenance, **(outcome.columns or FAILED)})
        return Judgement(judged, outcome.failure, outcome.detail, outcome.columns is not None and not outcome.attempts)


__all__ = ["FAILED", "JUDGED", "Judge", "Judgement"]
