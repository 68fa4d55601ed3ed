"""The audit of models that hear: what its numbers are, and what it does not depend on."""

import json

import pytest
import torch
from audit_subjects import bundled, qwen2_audio, qwen2_audio_parts, scenes
from test_trials import png, samples, wav
from tiny_models import tiny_sound_llava
from tiny_processors import tiny_sound_processor
from transformers import LlavaForConditionalGeneration

from soundclip_hf.evaluation.audit import (
    Audit,
    AuditSettings,
    Prompt,
    SoundLlavaSubject,
    TransformersSubject,
    audit,
)
from soundclip_hf.evaluation.results import EvalResult
from soundclip_hf.evaluation.samples import Sample, read_sample
from soundclip_hf.modeling.finite import NotFiniteError

FEW = AuditSettings(max_new_tokens=6, pairing=3)


def prompts(count: int = 3) -> list[Prompt]:
    found = [read_sample(sample, sampling_rate=16_000) for sample in scenes(count)]
    return [Prompt("What makes the sound?", media.sound, media.pictures) for media in found]


@pytest.mark.parametrize("make", [bundled, qwen2_audio])
def test_logits_are_those_of_teacher_forcing(make):
    """The same numbers as one forward over prompt and answer."""
    subject = make()
    asked = prompts()
    for number, prompt in enumerate(asked):
        inputs = dict(subject.inputs([prompt]))
        (free,) = subject.generate(inputs, 6)
        answer = asked_answer(subject, free.tokens, number)
        (forced,) = subject.logits(inputs, [answer])
        whole = torch.cat([inputs["input_ids"], torch.tensor([answer])], dim=1)
        inputs |= {"input_ids": whole, "attention_mask": torch.ones_like(whole)}
        with torch.inference_mode():
            expected = subject.model(**inputs).logits[0, -len(answer) - 1 : -1]
        assert forced.logits.shape == expected.shape
        assert torch.allclose(forced.logits, expected, atol=1e-4)


def asked_answer(subject, tokens: list[int], number: int) -> list[int]:
    """The model's own answer, and answers that it would not give."""
    return tokens if number == 0 else [*(token + number for token in tokens[:2]), *tokens[:1]]


@pytest.mark.parametrize("make", [bundled, qwen2_audio])
def test_logits_of_a_batch_of_answers_of_different_lengths(make):
    subject = make()
    inputs = subject.inputs(prompts())
    answers = [response.tokens for response in subject.generate(inputs, 6)]
    answers[1] = answers[1][:2]
    together = subject.logits(inputs, answers)
    for prompt, answer, response in zip(prompts(), answers, together, strict=True):
        (alone,) = subject.logits(subject.inputs([prompt]), [answer])
        assert len(response.logits) == len(answer)
        assert torch.allclose(response.logits, alone.logits, atol=1e-4)


def test_greedy_answers_are_the_largest_logits():
    subject = bundled()
    for response in subject.generate(subject.inputs(prompts()), 16):
        assert response.logits.argmax(-1).tolist() == response.tokens
        assert response.tokens[-1] == subject.model.generation_config.eos_token_id or len(response.tokens) == 16


@pytest.mark.parametrize(
    ("variant", "scope"), [("llava", "tile"), ("llava_next", "tile"), ("llava_next", "image"), ("llava_next", "base")]
)
@pytest.mark.parametrize("mode", ["zero", "drop"])
def test_channels_of_both_variants(variant, scope, mode):
    model = tiny_sound_llava(variant, sound={"patch_budget_scope": scope})
    subject = SoundLlavaSubject(
        model, tiny_sound_processor(variant, patch_budget_scope=scope), "random", sound_patches=mode, sound_top_k=5
    )
    asked = prompts(2)
    true = subject.generate(subject.inputs(asked), 4)
    answers = [response.tokens for response in true]
    # With its own sound, the choice of patches is its own.
    same = subject.logits(subject.inputs(asked, "patches", asked), answers)
    assert all(torch.allclose(one.logits, other.logits, atol=1e-5) for one, other in zip(same, true))
    swapped = [Prompt(one.question, other.sound, one.pictures) for one, other in zip(asked, asked[::-1])]
    moved = subject.logits(subject.inputs(swapped, "patches", asked), answers)
    assert not all(torch.allclose(one.logits, other.logits, atol=1e-3) for one, other in zip(moved, true))
    # No patch is left that a sound could choose, but for the tiles of scope "base", which are never kept.
    alone = subject.logits(subject.inputs(asked, "token"), answers)
    also = subject.logits(subject.inputs(swapped, "token"), answers)
    assert all(torch.equal(one.kept, other.kept) for one, other in zip(alone, also))
    assert scope == "base" or all(one.kept.sum() > 5 for one in alone)
    assert not all(torch.allclose(one.logits, other.logits, atol=1e-4) for one, other in zip(alone, also))


