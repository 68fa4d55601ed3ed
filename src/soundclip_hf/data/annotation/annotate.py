"""Adds captions, written by models that see or hear, to rows without captions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..ave2.schema import complete
from ..inference.asking import Outcome, iterate
from ..inference.server import Server
from .captioning import Captioning
from .model_run import ModelRun


@dataclass(frozen=True)
class Annotation:
    """One row with its captions.

    Attributes:
        row: Complete. Its column `extra` is JSON that has, under "captions", the model and the prompt of each caption.
        failures: Step -> why there is no caption: "no_evidence", "server", "refused", "budget" or "unusable".
        cached: Whether no request had to be sent.
    """

    row: dict[str, Any]
    failures: Mapping[str, str]
    cached: bool = False


@dataclass
class Annotator(ModelRun[Annotation]):
    """Asks models for the captions of clips.

    Attributes:
        captioners: Step, such as "video_caption" or "audio_caption" -> the server to ask, and with which prompt. A row
            that has the first column of a step already does not need it. Steps that ask one server share its limits.
        cache, dead_letters, earlier, spent, requests: As of `ModelRun`.
    """

    captioners: Mapping[str, tuple[Server, Captioning]]
    cache: str | Path | None = None
    dead_letters: str | Path | None = None
    earlier: Mapping[tuple[str, str], int] = field(default_factory=dict)
    spent: float = field(default=0.0, init=False)
    requests: int = field(default=0, init=False)

    def annotate(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[Annotation]:
        """Caption rows, many at a time. They come back in order, and are read as needed.

        Raises:
            SettingError, ServerError: As of `ModelRun.stream`.
        """
        return iterate(self.stream(rows))

    def prompts(self) -> Mapping[str, tuple[Server, Captioning]]:
        return self.captioners

    def steps(self, row: Mapping[str, Any]) -> list[str]:
        return [step for step, (_, prompt) in self.captioners.items() if not row.get(prompt.columns[0])]

    def result(self, row: Mapping[str, Any], outcomes: Mapping[str, Outcome]) -> Annotation:
        columns: dict[str, Any] = {}
        sources: dict[str, Any] = {}
        for step, outcome in outcomes.items():
            if outcome.columns is None or outcome.answer is None:
                continue
            prompt = self.captioners[step][1]
            source = {"model": outcome.answer.model, "prompt_id": prompt.prompt_id, "prompt_sha256": prompt.sha256}
            columns |= outcome.columns
            sources |= dict.fromkeys(outcome.columns, source)
        extra = {"extra": _with_sources(row.get("extra"), sources)} if sources else {}
        failures = {step: outcome.failure for step, outcome in outcomes.items() if outcome.failure}
        cached = not failures and not any(outcome.attempts for outcome in outcomes.values())
        return Annotation(complete({**row, **columns, **extra}), failures, cached)


def _with_sources(extra: str | None, sources: dict[str, Any]) -> str:
    """`extra` with the sources of captions; what was in it stays."""
    try:
        known = json.loads(extra) if extra else {}
    except ValueError:
        known = None
    if not isinstance(known, dict):
        known = {"text": extra}
    known["captions"] = {**(known.get("captions") or {}), **sources}
    return json.dumps(known, ensure_ascii=False, sort_keys=True)


__all__ = ["Annotation", "Annotator"]
