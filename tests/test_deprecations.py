"""Nothing that transformers has deprecated is used on the way to an answer, to a loss, or to a prediction."""

import logging
import warnings

import pytest
import torch
from transformers import AutoModelForMultimodalLM, AutoProcessor, Trainer, TrainingArguments, pipeline

from soundclip_hf.bundled import CLIP, TINY

QUESTION = {"type": "text", "text": "What makes the sound?"}
CHAT = [{"role": "user", "content": [{"type": "video", "path": str(CLIP)}, QUESTION]}]


@pytest.fixture
def messages(caplog):
    """Everything that is said, by `warnings` or by a logger."""
    with warnings.catch_warnings(record=True) as caught, caplog.at_level(logging.WARNING):
        warnings.simplefilter("always")
        yield lambda: [str(entry.message) for entry in caught] + [record.getMessage() for record in caplog.records]


def deprecations(messages):
    # torchvision's own notice, at import, says nothing about what we call.
    return [text for text in messages if "deprecat" in text.lower() and "TorchVision" not in text]


@pytest.fixture(scope="module")
def parts():
    return AutoProcessor.from_pretrained(TINY), AutoModelForMultimodalLM.from_pretrained(TINY)


def prepare(processor):
    return processor.apply_chat_template(
        CHAT, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )


def test_answers(parts, messages):
    processor, model = parts
    inputs = prepare(processor)
    model(**inputs, labels=inputs["input_ids"])
    model.generate(**inputs, max_new_tokens=2, return_sound_info=True)
    assert not deprecations(messages())


def test_pipelines(messages):
    for task in ("any-to-any", "image-text-to-text"):
        pipeline(task, model=str(TINY))(text=CHAT, max_new_tokens=2)
    assert not deprecations(messages())


def test_trainer(parts, messages, tmp_path):
    processor, model = parts
    row = dict(prepare(processor))

    def collate(rows):
        return {**{key: torch.as_tensor(value) for key, value in row.items()}, "labels": row["input_ids"]}

    arguments = TrainingArguments(
        str(tmp_path),
        max_steps=1,
        use_cpu=True,
        report_to="none",
        remove_unused_columns=False,
        per_device_train_batch_size=1,
        per_device_eval_batch_size=1,
        activation_checkpointing=True,
    )
    trainer = Trainer(model, arguments, data_collator=collate, train_dataset=[{"row": 0}])
    trainer.train()
    trainer.predict([{"row": 0}])
    assert not deprecations(messages())
