"""Questions about pictures and sounds to answers, in batches: what `soundclip describe` and the evaluation share."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import TextStreamer

from ...modeling.finite import NotFiniteError, weight_that_is_not_finite, why_not_finite
from ...modeling.modeling_soundllava import SoundLlavaForConditionalGeneration
from ...modeling.processing_soundllava import SoundLlavaProcessor
from ...modeling.slots.assembly import SoundInfo
from .logits import FiniteLogits, SeededSampling

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Found = TypeVar("Found")


@dataclass(frozen=True)
class AnsweringModel:
    """
    A model and its processor, and how answers name them.

    Attributes:
        name: Id or folder.
        revision: Commit, branch or tag; None for a folder.
        encoder: Id, folder or model type of the audio encoder.
    """

    model: SoundLlavaForConditionalGeneration
    processor: SoundLlavaProcessor
    name: str
    revision: str | None
    encoder: str

    @cached_property
    def weight_that_is_not_finite(self) -> str | None:
        """The name of a weight that holds NaN or Inf, or None; looked for once, where an answer asks for it."""
        return weight_that_is_not_finite(self.model)


@dataclass(frozen=True)
class AnswerSettings:
    """
    How to answer; None takes the setting of the model.

    Attributes:
        top_k: Patches to keep beside a sound.
        patches: "zero" or "drop", for the other patches.
        alignment, alpha: See `SoundLlavaModel.get_audio_features`.
        temperature: 0 takes the most probable token.
        seed: Of sampling.
    """

    top_k: int | None = None
    patches: str | None = None
    alignment: str | None = None
    alpha: float | None = None
    max_new_tokens: int = 64
    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Answer:
    """
    Attributes:
        text: Without space around it.
        sound: What the sound did to the picture; None in a batch without sound.
    """

    text: str
    sound: SoundInfo | None


def largest_top_k(answering: AnsweringModel) -> int | None:
    """How many patches a picture of this model has; None where that depends on its size."""
    config = answering.model.config
    if config.llava_variant == "llava_next" and config.sound_config.patch_budget_scope == "image":
        return None
    return config.patches_per_side**2


def question_about(
    question: str, picture: Image.Image | None, sound: np.ndarray | None, sampling_rate: int
) -> list[dict[str, Any]]:
    """The messages of a question for the chat template of the processor; `sound` is `(samples,)`, None is silence."""
    content: list[dict[str, Any]] = []
    if picture is not None:
        content.append({"type": "image", "image": picture})
    if sound is not None:
        content.append({"type": "audio", "audio": sound, "sampling_rate": sampling_rate})
    content.append({"type": "text", "text": question})
    return [{"role": "user", "content": content}]


def prepare(
    conversations: Sequence[list[dict[str, Any]]], settings: AnswerSettings, answering: AnsweringModel
) -> Mapping[str, Any]:
    """
    The inputs of a batch, padded on the left, on the device of the model.

    Args:
        conversations: Of `question_about`.
        settings: Of these, `top_k` and `patches` count here.
    """
    processor, model = answering.processor, answering.model
    if processor.tokenizer.pad_token_id is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    options: dict[str, Any] = {"padding": True, "padding_side": "left", "return_tensors": "pt"}
    parts = (part for messages in conversations for message in messages for part in message["content"])
    if any(part["type"] == "audio" for part in parts):
        options |= {"sound_patches": settings.patches, "sound_top_k": settings.top_k}
    return processor.apply_chat_template(
        list(conversations),
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        processor_kwargs=options,
    ).to(model.device, model.dtype)


@torch.inference_mode()
def embed_sounds(inputs: Mapping[str, Any], answering: AnsweringModel) -> Tensor:
    """
    The audio encoder's outputs `(sounds, d_a)` for the sounds of prepared inputs: `generate_answers` takes them for any
    alignment and budget, so that sounds are encoded once.
    """
    tower = answering.model.base_model.audio_tower
    features = inputs["input_features"]
    if features.is_floating_point():
        features = features.to(tower.dtype)
    return tower(features, input_features_mask=inputs.get("input_features_mask"), return_dict=True).pooler_output


def generate_answers(
    inputs: Mapping[str, Any],
    settings: AnswerSettings,
    answering: AnsweringModel,
    sound_embeds: Tensor | None = None,
    streamer: TextStreamer | None = None,
) -> list[Answer]:
    """
    Answer a batch.

    Args:
        inputs: Of `prepare`, with the same `top_k` and `patches`.
        sound_embeds: Of `embed_sounds` for the same inputs; None encodes the sounds now. The answers are the same.
        streamer: Is given the tokens as they come, for a batch of one; see `generate`.

    Raises:
        NotFiniteError: If logits are NaN or infinite. For a single question the message says where that comes from.
        ValueError: As `generate`.
    """
    processor, model = answering.processor, answering.model
    given = dict(inputs)
    call: dict[str, Any] = {}
    if "input_features" in inputs:
        call |= {"sound_alignment": settings.alignment, "sound_alpha": settings.alpha}
    if sound_embeds is not None:
        given.pop("input_features")
        given.pop("input_features_mask", None)
        given["sound_embeds"] = sound_embeds
    rows = len(inputs["input_ids"])
    finite = FiniteLogits()
    call["logits_processor"] = [finite]
    if settings.temperature > 0:
        call["logits_processor"].append(SeededSampling(settings.temperature, settings.seed, rows))
    try:
        with torch.inference_mode():
            output = model.generate(
                **given,
                **call,
                max_new_tokens=settings.max_new_tokens,
                do_sample=False,
                num_beams=1,
                pad_token_id=processor.tokenizer.pad_token_id,
                return_sound_info=True,
                streamer=streamer,
            )
        finite.check()
    except NotFiniteError as error:
        if rows > 1:  # each of them is asked alone then, and explained
            raise
        reason = why_not_finite(inputs, answering.weight_that_is_not_finite, model.dtype)
        raise NotFiniteError(f"cannot be answered: {reason}") from error
    texts = processor.batch_decode(output.sequences[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    infos = output.sound_info or [None] * rows
    return [Answer(text.strip(), info) for text, info in zip(texts, infos, strict=True)]


def each_or_its_error(
    items: Sequence[Item], work: Callable[[Sequence[Item]], Sequence[Found]]
) -> list[Found | Exception]:
    """
    Work on items together; where that fails, on each alone, so that one that fails does not affect the others.

    Returns:
        What `work` returned, or the error, of each item.
    """
    if not items:
        return []
    try:
        return list(work(items))
    except Exception as error:
        log.debug("%d together", len(items), exc_info=True)
        if len(items) == 1:
            return [error]
    # One of them fails, or all of them together need too much memory.
    return [found for item in items for found in each_or_its_error([item], work)]


__all__ = [
    "Answer",
    "AnswerSettings",
    "AnsweringModel",
    "each_or_its_error",
    "embed_sounds",
    "generate_answers",
    "largest_top_k",
    "prepare",
    "question_about",
]
