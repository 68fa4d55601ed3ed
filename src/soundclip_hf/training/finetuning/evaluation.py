"""Answers to held-out questions, and the audit, in the loop of a fine-tuning."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from ...data.media_columns import source_of
from ...evaluation.audit import AuditSettings, SoundLlavaSubject, audit
from ...evaluation.generation.answering import AnsweringModel, AnswerSettings, generate_answers, prepare
from ...evaluation.samples import Sample, Samples
from ...evaluation.text_metrics.rouge import rouge
from ...evaluation.text_metrics.scores import MetricScore, mean_score
from ...extras import installed
from ...modeling.prompts.message_parts import MISSING, read_part
from .conversations import RowError, read_conversation
from .questions import SILENCE, OpenQuestion, Question, SoundKind, Swap, sound_identity, sounds_for

logger = logging.getLogger("transformers.soundclip_hf.training")


def answer_questions(
    questions: Sequence[Question],
    answering: AnsweringModel,
    settings: AnswerSettings,
    *,
    video: Mapping[str, Any],
    kind: SoundKind = "true",
    swaps: Sequence[Swap | None] = (),
    batch_size: int = 8,
    seed: int = 0,
) -> tuple[dict[str, MetricScore], list[str]]:
    """
    Answer questions greedily, and compare the answers with those that people wrote.

    Args:
        video: How videos are read; see [`OpenQuestion`].
        kind: The sound that is heard with each question.
        swaps: Of [`find_swaps`] for "swapped"; questions without one are left out.
        seed: Of the bootstrap.

    Returns:
        `exact`, the share of answers that are the same text (spaces around it aside), and, where rouge-score is
        installed, `rouge_l`. With other sounds than the true one, these are `exact_silent` and so on. For "swapped",
        `exact_swapped_heard` is the share of answers that are right for the sound that was heard, of the questions for
        which that is known. And the answers. Both are empty if no question is left.
    """
    others = list(swaps) if kind == "swapped" else [None] * len(questions)
    asked = [pair for pair in zip(questions, others, strict=True) if kind != "swapped" or pair[1] is not None]
    if not asked:
        return {}, []
    told: list[str] = []
    for start in range(0, len(asked), batch_size):
        batch = [_messages(*pair, kind, answering, video) for pair in asked[start : start + batch_size]]
        told += [answer.text for answer in generate_answers(_inputs(batch, settings, answering), settings, answering)]
    expected = [question.answer for question, _ in asked]
    suffix = "" if kind == "true" else f"_{kind}"
    scores = {f"exact{suffix}": _exact(told, expected, seed)}
    if installed("rouge_score"):
        # Of empty answers alone, rouge-score has nothing to count.
        rouge_l = rouge(told, expected, seed=seed)["rougeL"] if any(told) else mean_score([0.0] * len(told))
        scores[f"rouge_l{suffix}"] = rouge_l
    known = [(text, swap.answer) for text, (_, swap) in zip(told, asked) if swap is not None and swap.answer]
    if known:
        scores["exact_swapped_heard"] = _exact([text for text, _ in known], [right for _, right in known], seed)
    return scores, told


def _inputs(
    conversations: Sequence[list[dict[str, Any]]], settings: AnswerSettings, answering: AnsweringModel
) -> Mapping[str, Any]:
    """[`prepare`], without its warnings of silent sounds: these are meant, or told of when the model is used."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=SILENCE, category=UserWarning)
        return prepare(conversations, settings, answering)


def readable(questions: Sequence[Question], answering: AnsweringModel, video: Mapping[str, Any]) -> list[Question]:
    """The questions whose media can be read; the others are logged."""
    found = []
    for question in questions:
        try:
            _inputs([_messages(question, None, "true", answering, video)], AnswerSettings(), answering)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            logger.warning("row %d is not asked: %s: %s", question.row, type(error).__name__, reason)
        else:
            found.append(question)
    return found


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
        for given in message["content"] if isinstance(message.get("content"), list) else ():
            part = read_part(given, "")
            if part.kind != "text" and part.source is not None and part.source is not MISSING:
                rate = part.sampling_rate
                bare = {"array": part.source, "sampling_rate": rate}
                found.setdefault(part.kind, source_of(part.source) if rate is None else bare)
    if not found.keys() & {"audio", "video"}:
        return None
    name = f"row-{row.get('row')}"
    return Sample(name, name, **found)


def _identity(sample: Sample) -> object:
    """Equal for two samples with one sound."""
    return sound_identity(sample.video if sample.audio is None else sample.audio)


def _messages(
    question: Question, swap: Swap | None, kind: SoundKind, answering: AnsweringModel, video: Mapping[str, Any]
) -> list[dict[str, Any]]:
    own = OpenQuestion.read(question, answering.processor, video)
    other = None if swap is None else OpenQuestion.read(swap.other, answering.processor, video)
    return own.with_sounds(sounds_for(kind, own, other))


def _exact(told: Sequence[str], expected: Sequence[str], seed: int) -> MetricScore:
    return mean_score([float(one == other) for one, other in zip(told, expected, strict=True)], seed=seed)


__all__ = ["answer_questions", "audit_rows", "readable"]