def test_the_result_is_complete(tmp_path):
    subject = bundled()
    report = audit(subject, scenes(4), FEW)
    report.result.save(tmp_path / "audit.json")
    loaded = EvalResult.load(tmp_path / "audit.json")
    assert loaded.metrics == report.result.metrics
    assert (loaded.task, loaded.model, loaded.n, loaded.seed) == ("audit", "tiny", 4, 0)
    assert loaded.dataset == scenes(4).name
    low, high = loaded.interval("hears.total")
    assert low <= report.hears["total"] <= high
    assert {name.split(".")[0] for name in loaded.numbers()} == {"hears", "total", "token", "patches", "pairing"}
    config = loaded.config
    assert (config["k"], config["mode"], config["alignment"], config["alpha"]) == (8, "zero", "projected", 0.0)
    assert (config["question"], config["max_new_tokens"], config["precision"]) == (FEW.question, 6, "float32")
    assert config["samples"] == scenes(4).identity()
    assert config["counts"]["total.swapped"] == 4
    assert config["counts"]["pairing"] == 3
    assert {"soundclip-hf", "torch", "transformers"} <= set(loaded.versions)
    assert "hears" in report.sentence
    assert "No fault was found in 4 samples." in report.sentence
    few = "They are too few to say how much it hears: take more." in report.sentence
    assert few == (high - low >= 0.5)
    assert json.loads(json.dumps(report.examples)) == report.examples


def test_rows_say_what_was_compared():
    report = audit(bundled(), scenes(4), FEW)
    ids = scenes(4).ids
    assert [row["id"] for row in report.examples] == ids
    assert sorted(row["swapped_with"] for row in report.examples) == sorted(ids)
    for row in report.examples:
        total = row["channels"]["total"]
        assert total["swapped"]["flipped"] == (total["swapped"]["answer"] != row["answer"])
        assert total["silent"]["answer"] == "Nothing makes a sound."
        assert row["channels"]["token"]["swapped"]["kept_overlap"] == 1
        assert 0 <= total["swapped"]["kept_overlap"] <= 1


def test_the_batch_size_changes_no_number():
    one, three = (
        audit(qwen2_audio(), scenes(4), AuditSettings(max_new_tokens=6, batch_size=size, pairing=0)) for size in (1, 3)
    )
    assert one.result.numbers() == pytest.approx(three.result.numbers(), abs=1e-4)
    assert one.pairing == []


def test_pairing_is_checked_where_prompts_come_one_by_one():
    report = audit(qwen2_audio(), scenes(4), AuditSettings(max_new_tokens=6, batch_size=1, pairing=4))
    assert [row["id"] for row in report.pairing] == scenes(4).ids
    assert report.faults == []


def test_the_seed_decides_the_swaps_and_repeats():
    subject = bundled()
    one, again, other = (Audit(subject, scenes(4), AuditSettings(seed=seed)).trials.swapped_with for seed in (0, 0, 1))
    assert one == again != other


def test_a_stopped_run_goes_on():
    settings = AuditSettings(max_new_tokens=6, batch_size=2, pairing=0)
    whole = audit(qwen2_audio(), scenes(4), settings)
    rows: dict[str, dict] = {}

    def keep(row: dict) -> None:
        rows[row["id"]] = row
        if len(rows) == 2:
            raise KeyboardInterrupt

    run = Audit(qwen2_audio(), scenes(4), settings)
    with pytest.raises(KeyboardInterrupt):
        run.run(keep=keep)
    new: list[dict] = []
    report = Audit(qwen2_audio(), scenes(4), settings).run(json.loads(json.dumps(rows)), new.append)
    assert [row["id"] for row in new] == scenes(4).ids[2:]
    assert report.result.numbers() == pytest.approx(whole.result.numbers(), abs=1e-4)


