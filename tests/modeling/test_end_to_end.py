"""Processor and model together: silent prompts are stock LLaVA's, pipelines, training and LoRA work."""

import numpy as np
import pytest
import torch
from media_files import pcm_wav
from PIL import Image
from rounding import share_weights
from tiny_models import VARIANTS, tiny_llava, tiny_sound_llava
from tiny_processors import tiny_llava_processor, tiny_sound_processor
from transformers import AutoModelForMultimodalLM, AutoProcessor, Trainer, TrainingArguments, pipeline

import soundclip_hf  # noqa: F401  (registers the Auto classes)

GREEDY = {"max_new_tokens": 6, "do_sample": False, "suppress_tokens": [0, 2, 3]}


def picture(width=40, height=30, seed=0):
    generator = np.random.default_rng(seed)
    return Image.fromarray(generator.integers(0, 255, (height, width, 3), dtype=np.uint8))


def sound(seconds=0.5, seed=0):
    generator = np.random.default_rng(seed)
    time = np.arange(int(16_000 * seconds)) / 16_000
    return (0.3 * np.sin(2 * np.pi * generator.uniform(200, 900) * time)).astype(np.float32)


def turn(*parts, text="What makes the sound?"):
    return [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]


def image_part(**kwargs):
    return {"type": "image", "image": picture(**kwargs)}


def audio_part(**kwargs):
    return {"type": "audio", "audio": sound(**kwargs), "sampling_rate": 16_000}


def prepare(processor, conversations, **kwargs):
    return processor.apply_chat_template(
        conversations,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        padding=True,
        **kwargs,
    )


def answers(model, processor, conversations, **kwargs):
    inputs = prepare(processor, conversations, **kwargs).to(model.device, model.dtype)
    with torch.no_grad():
        ids = model.generate(**inputs, **GREEDY)
    return processor.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


@pytest.fixture(params=VARIANTS)
def variant(request):
    return request.param


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_silent_batch_gives_stock_ids_logits_and_text(variant, dtype):
    ours, stock = tiny_sound_processor(variant), tiny_llava_processor(variant)
    stock.chat_template = ours.chat_template
    conversations = [turn(image_part()), turn(image_part(width=20, height=60), text="And here?")]
    inputs, expected = prepare(ours, conversations), prepare(stock, conversations)
    assert inputs.keys() == expected.keys()
    for key in expected:
        assert torch.equal(inputs[key], expected[key]), key
    hearing = tiny_sound_llava(variant, dtype)
    deaf = share_weights(tiny_llava(variant, dtype), hearing)
    inputs = inputs.to(hearing.device, dtype)
    with torch.no_grad():
        assert torch.equal(hearing(**inputs).logits, deaf(**inputs).logits)
    assert answers(hearing, ours, conversations) == answers(deaf, stock, conversations)


@pytest.mark.parametrize("patches", ["zero", "drop"])
def test_mixed_batch_answers_as_single_prompts_do(variant, patches):
    model, processor = tiny_sound_llava(variant), tiny_sound_processor(variant, sound_patches=patches)
    conversations = [
        turn(image_part(), audio_part()),
        turn(image_part(width=60, height=20), text="Silent."),
        turn(audio_part(seconds=1.3, seed=1)),
        turn(text="No media at all"),
        turn(image_part(), image_part(width=20, height=50), audio_part(seconds=0.3), audio_part(seed=2)),
        turn(image_part(), image_part(seed=3), audio_part(seconds=0.2)),
    ]
    together = answers(model, processor, conversations)
    alone = [answers(model, processor, [conversation])[0] for conversation in conversations]
    assert together == alone


@pytest.mark.parametrize("patches", ["zero", "drop"])
def test_the_sound_changes_the_logits(variant, patches):
    model, processor = tiny_sound_llava(variant), tiny_sound_processor(variant, sound_patches=patches)
    logits = []
    for seed in (0, 1):
        inputs = prepare(processor, [turn(image_part(), audio_part(seed=seed))])
        with torch.no_grad():
            logits.append(model(**inputs).logits)
    assert logits[0].shape == logits[1].shape
    assert (logits[0] - logits[1]).abs().max() > 1e-4


