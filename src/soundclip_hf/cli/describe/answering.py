"""Answers the questions about items with a loaded model: one row per item, in order, with `answer` or `error`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ...evaluation.generation.answering import (
    AnsweringModel,
    AnswerSettings,
    each_or_its_error,
    generate_answers,
    largest_top_k,
    prepare,
)
from ...media import shown
from ...modeling.audio_encoders.feature_extraction_base import silence_is_told
from ..output import UsageError, in_options, log, one_line
from .items import Item
from .opening import Opened, open_item


@dataclass(frozen=True)
class Asking:
    """The settings of a run of `soundclip describe`; None takes the setting of the model."""

    question: str
    top_k: int | None = None
    alignment: str | None = None
    alpha: float | None = None
    patches: str | None = None
    frame: str | float = "middle"
    max_new_tokens: int = 64
    temperature: float = 0.0
    seed: int = 0

    def settled(self, loaded: AnsweringModel) -> "Asking":
        """
        Replace each None by the setting of the model.

        Raises:
            UsageError: If an option does not fit the model, or another option.
        """
        sound = loaded.model.config.sound_config
        patches = largest_top_k(loaded)
        top_k = sound.token_budget if self.top_k is None else self.top_k
        if patches is not None and top_k > patches:
            raise UsageError(
                f"--top-k {top_k}: the pictures of {loaded.name} have {patches} patches; give 0..{patches}"
            )
        alignment = self.alignment or sound.alignment
        if self.alpha is not None and alignment == "raw":
            raise UsageError("--alpha mixes raw into projected and has no effect here; add --alignment projected")
        return Asking(
            question=self.question,
            top_k=top_k,
            alignment=alignment,
            alpha=(sound.alpha if self.alpha is None else self.alpha) if alignment == "projected" else None,
            patches=self.patches or sound.patches,
            frame=self.frame,
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature,
            seed=self.seed,
        )

    def answer_settings(self) -> AnswerSettings:
        """What generation needs of this; `self` is settled."""
        return AnswerSettings(
            top_k=self.top_k,
            patches=self.patches,
            alignment=self.alignment,
            alpha=self.alpha,
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature,
            seed=self.seed,
        )


def planned_row(item: Item, asking: Asking, loaded: AnsweringModel) -> dict[str, Any]:
    """The part of a row that is known before its answer: the item and the settings. `asking` is settled."""
    model = {"encoder": loaded.encoder, "model": loaded.name, "revision": loaded.revision}
    return _row(item, asking) | model


def given_row(item: Item, asking: Asking, model: str, encoder: str | None) -> dict[str, Any]:
    """As [`planned_row`], before the model is loaded: without the settings that it decides."""
    given = _row(item, asking) | {"encoder": encoder, "model": model}
    return {name: value for name, value in given.items() if value is not None}


def _row(item: Item, asking: Asking) -> dict[str, Any]:
    return {
        "id": item.id,
        **item.media,
        "question": item.question or asking.question,
        "k": asking.top_k,
        "mode": asking.patches,
        "alignment": asking.alignment,
        "alpha": asking.alpha,
        "encoder": None,
        "model": None,
        "revision": None,
        "frame": asking.frame,
        "seed": asking.seed,
        "temperature": asking.temperature,
        "max_new_tokens": asking.max_new_tokens,
    }


def answer(items: Sequence[Item], asking: Asking, loaded: AnsweringModel, batch_size: int) -> Iterator[dict[str, Any]]:
    """Read the items and answer their questions; an item that fails does not affect the others. `asking` is settled."""
    for start in range(0, len(items), batch_size):
        batch = items[start : start + batch_size]
        opened: list[Opened] = []
        outcome: dict[str, dict[str, Any] | Exception] = {}
        for item in batch:
            try:
                opened.append(
                    open_item(item, asking.question, asking.frame, loaded.processor.feature_extractor.sampling_rate)
                )
            except Exception as error:
                log.debug("%s", item.name, exc_info=True)
                outcome[item.id] = error
        found = each_or_its_error(opened, lambda some: _generate(some, asking, loaded))
        outcome.update(zip((one.item.id for one in opened), found))
        for item in batch:
            result = outcome[item.id]
            row = {"error": _naming(item, result)} if isinstance(result, Exception) else result
            yield {**planned_row(item, asking, loaded), **row}


def _naming(item: Item, error: Exception) -> str:
    """The message, which names the item or one of its files."""
    text = in_options(one_line(error), "dtype")
    return text if item.error or any(shown(name) in text for name in item.media.values()) else f"{item.name}: {text}"


def _generate(opened: Sequence[Opened], asking: Asking, loaded: AnsweringModel) -> list[dict[str, Any]]:
    settings = asking.answer_settings()
    with silence_is_told():
        inputs = prepare([one.conversation() for one in opened], settings, loaded)
    return [
        {"answer": answer.text, **_sound_fields(answer.sound, one), **_media_fields(one)}
        for one, answer in zip(opened, generate_answers(inputs, settings, loaded), strict=True)
    ]


def _sound_fields(info: Any, one: Opened) -> dict[str, Any]:
    if info is None or info.kept is None:
        return {"k": None, "mode": "silent", "kept": None, "patches": None}
    kept = None if one.picture is None else int(info.kept.sum())
    return {"k": info.k, "mode": info.mode, "kept": kept, "patches": None if kept is None else info.kept.numel()}


def _media_fields(one: Opened) -> dict[str, Any]:
    frame_time = None if one.frame_time is None else round(one.frame_time, 3)
    seconds = None if one.seconds is None else round(one.seconds, 3)
    return {"frame_time": frame_time, "sound_seconds": seconds}


__all__ = ["Asking", "answer", "given_row", "planned_row"]
