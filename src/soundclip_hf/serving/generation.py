"""One answer of the model: what is computed for it, in the thread in which transformers' server generates."""

import copy
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessor

from ..evaluation.generation.logits import FiniteLogits
from ..modeling.outputs import SoundLlavaImageFeatures
from ..modeling.slots.assembly import SoundInfo
from ..modeling.slots.verification import context_length
from .chat_requests import ChatRequest, RequestError

SoundEntry = dict[str, Any]
# Below, the most probable token is taken: logits that are divided by so little are not finite in half precision.
LOWEST_TEMPERATURE = 0.01


class Generation:
    """
    A call of `generate`, in the form of a model: transformers' handler of chats calls it as one.

    Attributes:
        config: Of the model.
        error: What went wrong; the handler of a streamed answer passes on its text alone.

    Args:
        model: The `SoundLlavaForConditionalGeneration`.
        tokenizer: For stop sequences.
        seed: Of sampling; None draws as it comes.
        stopping: Set where the server is to end; the answer ends with an error then.
    """

    def __init__(self, model: Any, tokenizer: Any, seed: int | None, stopping: threading.Event) -> None:
        self.config = model.config
        self.error: Exception | None = None
        self._model, self._tokenizer, self._seed, self._stopping = model, tokenizer, seed, stopping

    def generate(self, **inputs: Any) -> torch.Tensor:
        """The ids of prompt and answer, `(1, sequence)`; the arguments are those of transformers' handler."""
        finite = FiniteLogits()
        # The processor, which the handler gives in this place, has no vocabulary.
        inputs["tokenizer"] = self._tokenizer
        try:
            if self._seed is not None:
                # Here, and not where the request came in: answers are generated one after another in this thread.
                torch.manual_seed(self._seed)
            ids = self._model.generate(**inputs, logits_processor=[finite, _EndOfServer(self._stopping)])
            finite.check()
        except Exception as error:
            self.error = error
            raise
        return ids


class _EndOfServer(LogitsProcessor):
    """Ends an answer with an error where the server is to end."""

    def __init__(self, stopping: threading.Event) -> None:
        self.stopping = stopping

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if self.stopping.is_set():
            raise RequestError("the server is stopping", status=503)
        return scores


def encode(model: Any, inputs: Mapping[str, Any], asked: ChatRequest) -> tuple[dict[str, Any], list[SoundEntry]]:
    """
    Encode pictures and sounds, before any token of the answer is generated.

    Args:
        model: The `SoundLlavaForConditionalGeneration`.
        inputs: Of its processor, for one prompt.

    Returns:
        `(arguments of generate, what the sound did to each picture)`.

    Raises:
        ValueError: If an option does not fit the model or the sounds, or a sound is not finite.
    """
    call = dict(inputs)
    slots = call.get("sound_slots")
    pictures = 0 if call.get("pixel_values") is None else len(call["pixel_values"])
    if call.get("input_features") is not None:
        call["sound_alignment"], call["sound_alpha"] = asked.sound.alignment, asked.sound.alpha
        call["sound_adapter"] = asked.sound.adapter
    with torch.inference_mode():
        features: SoundLlavaImageFeatures | None = model.encode_media(call, model.generation_config)
    infos = None if features is None else features.sound_info
    rows = [(index, -1) for index in range(pictures)] if slots is None else slots.tolist()
    return call, [_entry(row, info) for row, info in zip(rows, infos or [SoundInfo()] * len(rows), strict=True)]


def _entry(row: Sequence[int], info: SoundInfo) -> SoundEntry:
    """What `return_sound_info` says of a picture, or of a sound without one."""
    picture, sound = row
    entry: SoundEntry = {"picture": picture >= 0, "sound": sound >= 0, "mode": info.mode}
    if info.kept is None:
        return {**entry, "k": None, "kept": None, "patches": None}
    kept = info.kept.cpu()
    views = kept if kept.ndim == 2 else kept[None]
    indices = [view.nonzero().flatten().tolist() for view in views]
    return {**entry, "k": info.k, "kept": indices if kept.ndim == 2 else indices[0], "patches": kept.numel()}


def generation_config(model: Any, tokenizer: Any, asked: ChatRequest, prompt: int, limit: int) -> GenerationConfig:
    """
    The settings of `generate` for a request.

    Args:
        prompt: Tokens of the prompt.
        limit: The most tokens that an answer may have.

    Raises:
        RequestError: If the prompt does not fit the context of the language model, or more tokens are asked for than
            the context or `limit` allows; 400.
    """
    context = context_length(model.config)
    left = limit if context is None else context - prompt
    if left <= 0:
        raise RequestError(
            f"messages: the prompt has {prompt} tokens, and the context of the language model is {context}; send fewer "
            "or smaller pictures, fewer frames (num_frames), sound_patches='drop' with a small sound_top_k, or less "
            "text",
            param="messages",
            code="context_length_exceeded",
        )
    new = asked.max_new_tokens
    if new is not None and new > limit:
        raise RequestError(
            f"max_tokens={new}: this server gives answers of at most {limit} tokens (--max-new-tokens)",
            param="max_tokens",
        )
    if new is not None and new > left:
        raise RequestError(
            f"max_tokens={new}: the prompt has {prompt} tokens, and the context of the language model is {context}, "
            f"which leaves {left}",
            param="max_tokens",
            code="context_length_exceeded",
        )
    config = copy.deepcopy(model.generation_config)
    config.max_length, config.max_new_tokens = None, min(limit, left) if new is None else new
    if config.pad_token_id is None:
        config.pad_token_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    if asked.stop:
        config.stop_strings = list(asked.stop)
    if asked.temperature is not None:
        config.do_sample = asked.temperature >= LOWEST_TEMPERATURE
        config.temperature = asked.temperature if config.do_sample else None
    if asked.top_p is not None:
        config.top_p = asked.top_p
    if not config.do_sample:
        # They would be named in a warning, since they change nothing.
        config.temperature = config.top_p = config.top_k = None
    return config


__all__ = ["Generation", "encode", "generation_config"]