def test_samples_without_pictures():
    """Nothing chooses patches; the sound's token is all there is."""
    made = [Sample(str(seed), str(seed), audio=wav(seed, 1.0)) for seed in range(3)]
    report = audit(bundled(), samples(made), FEW)
    assert set(report.hears) == {"total", "token"}
    assert report.faults == []
    assert report.hears["token"] == pytest.approx(report.hears["total"])


def test_some_samples_without_pictures():
    made = [Sample(str(seed), str(seed), audio=wav(seed), image=png(seed) if seed else None) for seed in range(4)]
    report = audit(bundled(), samples(made), FEW)
    assert report.faults == []
    counts = report.result.config["counts"]
    assert (counts["total.swapped"], counts["patches.swapped"]) == (4, 3)


@pytest.mark.filterwarnings("ignore:.*silent sound", "ignore:.*silence")
def test_samples_of_digital_silence_are_no_fault():
    made = [
        Sample(str(seed), str(seed), audio=wav(seed or None, 0.4 + 0.1 * seed), image=png(seed)) for seed in range(4)
    ]
    report = audit(bundled(), samples(made), FEW)
    assert report.faults == []
    assert report.examples[0]["channels"]["total"]["silent"] is None
    counts = report.result.config["counts"]
    assert (counts["total.silent"], counts["total.swapped"]) == (3, 4)


@pytest.mark.filterwarnings("ignore:.*silent sound", "ignore:.*silence")
@pytest.mark.parametrize("seed", [None, 1])
def test_sounds_that_are_all_the_same(seed):
    made = [Sample(name, name, audio=wav(seed), image=png()) for name in "ab"]
    with pytest.raises(ValueError, match="every sound is the same as the one that it is swapped with, or silence"):
        audit(bundled(), samples(made), FEW)


def test_a_soundllava_is_a_model_of_transformers_too():
    """Its total is the same without what we know of its parts."""
    own = bundled()
    plain = audit(TransformersSubject(own.model, own.processor, "tiny"), scenes(3), FEW)
    assert set(plain.hears) == {"total"}
    assert plain.hears["total"] == pytest.approx(audit(own, scenes(3), FEW).hears["total"], abs=1e-6)


def test_a_model_without_pictures_is_asked_without_them():
    subject = qwen2_audio()
    (prompt, *_) = prompts()
    assert prompt.pictures
    assert [part["type"] for part in subject.conversation(prompt)[0]["content"]] == ["audio", "text"]
    assert audit(subject, scenes(3), FEW).result.config["pictures"] is False
    with pytest.raises(ValueError, match="channel='token': TransformersSubject has \\['total'\\]"):
        subject.inputs([prompt], "token")


def test_a_stock_llava_is_no_subject():
    """It would answer without any sound."""
    processor = bundled().processor.stock_processor
    model = tiny_sound_llava("llava")
    stock = LlavaForConditionalGeneration(LlavaForConditionalGeneration.config_class(**parts(model.config)))
    with pytest.raises(ValueError, match="LlavaProcessor has no feature_extractor"):
        TransformersSubject(stock, processor)


def parts(config) -> dict:
    return {"vision_config": config.vision_config, "text_config": config.text_config}


def test_a_processor_without_a_chat_template():
    model, processor = qwen2_audio_parts()
    processor.chat_template = None
    with pytest.raises(ValueError, match="Qwen2AudioProcessor has no chat_template"):
        TransformersSubject(model, processor)


def test_logits_that_are_not_finite():
    subject = bundled()
    subject.model.lm_head.weight.data[5] = torch.nan
    with pytest.raises(NotFiniteError, match=r"tiny cannot be audited.*lm_head\.weight"):
        audit(subject, scenes(2), FEW)


@pytest.mark.parametrize("name", ["max_new_tokens", "batch_size", "pairing", "seed"])
def test_settings_are_checked(name):
    with pytest.raises(ValueError, match=f"{name}=-1: must be at least"):
        AuditSettings(**{name: -1})


def test_prompts_with_and_without_sound_do_not_mix():
    first, second, _ = prompts()
    with pytest.raises(ValueError, match="some of the prompts have a sound and some do not"):
        bundled().inputs([first, Prompt(second.question, None, second.pictures)])
    with pytest.raises(ValueError, match='channel="patches" needs `true`'):
        bundled().inputs([first], "patches")
