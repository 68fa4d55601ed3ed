"""Compares the tokens of prompts with their slots, their media and the context, and tells what differs in numbers."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig

from ..configuration_soundclip import SoundLlavaConfig
from .slot import Slot


def check_truncation(found: Sequence[int], slots: Sequence[Slot], samples: Sequence[int], limit: int) -> None:
    """
    Compare each tokenised sample with its slots.

    Args:
        found: Image tokens in each tokenised sample.
        slots: The slots of the batch.
        samples: Number of slots of each sample.
        limit: The length that prompts were cut to.

    Raises:
        ValueError: If a sample lost image tokens, with the numbers.
    """
    remaining = iter(slots)
    for index, (left, size) in enumerate(zip(found, samples, strict=True)):
        expected = sum(next(remaining).num_tokens for _ in range(size))
        if left != expected:
            raise ValueError(
                f"sample {index}: truncation to {limit} tokens would leave {left} of {expected} image tokens; raise "
                "max_length or leave truncation out."
            )


def check_placeholders(slots: Sequence[Slot], placeholders: Sequence[int]) -> None:
    """
    Compare the placeholders of each sample with the tokens of its slots, before any tower runs.

    Args:
        slots: The slots of the batch.
        placeholders: Image tokens in each sample; which slots they belong to follows from the numbers of tokens.

    Raises:
        ValueError: Naming the sample, the placeholders found and the tokens expected.
    """
    remaining = list(slots)
    for sample, found in enumerate(placeholders):
        taken: list[Slot] = []
        while remaining and sum(slot.num_tokens for slot in taken) < found:
            taken.append(remaining.pop(0))
        expected = sum(slot.num_tokens for slot in taken)
        if expected != found:
            raise ValueError(_mismatch(sample, found, taken))
    if remaining:
        raise ValueError(
            f"The prompts hold {sum(placeholders)} image placeholders, expected {sum(s.num_tokens for s in slots)}: "
            f"none is left for the last {len(remaining)} of {len(slots)} slots. Prepare prompt, images and sounds in "
            "one processor call."
        )


def check_no_placeholders(config: SoundLlavaConfig, inputs: Mapping[str, Any]) -> None:
    """
    Check a call without pictures and sounds: its prompt must not have been expanded for any.

    With a cache or embeddings, the placeholders are those of media that were encoded before.

    Args:
        config: Of the model.
        inputs: The arguments of the call.

    Raises:
        ValueError: If `input_ids` `(batch, sequence)` holds image placeholders.
    """
    ids = inputs.get("input_ids")
    earlier = ("inputs_embeds", "past_key_values", "cache")
    if torch.compiler.is_compiling() or ids is None or any(inputs.get(name) is not None for name in earlier):
        return
    found = (ids == config.image_token_id).sum(-1)
    if found.any():
        raise ValueError(
            f"The prompts have {found.tolist()} image placeholders, but no pixel_values, input_features or "
            "sound_embeds came with them: hand over all that the processor returned, as in model.generate(**inputs)."
        )


def context_length(config: SoundLlavaConfig) -> int | None:
    """How many tokens the language model of a configuration takes; None where no number is known."""
    rope = getattr(config.text_config, "rope_parameters", None) or {}
    if rope.get("rope_type") in ("linear", "dynamic"):  # these two go beyond the number of positions
        return None
    return getattr(config.text_config, "max_position_embeddings", None)


def check_context(
    config: SoundLlavaConfig, inputs: Mapping[str, Any], generation_config: GenerationConfig | None
) -> None:
    """
    Warn if a prompt, alone or with the tokens to be generated, is longer than the language model's context. It is no
    error, as it is none for other models of transformers: an answer may end long before its limit.

    Args:
        config: Of the model; its `text_config` has the context, `max_position_embeddings`.
        inputs: The arguments of the call, with `max_new_tokens`, `max_length` or `generation_config` if they are there.
        generation_config: The model's own; `None` if nothing is to be generated.
    """
    text = inputs.get("input_ids") if inputs.get("inputs_embeds") is None else inputs["inputs_embeds"]
    context = context_length(config)
    if torch.compiler.is_compiling() or text is None or context is None:
        return
    new = 0
    if generation_config is not None:
        settings = inputs.get("generation_config") or generation_config
        given = inputs.get("max_new_tokens") or getattr(settings, "max_new_tokens", None)
        new = int(given or max((inputs.get("max_length") or 0) - text.shape[1], 0))
    if text.shape[1] + new <= context:
        return
    prompt, mask = text.shape[1], inputs.get("attention_mask")
    if isinstance(mask, Tensor) and mask.ndim == 2:
        prompt = int(mask.sum(-1).max())  # without padding
    if prompt + new <= context:
        return
    visual = ""
    if inputs.get("inputs_embeds") is None:
        longest = int((text == config.image_token_id).sum(-1).max())
        visual = f", up to {longest} of them for pictures and sounds"
    more = f" and {new} new ones may follow" if new else ""
    warnings.warn(
        f"The prompt has {prompt} tokens{visual}{more}, but the language model has a context of {context} "
        "(max_position_embeddings); past that its answers degrade. Use fewer or smaller pictures, sound_patches='drop' "
        "with a smaller sound_top_k, a shorter text or fewer new tokens.",
        UserWarning,
        stacklevel=2,
    )


def _mismatch(sample: int, found: int, taken: Sequence[Slot]) -> str:
    parts = " + ".join(f"{slot.num_tokens} ({_describe(slot)})" for slot in taken) or "0 (no image or sound left)"
    return (
        f"Sample {sample} has {found} image placeholders, expected {parts}. A prompt expanded for a sound must come "
        "with it, and a sound needs a prompt that was expanded for it: prepare prompt, images and sounds in one "
        "processor call."
    )


def _describe(slot: Slot) -> str:
    if not slot.has_sound:
        return "silent image"
    what = "image with sound" if slot.has_image else "sound"
    return f"{what}, {slot.mode}, k={slot.k}"


__all__ = ["check_context", "check_no_placeholders", "check_placeholders", "check_truncation", "context_length"]