def test_call_that_contradicts_the_prompt(variant):
    model, processor = tiny_sound_llava(variant), tiny_sound_processor(variant, sound_patches="drop")
    inputs = prepare(processor, [turn(image_part(), audio_part())], sound_top_k=7)
    with pytest.raises(ValueError, match="expanded for drop, k=7"):
        model.generate(**inputs, sound_top_k=3)
    with torch.no_grad():
        info = model(**inputs, return_sound_info=True).sound_info[0]
    assert info.k == 7
    without = {key: value for key, value in inputs.items() if not key.startswith(("input_features", "sound_"))}
    with pytest.raises(ValueError, match="image placeholders, expected"):
        model.generate(**without)


def test_top_k_of_the_processor_reaches_the_model_in_zero_mode(variant):
    model, processor = tiny_sound_llava(variant), tiny_sound_processor(variant)
    conversations = [
        turn(image_part(), image_part(seed=3), audio_part()),
        turn(audio_part(seed=1)),
        turn(image_part(), image_part(seed=4), {"type": "audio", "audio": None}, audio_part(seed=2)),
    ]
    inputs = prepare(processor, conversations, sound_top_k=[[2, None], [3], [9, 4]])
    assert inputs["sound_budget"].tolist() == [-4, -1, -5, -1, -6]
    with torch.no_grad():
        info = model(**inputs, return_sound_info=True).sound_info
    assert [entry.k for entry in info] == [2, 5, 3, -1, 4]
    assert [entry.mode for entry in info] == ["zero", "zero", "zero", "silent", "zero"]
    with pytest.raises(ValueError, match=r"expanded for zero, k=4 \(slot 4\), the call says sound_top_k=3"):
        model.generate(**inputs, sound_top_k=[2, 5, 3, 3, 3])
    # An older processor wrote -1, and left k to the call.
    older = {**inputs, "sound_budget": torch.full_like(inputs["sound_budget"], -1)}
    with torch.no_grad():
        assert torch.equal(model(**older, sound_top_k=[2, 5, 3, 3, 4]).logits, model(**inputs).logits)
        assert [entry.k for entry in model(**older, return_sound_info=True).sound_info] == [5, 5, 5, -1, 5]
    # One prompt becomes several rows, its slots stay one.
    greedy = model.generate(**inputs, **GREEDY)
    several = model.generate(**inputs, **{**GREEDY, "do_sample": True, "top_k": 1, "num_return_sequences": 2})
    assert torch.equal(several, greedy.repeat_interleave(2, dim=0))
    call = {**older, "sound_top_k": [2, 5, 3, 3, 4], **GREEDY, "num_beams": 3}
    assert torch.equal(model.generate(**inputs, **GREEDY, num_beams=3), model.generate(**call))


def test_top_k_of_the_processor_and_a_filled_cache(variant):
    model, processor = tiny_sound_llava(variant), tiny_sound_processor(variant)
    inputs = prepare(processor, [turn(image_part(), audio_part())], sound_top_k=2)
    first = model.generate(**inputs, **GREEDY, return_dict_in_generate=True)
    ids = torch.cat([first.sequences, torch.tensor([[5, 6]])], dim=1)
    cache = first.cache if hasattr(first, "cache") else first.past_key_values
    name = "cache" if hasattr(first, "cache") else "past_key_values"
    followed = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **{name: cache}, **GREEDY)
    again = {**inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
    assert torch.equal(followed, model.generate(**again, **GREEDY))


@pytest.fixture
def repo(variant, tmp_path):
    model = tiny_sound_llava(variant)
    model.generation_config.suppress_tokens = GREEDY["suppress_tokens"]
    model.save_pretrained(tmp_path)
    tiny_sound_processor(variant).save_pretrained(tmp_path)
    return tmp_path


def test_quickstart(repo, variant):
    processor = AutoProcessor.from_pretrained(repo)
    model = AutoModelForMultimodalLM.from_pretrained(repo, dtype="auto", device_map="auto")
    conversation = turn(image_part(), audio_part())
    reference = answers(tiny_sound_llava(variant), tiny_sound_processor(variant), [conversation])
    inputs = processor.apply_chat_template(
        conversation, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    ).to(model.device, model.dtype)
    output = model.generate(**inputs, max_new_tokens=6)
    assert processor.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True) == reference[0]


