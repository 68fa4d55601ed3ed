"""Any model of transformers that takes sounds through the chat template of its processor, as a subject of the audit."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from ...modeling.finite import NotFiniteError, weight_that_is_not_finite, why_not_finite
from .subject import Channel, Prompt, Response


class ForcedAnswers(LogitsProcessor):
    """
    Let `generate` write given answers, one per row.

    The logits of teacher forcing thus come from `generate` itself, as users call it: a sound that only `generate` loses
    is not missed, and no layout of a model's forward is taken for granted.
    """

    def __init__(self, answers: Sequence[Sequence[int]]) -> None:
        self.answers = answers
        self.step = 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        tokens = [answer[min(self.step, len(answer) - 1)] for answer in self.answers]
        self.step += 1
        forced = torch.full_like(scores, -torch.inf)
        forced[torch.arange(len(tokens)), torch.tensor(tokens, device=scores.device)] = 0.0
        return forced


class TransformersSubject:
    """
    A model and its processor, used as transformers documents it: `apply_chat_template`, then `generate`.

    Args:
        model: Has `generate`; it is put into eval mode.
        processor: Has a chat template, a tokenizer and a feature extractor.
        name, revision: For the result; by default what the model was loaded from.

    Raises:
        ValueError: If the processor has no chat template or no feature extractor.
    """

    channels: tuple[Channel, ...] = ("total",)

    def __init__(self, model: Any, processor: Any, name: str | None = None, revision: str | None = None) -> None:
        self.model, self.processor = model.eval(), processor
        self.name = name or model.name_or_path or type(model).__name__
        self.revision = revision
        for part, why in (("chat_template", "a prompt"), ("feature_extractor", "the features of a sound")):
            if getattr(processor, part, None) is None:
                raise ValueError(
                    f"{type(processor).__name__} has no {part}, which makes {why}: {self.name} cannot be audited"
                )
        if processor.tokenizer.pad_token_id is None:
            processor.tokenizer.pad_token = processor.tokenizer.eos_token

    @property
    def sampling_rate(self) -> int:
        return self.processor.feature_extractor.sampling_rate

    @property
    def precision(self) -> torch.dtype:
        return self.model.dtype

    @property
    def takes_pictures(self) -> bool:
        return getattr(self.processor, "image_processor", None) is not None

    @property
    def settings(self) -> dict[str, Any]:
        return {"pictures": self.takes_pictures}

    def inputs(
        self, prompts: Sequence[Prompt], channel: Channel = "total", true: Sequence[Prompt] | None = None
    ) -> Mapping[str, Any]:
        """
        See [`AuditSubject.inputs`]. Pictures are left out where the processor has no image processor.

        Raises:
            ValueError: For another channel than `channels` has.
        """
        if channel not in self.channels:
            raise ValueError(f"channel={channel!r}: {type(self).__name__} has {list(self.channels)}")
        return self._prepare(prompts, {})

    def generate(self, inputs: Mapping[str, Any], max_new_tokens: int) -> list[Response]:
        """See [`AuditSubject.generate`]."""
        return self._responses(inputs, max_new_tokens, None)

    def logits(self, inputs: Mapping[str, Any], answers: Sequence[Sequence[int]]) -> list[Response]:
        """See [`AuditSubject.logits`]."""
        return self._responses(inputs, max(map(len, answers)), answers)

    def decode(self, tokens: Sequence[int]) -> str:
        """See [`AuditSubject.decode`]."""
        return self.processor.tokenizer.decode(list(tokens), skip_special_tokens=True).strip()

    def conversation(self, prompt: Prompt) -> list[dict[str, Any]]:
        """The messages for the chat template."""
        content: list[dict[str, Any]] = []
        if self.takes_pictures:
            content += [{"type": "image", "image": picture} for picture in prompt.pictures]
        if prompt.sound is not None:
            content.append({"type": "audio", "audio": prompt.sound, "sampling_rate": self.sampling_rate})
        content.append({"type": "text", "text": prompt.question})
        return [{"role": "user", "content": content}]

    def _prepare(self, prompts: Sequence[Prompt], options: dict[str, Any]) -> Any:
        return self.processor.apply_chat_template(
            [self.conversation(prompt) for prompt in prompts],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            processor_kwargs={"padding": True, "padding_side": "left", "return_tensors": "pt", **options},
        ).to(self.model.device, self.model.dtype)

    def _call(self, inputs: Mapping[str, Any], **arguments: Any) -> tuple[Any, list[Tensor | None] | None]:
        """What `generate` returns, and the kept patches of each row, where the model reports them."""
        return self.model.generate(**inputs, **arguments), None

    @torch.inference_mode()
    def _responses(
        self, inputs: Mapping[str, Any], max_new_tokens: int, answers: Sequence[Sequence[int]] | None
    ) -> list[Response]:
        forced = [] if answers is None else [ForcedAnswers(answers)]
        output, kept = self._call(
            inputs,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            pad_token_id=self.processor.tokenizer.pad_token_id,
            logits_processor=LogitsProcessorList(forced),
            return_dict_in_generate=True,
            output_logits=True,
        )
        logits = torch.stack(output.logits, dim=1).float().cpu()
        if torch.isnan(logits).any() or torch.isposinf(logits).any():
            reason = why_not_finite(inputs, weight_that_is_not_finite(self.model), self.model.dtype)
            raise NotFiniteError(f"{self.name} cannot be audited: its logits are NaN or infinite, since {reason}")
        found = output.sequences[:, -logits.shape[1] :].tolist() if answers is None else answers
        tokens = [self._until_end(row) for row in found]
        rows = kept or [None] * len(tokens)
        return [Response(row, logits[i, : len(row)], rows[i]) for i, row in enumerate(tokens)]

    def _until_end(self, tokens: Sequence[int]) -> list[int]:
        end = self.model.generation_config.eos_token_id
        ends = set(end) if isinstance(end, list | tuple) else {end}
        place = next((place for place, token in enumerate(tokens) if token in ends), len(tokens) - 1)
        return list(tokens[: place + 1])


__all__ = ["TransformersSubject"]
