"""Asks the judge about answers, many at a time, and keeps its scores; a score that fails is null."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...data.annotation.model_run import ModelRun
from ...data.inference.asking import Outcome, iterate
from ...data.inference.server import Server
from ...text_tables import json_lines, json_value
from .answers import GivenAnswer
from .prompt import DIMENSIONS, HIGHEST, JUDGE_SCALE, LOWEST, AnswerRubric
from .references import Reference

STEP = "judge"
NO_ANSWER = "no_answer"
JUDGED: dict[str, Any] = dict.fromkeys(
    f"{dimension}_{part}" for dimension in DIMENSIONS for part in ("score", "reason")
)


@dataclass(frozen=True)
class JudgedAnswer:
    """
    One answer with its scores.

    Attributes:
        row: `answer_id`, `id`, `question`, `answer`, the settings, `<dimension>_score` (1 to 5 or null) and
            `<dimension>_reason`, `failure` and `detail`, and the judge: `judge_model`, `judge_prompt_id`,
            `judge_prompt_sha256`, `judge_seed`, `judge_raw`.
        given: The answer.
        group: The video that the clip is cut from.
        cached: Whether no request had to be sent.
    """

    row: dict[str, Any]
    given: GivenAnswer
    group: str
    cached: bool = False

    @property
    def failure(self) -> str | None:
        """
        None, or why there are no scores: "no_answer" (it is empty, so the judge was not asked), "no_evidence" (nothing
        is known about the clip), "unusable" (the judge's reply does not fit), "refused", "server" or "budget".
        """
        found: str | None = self.row["failure"]
        return found


@dataclass
class AnswerJudge(ModelRun[JudgedAnswer]):
    """Asks a model to score answers.

    Attributes:
        server: The model.
        rubric: The prompt.
        cache, spent, requests: As of `ModelRun`.
    """

    server: Server
    rubric: AnswerRubric = field(default_factory=AnswerRubric)
    cache: str | Path | None = None
    dead_letters: None = field(default=None, init=False)
    earlier: Mapping[tuple[str, str], int] = field(default_factory=dict, init=False)
    spent: float = field(default=0.0, init=False)
    requests: int = field(default=0, init=False)

    def judge(self, answers: Iterable[tuple[GivenAnswer, Reference]]) -> Iterator[JudgedAnswer]:
        """Judge answers, many at a time. They come back in order, and are read as needed.

        Raises:
            ServerError: As of `ModelRun.stream`.
        """
        rows = (
            {
                "question": given.question,
                "answer": given.answer,
                "references": dict(reference.texts),
                "picture": reference.picture,
                "given": given,
                "group": reference.group,
            }
            for given, reference in answers
        )
        return iterate(self.stream(rows))

    def prompts(self) -> Mapping[str, tuple[Server, AnswerRubric]]:
        return {STEP: (self.server, self.rubric)}

    def steps(self, row: Mapping[str, Any]) -> list[str]:
        return [STEP] if row["answer"] else []

    def result(self, row: Mapping[str, Any], outcomes: Mapping[str, Outcome]) -> JudgedAnswer:
        outcome = outcomes.get(STEP) or Outcome(None, failure=NO_ANSWER, detail="the answer is empty")
        given: GivenAnswer = row["given"]
        judged = {
            "answer_id": given.answer_id,
            "id": given.id,
            "question": row["question"],
            "answer": row["answer"],
            **given.settings,
            **(outcome.columns or JUDGED),
            "failure": outcome.failure,
            "detail": outcome.detail or None,
            "judge_model": outcome.answer.model if outcome.answer else self.server.model,
            "judge_prompt_id": self.rubric.prompt_id,
            "judge_prompt_sha256": self.rubric.sha256,
            "judge_seed": self.server.seed,
            "judge_raw": outcome.text,
        }
        return JudgedAnswer(judged, given, row["group"], outcome.columns is not None and not outcome.attempts)


def read_judged(path: str | Path) -> list[dict[str, Any]]:
    """
    The rows of a file of judged answers, whose `JUDGE_SCALE.columns` hold whole numbers from 1 to 5 or null.

    Raises:
        ValueError: If a line is no JSON object, or a score is something else.
    """
    rows = []
    for number, line in json_lines(path):
        try:
            row = json_value(line)
            if not isinstance(row, dict):
                raise ValueError("is no JSON object")
            for column in JUDGE_SCALE.columns:
                score = row.get(column)
                if type(score) not in (int, type(None)) or (score is not None and not LOWEST <= score <= HIGHEST):
                    raise ValueError(f"{column} is {score!r:.40}, expected a whole number from {LOWEST} to {HIGHEST}")
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
        rows.append(row)
    return rows


__all__ = ["JUDGED", "NO_ANSWER", "AnswerJudge", "JudgedAnswer", "read_judged"]