@pytest.mark.parametrize("task", ["any-to-any", "image-text-to-text"])
def test_pipelines_hear(repo, variant, task):
    pipe = pipeline(task, model=str(repo))
    texts = []
    for seed in (0, 1):
        conversation = [
            {
                "role": "user",
                "content": [
                    image_part(),
                    {"type": "audio", "audio": sound(seed=seed), "sampling_rate": 16_000},
                    {"type": "text", "text": "What makes the sound?"},
                ],
            }
        ]
        output = pipe(text=conversation, max_new_tokens=6, return_full_text=False)
        texts.append(output[0]["generated_text"])
        reference = answers(tiny_sound_llava(variant), tiny_sound_processor(variant), [conversation])
        assert texts[-1] == reference[0]


@pytest.mark.parametrize("task", ["any-to-any", "image-text-to-text"])
def test_pipelines_batch_pictures_and_sounds(repo, variant, task):
    """Rows that the processor prepared one by one, of different lengths, answer as they do alone."""
    pipe = pipeline(task, model=str(repo))
    conversations = [
        turn(image_part(seed=seed), audio_part(seconds=seconds, seed=seed), text=text)
        for seed, (seconds, text) in enumerate(
            [(0.5, "What?"), (0.2, "What makes the sound?"), (1.1, "?"), (0.3, "So")]
        )
    ]
    conversations.append(turn(image_part(), image_part(seed=7), audio_part(seed=7)))
    options = {"max_new_tokens": 6, "return_full_text": False}
    padded = {"processor_kwargs": {"audio_kwargs": {"padding": "max_length"}}}
    alone = [pipe(text=conversation, **options)[0]["generated_text"] for conversation in conversations]
    together = pipe(text=conversations, batch_size=5, **padded, **options)
    assert [output[0]["generated_text"] for output in together] == alone
    assert len(set(alone)) > 1
    assert not any(text.startswith(" ") for text in alone)
    sounds = pipe(text=[turn(audio_part(seed=seed)) for seed in range(3)], batch_size=2, **options)
    assert [output[0]["generated_text"] for output in sounds] == [
        pipe(text=turn(audio_part(seed=seed)), **options)[0]["generated_text"] for seed in range(3)
    ]


@pytest.mark.parametrize("task", ["any-to-any", "image-text-to-text"])
def test_pipelines_hand_top_k_to_the_model(repo, variant, task, monkeypatch):
    pipe = pipeline(task, model=str(repo))
    budgets = []
    plan = pipe.model.model.plan_slots
    monkeypatch.setattr(
        pipe.model.model, "plan_slots", lambda **call: budgets.append([s.k for s in plan(**call)]) or plan(**call)
    )
    conversations = [turn(image_part(seed=seed), audio_part(seed=seed)) for seed in range(3)]
    options = {"max_new_tokens": 6, "return_full_text": False}
    kwargs = {"sound_top_k": 2, "audio_kwargs": {"padding": "max_length"}}
    alone = [pipe(text=one, processor_kwargs=kwargs, **options)[0]["generated_text"] for one in conversations]
    assert set(map(tuple, budgets)) == {(2,)}
    budgets.clear()
    together = pipe(text=conversations, batch_size=3, processor_kwargs=kwargs, **options)
    assert set(map(tuple, budgets)) == {(2, 2, 2)}
    assert [output[0]["generated_text"] for output in together] == alone


