"""Answers to held-out questions, and the audit, in the loop of a fine-tuning."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...data.media_columns import source_of
from ...evaluation.audit import AuditSettings, SoundLlavaSubject, audit
from ...evaluation.generation.answering import AnsweringModel, AnswerSettings, generate_answers, prepare
from ...evaluation.samples import Sample, Samples
from ...evaluation.text_metrics.rouge import rouge
from ...evaluation.text_metrics.scores import MetricScore, mean_score
from ...extras import installed
from .conversations import RowError, read_conversation

logger = logging.getLogger("transformers.soundclip_hf.training")


@dataclass(frozen=True)
class Question:
    """
    Attributes:
        row: Its place in the data set.
        messages: The conversation up to the answer.
        answer: What a person wrote.
    """

    row: int
    messages: list[dict[str, Any]]
    answer: str


def read_questions(rows: Sequence[dict[str, Any]], media_folder: Any = None) -> list[Question]:
    """The last answer of each row, and what comes before it; rows that end otherwise are left out."""
    found: list[Question] = []
    for row in rows:
        try:
            messages = read_conversation(row, media_folder)
        except RowError:
            continue
        *asked, last = messages
        text = _text(last.get("content")).strip()
        if asked and last["role"] == "assistant" and text:
            found.append(Question(int(row.get("row", len(found))), asked, text))
    return found


def answer_questions(
    questions: Sequence[Question],
    answering: AnsweringModel,
    settings: AnswerSettings,
    *,
    batch_size: int = 8,
    seed: int = 0,
) -> tuple[dict[str, MetricScore], list[str]]:
    """
    Answer questions greedily, and compare the answers with those that people wrote.

    Args:
        seed: Of the bootstrap.

    Returns:
        `exact`, the share of answers that are the same text (spaces around it aside), and, where rouge-score is
        installed, `rouge_l`; and the answers.
    """
    told: list[str] = []
    for start in range(0, len(questions), batch_size):
        batch = questions[start : start + batch_size]
        inputs = prepare([question.messages for question in batch], settings, answering)
        told += [answer.text for answer in generate_answers(inputs, settings, answering)]
    expected = [question.answer for question in questions]
    scores = {"exact": mean_score([float(one == other) for one, other in zip(told, expected)], seed=seed)}
    if installed("rouge_score"):
        # Of empty answers alone, rouge-score has nothing to count.
        said = any(told)
        scores["rouge_l"] = rouge(told, expected, seed=seed)["rougeL"] if said else mean_score([0.0] * len(told))
    return scores, told


def audit_rows(
    rows: Sequence[dict[str, Any]], answering: AnsweringModel, count: int, *, alignment: str | None, seed: int
) -> dict[str, float]:
    """
    The audit of up to `count` rows that have a sound, each another one: how much of the probability of its answers
    moves with the sound.

    Returns:
        `audit_hears`, and with it through the sound's token and through the choice of patches; `audit_faults`, their
        number. Empty, with a warning, where nothing can be compared.
    """
    different = {_identity(sample): sample for row in rows if (sample := _sample(row)) is not None}
    samples = list(different.values())[:count]
    if len(samples) < 2:
        logger.warning("%d of %d held-out rows have sounds of their own: there is no audit", len(samples), len(rows))
        return {}
    ids = [sample.id for sample in samples]
    subject = SoundLlavaSubject(answering.model, answering.processor, answering.name, sound_alignment=alignment)
    data = Samples("held-out rows", samples.__getitem__, ids, ids, content=" ".join(ids))
    try:
        report = audit(subject, data, AuditSettings(seed=seed))
    except ValueError as error:  # such as sounds that are all silence; no reason to end a training
        logger.warning("there is no audit: %s", error)
        return {}
    named = {"total": "audit_hears", "token": "audit_hears_token", "patches": "audit_hears_patches"}
    hears = {named[channel]: value for channel, value in report.hears.items()}
    return {**hears, "audit_faults": float(len(report.faults))}


def _sample(row: dict[str, Any]) -> Sample | None:
    """The first sound of a row with its first picture, or its first video."""
    found: dict[str, Any] = {}
    try:
        messages = read_conversation(row)
    except RowError:
        return None
    for message in messages:
        for part in message["content"] if isinstance(message.get("content"), list) else ():
            kind = part.get("type")
            source = next((part[key] for key in (kind, "path", "url", "file") if part.get(key) is not None), None)
            if kind in ("audio", "image", "video") and source is not None:
                found.setdefault(kind, source_of(source))
    if not found.keys() & {"audio", "video"}:
        return None
    name = f"row-{row.get('row')}"
    return Sample(name, name, **found)


def _identity(sample: Sample) -> object:
    """Equal for two samples with one sound."""
    source = sample.video if sample.audio is None else sample.audio
    if isinstance(source, Mapping):
        source = source.get("array")
    return np.asarray(source).tobytes() if hasattr(source, "__array__") else str(source)


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content or () if part.get("type") == "text")


__all__ = ["Question", "answer_questions", "audit_rows", "read_questions"]
