"""Answers the questions about items with a loaded model: one row per item, in order, with `answer` or `error`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import LogitsProcessor

from ...media import shown
from ...modeling.finite import NotFiniteError, why_not_finite
from ..loading import Loaded
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

    def settled(self, loaded: Loaded) -> "Asking":
        """
        Replace each None by the setting of the model.

        Raises:
            UsageError: If an option does not fit the model, or another option.
        """
        sound = loaded.model.config.sound_config
        patches = loaded.model.config.patches_per_side**2
        top_k = sound.token_budget if self.top_k is None else self.top_k
        ranked_whole = loaded.model.config.llava_variant == "llava_next" and sound.patch_budget_scope == "image"
        if top_k > patches and not ranked_whole:
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


class SeededSampling(LogitsProcessor):
    """
    Add Gumbel noise to `scores / temperature`: the largest is then a sample of their softmax.

    Each row draws from a generator of its own, so that a sampled answer does not depend on what else is in the batch.
    """

    def __init__(self, temperature: float, seed: int, rows: int) -> None:
        self.temperature = temperature
        self.generators = [torch.Generator().manual_seed(seed) for _ in range(rows)]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        noise = [torch.empty(scores.shape[1]).exponential_(generator=g).log() for g in self.generators]
        return scores.float() / self.temperature - torch.stack(noise).to(scores.device)


class FiniteLogits(LogitsProcessor):
    """
    Refuse logits that are NaN or infinite. The largest of them would be the first token of the vocabulary, and an
    answer of such tokens is empty.
    """

    def __init__(self) -> None:
        self.bad: torch.Tensor | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        # NaN and Inf are the maximum where there is one; -Inf alone forbids a token, and is no fault.
        bad = ~torch.isfinite(scores.amax(-1))
        if self.bad is None:
            self.bad = bad
            self.check()
        else:
            # Looked at in the end, so that a GPU need not be waited for at every token.
            self.bad = self.bad | bad
        return scores

    def check(self) -> None:
        """
        Raises:
            NotFiniteError: If any logits were not finite.
        """
        if self.bad is not None and self.bad.any():
            raise NotFiniteError("the logits are NaN or infinite")


def planned_row(item: Item, asking: Asking, loaded: Loaded) -> dict[str, Any]:
    """The part of a row that is known before its answer: the item and the settings. `asking` is settled."""
    return {
        "id": item.id,
        **item.media,
        "question": item.question or asking.question,
        "k": asking.top_k,
        "mode": asking.patches,
        "alignment": asking.alignment,
        "alpha": asking.alpha,
        "encoder": loaded.encoder,
        "model": loaded.name,
        "revision": loaded.revision,
        "frame": asking.frame,
        "seed": asking.seed,
        "temperature": asking.temperature,
        "max_new_tokens": asking.max_new_tokens,
    }


def answer(items: Sequence[Item], asking: Asking, loaded: Loaded, batch_size: int) -> Iterator[dict[str, Any]]:
    """Read the items and answer their questions; an item that fails does not affect the others. `asking` is settled."""
    for start in range(0, len(items), batch_size):
        batch = items[start : start + batch_size]
        opened: list[Opened] = []
        outcome: dict[str, dict[str, Any]] = {}
        for item in batch:
            try:
                opened.append(
                    open_item(item, asking.question, asking.frame, loaded.processor.feature_extractor.sampling_rate)
                )
            except Exception as error:
                log.debug("%s", item.name, exc_info=True)
                outcome[item.id] = {"error": _naming(item, error)}
        outcome.update(_outcomes(opened, asking, loaded))
        for item in batch:
            yield {**planned_row(item, asking, loaded), **outcome[item.id]}


def _naming(item: Item, error: Exception) -> str:
    """The message, which names the item or one of its files."""
    text = in_options(one_line(error), "dtype")
    return text if item.error or any(shown(name) in text for name in item.media.values()) else f"{item.name}: {text}"


def _outcomes(opened: Sequence[Opened], asking: Asking, loaded: Loaded) -> dict[str, dict[str, Any]]:
    if not opened:
        return {}
    try:
        return _generate(opened, asking, loaded)
    except Exception as error:
        log.debug("%s", ", ".join(one.item.name for one in opened), exc_info=True)
        if len(opened) == 1:
            return {opened[0].item.id: {"error": _naming(opened[0].item, error)}}
    # One of them fails, or all of them together need too much memory.
    return {key: value for one in opened for key, value in _outcomes([one], asking, loaded).items()}


def _generate(opened: Sequence[Opened], asking: Asking, loaded: Loaded) -> dict[str, dict[str, Any]]:
    processor, model = loaded.processor, loaded.model
    if processor.tokenizer.pad_token_id is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    options: dict[str, Any] = {"padding": True, "padding_side": "left", "return_tensors": "pt"}
    call: dict[str, Any] = {}
    if any(one.sound is not None for one in opened):
        options |= {"sound_patches": asking.patches, "sound_top_k": asking.top_k}
        call |= {"sound_alignment": asking.alignment, "sound_alpha": asking.alpha}
    inputs = processor.apply_chat_template(
        [one.conversation() for one in opened],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        processor_kwargs=options,
    ).to(model.device, model.dtype)
    finite = FiniteLogits()
    call["logits_processor"] = [finite]
    if asking.temperature > 0:
        call["logits_processor"].append(SeededSampling(asking.temperature, asking.seed, len(opened)))
    try:
        with torch.inference_mode():
            output = model.generate(
                **inputs,
                **call,
                max_new_tokens=asking.max_new_tokens,
                do_sample=False,
                num_beams=1,
                pad_token_id=processor.tokenizer.pad_token_id,
                return_sound_info=True,
            )
        finite.check()
    except NotFiniteError as error:
        if len(opened) > 1:  # each of them is asked alone then, and explained
            raise
        reason = why_not_finite(inputs, loaded.weight_that_is_not_finite, model.dtype)
        raise NotFiniteError(f"cannot be answered: {reason}") from error
    texts = processor.batch_decode(output.sequences[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    infos = output.sound_info or [None] * len(opened)
    rows = {}
    for one, text, info in zip(opened, texts, infos, strict=True):
        rows[one.item.id] = {"answer": text.strip(), **_sound_fields(info, one), **_media_fields(one)}
    return rows


def _sound_fields(info: Any, one: Opened) -> dict[str, Any]:
    if info is None or info.kept is None:
        return {"k": None, "mode": "silent", "kept": None, "patches": None}
    kept = None if one.picture is None else int(info.kept.sum())
    return {"k": info.k, "mode": info.mode, "kept": kept, "patches": None if kept is None else info.kept.numel()}


def _media_fields(one: Opened) -> dict[str, Any]:
    frame_time = None if one.frame_time is None else round(one.frame_time, 3)
    seconds = None if one.seconds is None else round(one.seconds, 3)
    return {"frame_time": frame_time, "sound_seconds": seconds}


__all__ = ["Asking", "SeededSampling", "answer", "planned_row"]
