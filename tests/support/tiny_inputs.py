"""Tensors for the tiny models, built without a processor: prompts whose placeholders fit pictures and sounds."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from tiny_models import IMAGE_SIZE, IMAGE_TOKEN_ID

TEXT = (11, 12, 13, 14)


@dataclass
class Sample:
    """One prompt: a list of slots, each (picture size or None, sound seed or None), with text around."""

    slots: Sequence[tuple[tuple[int, int] | None, int | None]] = ()
    text: Sequence[int] = TEXT
    extra: dict[str, Any] = field(default_factory=dict)


def build_inputs(model, samples: Sequence[Sample], budget: int | None = None, dtype=torch.float32) -> dict[str, Any]:
    """
    Left-padded `input_ids`, `attention_mask`, pictures, `sound_embeds`, `sound_slots`, `sound_budget`.

    `budget` None is zero mode, a number drop mode with this k.
    """
    tiled = model.config.llava_variant == "llava_next"
    pictures, sizes, sounds, rows, counts = [], [], [], [], []
    for sample in samples:
        counts.append(len(sample.slots))
        for size, sound in sample.slots:
            row = [-1, -1]
            if size is not None:
                row[0] = len(pictures)
                generator = torch.Generator().manual_seed(size[0] * 1000 + size[1])
                views = 5 if tiled else 1
                pictures.append(torch.randn(views, 3, IMAGE_SIZE, IMAGE_SIZE, generator=generator))
                sizes.append(size)
            if sound is not None:
                row[1] = len(sounds)
                generator = torch.Generator().manual_seed(sound)
                sounds.append(torch.randn(model.config.sound_config.audio_embedding_dim, generator=generator))
            rows.append(row)
    inputs: dict[str, Any] = {}
    if pictures:
        pixels = torch.stack(pictures).to(dtype)
        inputs["pixel_values"] = pixels if tiled else pixels[:, 0]
        if tiled:
            inputs["image_sizes"] = torch.tensor(sizes)
    if sounds:
        inputs["sound_embeds"] = torch.stack(sounds).to(dtype)
        inputs["sound_slots"] = torch.tensor(rows)
        inputs["sound_budget"] = torch.tensor([-1 if budget is None or row[1] < 0 else budget for row in rows])
    tokens = [slot.num_tokens for slot in model.model.plan_slots(**inputs)] if rows else []
    prompts, start = [], 0
    for sample, count in zip(samples, counts):
        prompt = [1]
        for number in tokens[start : start + count]:
            prompt += [IMAGE_TOKEN_ID] * number + [10]
        prompts.append(prompt + list(sample.text))
        start += count
    longest = max(len(prompt) for prompt in prompts)
    inputs["input_ids"] = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
    inputs["attention_mask"] = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    return inputs


MIXED = [
    Sample([((28, 28), 1)]),
    Sample([((28, 28), None)], text=(21, 22)),
    Sample([(None, 2)], text=(31, 32, 33)),
    Sample([], text=(41, 42, 43, 44, 45, 46)),
    Sample([((40, 20), 3), ((20, 60), 4)]),
    Sample([((60, 20), None), ((28, 30), 5)], text=(51,)),
]