def test_pipeline_without_chat_takes_paths(repo, variant, tmp_path):
    picture().save(tmp_path / "picture.png")
    (tmp_path / "sound.wav").write_bytes(pcm_wav((sound()[:, None] * 32767).astype(np.int16), 16_000))
    pipe = pipeline("any-to-any", model=str(repo))
    prompt = "USER: <image><audio>\nWhat makes the sound? ASSISTANT:"
    output = pipe(
        text=prompt, images=str(tmp_path / "picture.png"), audio=str(tmp_path / "sound.wav"), max_new_tokens=6
    )
    inputs = tiny_sound_processor(variant)(
        text=prompt, images=picture(), audio=str(tmp_path / "sound.wav"), return_tensors="pt"
    )
    ids = tiny_sound_llava(variant).generate(**inputs, **GREEDY)[0, inputs["input_ids"].shape[1] :]
    assert output[0]["generated_text"].endswith(tiny_sound_processor(variant).decode(ids, skip_special_tokens=True))


class Pairs(torch.utils.data.Dataset):
    def __init__(self, processor):
        self.rows = []
        for seed in range(4):
            batch = prepare(processor, [turn(image_part(seed=seed), audio_part(seed=seed))])
            self.rows.append(dict(batch.items()))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]


def collate(rows):
    # Equal prompts and sound lengths: rows can be concatenated, slots count on.
    batch = {key: torch.cat([row[key] for row in rows]) for key in rows[0]}
    batch["sound_slots"] = torch.arange(len(rows))[:, None].expand(-1, 2).clone()
    batch["labels"] = batch["input_ids"].masked_fill(batch["input_ids"] == 3, -100)
    return batch


@pytest.mark.parametrize("checkpointing", [False, True])
def test_one_trainer_step_moves_the_projector_alone(variant, tmp_path, checkpointing):
    model, processor = tiny_sound_llava(variant), tiny_sound_processor(variant)
    model.freeze_base_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    arguments = TrainingArguments(
        str(tmp_path),
        max_steps=1,
        per_device_train_batch_size=2,
        learning_rate=1e-2,
        report_to="none",
        remove_unused_columns=False,
        use_cpu=True,
        activation_checkpointing=checkpointing,
    )
    Trainer(model, arguments, train_dataset=Pairs(processor), data_collator=collate).train()
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {name for name in before if name.startswith("model.audio_projection.")}


def test_trainer_predicts(variant, tmp_path):
    model, processor = tiny_sound_llava(variant), tiny_sound_processor(variant)
    arguments = TrainingArguments(
        str(tmp_path), per_device_eval_batch_size=2, report_to="none", remove_unused_columns=False, use_cpu=True
    )
    pairs = Pairs(processor)
    output = Trainer(model, arguments, data_collator=collate).predict(pairs)
    logits = output.predictions[0] if isinstance(output.predictions, tuple) else output.predictions
    assert logits.shape[0] == len(pairs)
    with torch.no_grad():
        alone = model(**pairs[3]).logits[0]
    torch.testing.assert_close(torch.from_numpy(logits[3]), alone, rtol=0, atol=1e-5)


def test_lora_on_the_language_model_travels_with_the_projector(variant, tmp_path):
    from peft import LoraConfig, PeftModel, get_peft_model

    processor = tiny_sound_processor(variant)
    settings = LoraConfig(
        r=2,
        target_modules=r".*language_model.*\.(q|v)_proj",
        modules_to_save=["audio_projection"],
        init_lora_weights=False,
    )
    model = get_peft_model(tiny_sound_llava(variant), settings)
    adapted = [name for name, _ in model.named_parameters() if "lora_" in name]
    assert adapted
    assert all("language_model" in name for name in adapted)
    inputs = prepare(processor, [turn(image_part(), audio_part())])
    with torch.no_grad():
        for parameter in model.base_model.model.model.audio_projection.parameters():
            parameter.add_(0.1)
        expected = model(**inputs).logits
        assert not torch.allclose(expected, tiny_sound_llava(variant)(**inputs).logits, atol=1e-3)
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(tiny_sound_llava(variant), tmp_path).eval()
    with torch.no_grad():
        torch.testing.assert_close(loaded(**inputs).logits, expected)
        merged = loaded.merge_and_unload()
        torch.testing.assert_close(merged(**inputs).logits, expected, rtol=0, atol=1e-4)
