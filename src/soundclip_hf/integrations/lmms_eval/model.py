"""The model that lmms-eval asks: a SoundLlava, in batches, with every sound beside its picture."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from tqdm import tqdm

from ...evaluation.generation.answering import AnsweringModel, AnswerSettings, generate_answers, prepare
from ...extras import require
from ...modeling.modeling_soundllava import SoundLlavaForConditionalGeneration
from ...modeling.processing_soundllava import SoundLlavaProcessor

require("lmms_eval", what="the integration with lmms-eval")
from lmms_eval.api.model import lmms  # noqa: E402

# The keys of a part of a message, by its type: what lmms-eval's own models read.
_KEYS = {"text": {"text"}, "image": {"url"}, "audio": {"url"}, "video": {"url"}}
_USED = {"max_new_tokens", "temperature", "do_sample", "until"}
# Values that change nothing in greedy decoding with one beam.
_WITHOUT_EFFECT = {"num_beams": (None, 1), "top_p": (None, 1, 1.0), "top_k": (None,), "use_cache": (None, True)}


class SoundLlavaChat(lmms):
    """
    A SoundLlava or an adapter, under the name `sound_llava`. Messages of a task go through the chat template of its
    processor; what the model cannot be given is an error, and no answer.

    Args:
        pretrained: Repository, folder, or "tiny", the bundled model.
        revision: Of the repository.
        device: Where it runs; None takes the GPU, if there is one.
        dtype: "auto", "float32", "bfloat16" or "float16".
        batch_size: Questions at a time.
        top_k, patches, alignment, alpha: See [`~evaluation.generation.answering.AnswerSettings`]; None takes the
            setting of the model.
        seed: Of sampling, where a task asks for a temperature.
        max_batch_size: lmms-eval passes it; not used.

    Raises:
        OSError: If the repository or a file of it cannot be found.
        ValueError: If it does not hold a SoundLlava, or several processes are running.
    """

    is_simple = False

    def __init__(
        self,
        pretrained: str = "tiny",
        revision: str | None = None,
        device: str | None = None,
        dtype: str = "auto",
        batch_size: int | str = 1,
        top_k: int | None = None,
        patches: str | None = None,
        alignment: str | None = None,
        alpha: float | None = None,
        seed: int = 0,
        max_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ValueError(f"WORLD_SIZE={os.environ['WORLD_SIZE']}: sound_llava runs in one process; start just one.")
        place = {"revision": revision} if revision else {}
        model = SoundLlavaForConditionalGeneration.from_pretrained(pretrained, dtype=dtype, **place)
        processor = SoundLlavaProcessor.from_pretrained(pretrained, **place)
        model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()
        encoder = model.config.audio_encoder_name_or_path or model.config.sound_config.audio_config.model_type
        self._answering = AnsweringModel(model, processor, pretrained, revision, encoder)
        self._settings = AnswerSettings(top_k, patches, alignment, alpha, seed=seed)
        self.batch_size = int(batch_size)

    @property
    def model(self) -> SoundLlavaForConditionalGeneration:
        return self._answering.model

    @property
    def device(self) -> torch.device:
        return self.model.device

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """
        Answer questions, in their order.

        Raises:
            ValueError: If a message has a part, or the task a generation setting, that would not be used; or a medium
                cannot be read.
        """
        answers: list[str] = []
        with tqdm(total=len(requests), desc="Model Responding") as bar:
            for batch in _batches([request.args for request in requests], self.batch_size):
                settings, until = self._read_settings(batch[0][2])
                asked = [self._messages(*request) for request in batch]
                inputs = prepare(asked, settings, self._answering)
                for request, answer in zip(batch, generate_answers(inputs, settings, self._answering), strict=True):
                    text = _cut(answer.text, until)
                    self.cache_hook.add_partial("generate_until", (request[0], request[2]), text)
                    answers.append(text)
                bar.update(len(batch))
        return answers

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        raise NotImplementedError("sound_llava answers with text: take a task of the output type generate_until.")

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        raise NotImplementedError("sound_llava answers one question at a time: take a task of generate_until.")

    def _messages(
        self, context: str, doc_to_messages: Any, gen_kwargs: Any, doc_id: int, task: str, split: str
    ) -> list[dict[str, Any]]:
        where = f"{task}: question {doc_id}"
        return to_messages(doc_to_messages(self.task_dict[task][split][doc_id]), where)

    def _read_settings(self, given: Mapping[str, Any]) -> tuple[AnswerSettings, list[str]]:
        for name, value in given.items():
            if name not in _USED and value not in _WITHOUT_EFFECT.get(name, ()):
                raise ValueError(
                    f"generation_kwargs: {name}={value!r} would not be used: give some of {', '.join(sorted(_USED))} "
                    "in the task, or with --gen_kwargs."
                )
        temperature = float(given.get("temperature") or 0)
        sample = given.get("do_sample")
        if sample is not None and bool(sample) != (temperature > 0):
            raise ValueError(
                f"generation_kwargs: do_sample={sample} and temperature={temperature} contradict each other: sampling "
                "needs a temperature above 0."
            )
        until = given.get("until") or []
        tokens = int(given.get("max_new_tokens") or self._settings.max_new_tokens)
        settings = replace(self._settings, max_new_tokens=tokens, temperature=temperature)
        return settings, [until] if isinstance(until, str) else [*until]


def to_messages(messages: Any, where: str) -> list[dict[str, Any]]:
    """
    Messages of a task in the form of our processor's chat template.

    Args:
        messages: `{"role": ..., "content": [{"type": "text", "text": ...}, {"type": "image", "url": ...}, ...]}`, with
            parts of type text, image, audio and video. The `url` of a sound is a path, an array with `sampling_rate` in
            a dictionary, a file's bytes or a torchcodec decoder.
        where: Names the question in messages.

    Raises:
        ValueError: If a message or a part is of another form.
    """
    found = []
    for message in messages:
        if not isinstance(message, Mapping) or message.keys() != {"role", "content"}:
            raise ValueError(f"{where}: a message is {message!r}: give a role and a content.")
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        found.append({"role": message["role"], "content": [_part(part, where) for part in parts]})
    return found


def _part(part: Any, where: str) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind not in _KEYS:
        raise ValueError(
            f"{where}: a part of type {kind!r} cannot be given to the model: parts are {', '.join(_KEYS)}."
        )
    given = {name for name, value in part.items() if value is not None} - {"type"}
    if given != _KEYS[kind]:
        raise ValueError(
            f"{where}: a part of type {kind!r} has the keys {', '.join(sorted(given)) or 'none'}; it needs "
            f"{', '.join(_KEYS[kind])}, and no other would be used."
        )
    return {"type": kind, kind: part["text"] if kind == "text" else part["url"]}


def _batches(requests: Iterable[Any], size: int) -> Iterable[list[Any]]:
    """Neighbours with the same generation settings."""
    batch: list[Any] = []
    for request in requests:
        if batch and (len(batch) == size or request[2] != batch[0][2]):
            yield batch
            batch = []
        batch.append(request)
    if batch:
        yield batch


def _cut(text: str, until: Iterable[str]) -> str:
    for stop in until:
        text = text.partition(stop)[0] if stop else text
    return text.strip()


__all__ = ["SoundLlavaChat", "to_messages"]
