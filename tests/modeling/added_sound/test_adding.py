"""Hearing for every supported type of model: silence is the stock model's, sound is SoundLlava's, in every batch."""

import re
from pathlib import Path

import pytest
import torch
from rounding import assert_equal_to_rounding, share_weights
from tiny_families import FAMILIES, family_config, family_model, family_processor
from tiny_inputs import MIXED, build_inputs
from tiny_models import VARIANTS, tiny_audio_config, tiny_llava, tiny_sound_llava
from tiny_processors import SAMPLING_RATE, picture, sound, tiny_feature_extractor
from transformers import (
    Blip2Config,
    Gemma3Config,
    InternVLConfig,
    LlavaConfig,
    PaliGemmaConfig,
    PixtralVisionConfig,
    pipeline,
)

from soundclip_hf import SoundLlava, WhisperClipModel, add_sound, remove_sound
from soundclip_hf.modeling.added_sound.adding import check_model_type
from soundclip_hf.modeling.visual_features.layouts import LAYOUTS, layout_of

QUESTION = "<image>\nWhat is it?"
HEARD = "<image><audio>\nWhat is it?"


def encoder():
    torch.manual_seed(2)
    return WhisperClipModel(tiny_audio_config()).eval()


def heard_model(family, dtype=torch.float32):
    return add_sound(
        family_model(family, dtype),
        encoder(),
        "raw",
        processor=family_processor(family),
        feature_extractor=tiny_feature_extractor(),
    )


def logits_of(model, inputs):
    with torch.no_grad():
        return model(**inputs).logits


def mixed_batch(processor, dtype=torch.float32, **kwargs):
    """A picture with sound, a silent one, a sound alone, and text."""
    return processor(
        images=[[picture(40, 60)], [picture(30, 20, 1)], [], []],
        text=[HEARD, QUESTION, "<audio>\nWhat?", "Nothing."],
        audio=[[sound(seed=1)], [None], [sound(seed=2)], []],
        sampling_rate=SAMPLING_RATE,
        padding=True,
        return_tensors="pt",
        **kwargs,
    ).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", FAMILIES)
def test_without_sound_it_is_the_stock_model_bit_for_bit(family, dtype):
    model = family_model(family, dtype)
    stock_processor = family_processor(family)
    call = {"images": [picture(), picture(30, 20)], "text": [QUESTION] * 2, "padding": True, "return_tensors": "pt"}
    inputs = stock_processor(**call).to(dtype)
    generation = {"max_new_tokens": 4, "do_sample": False, "suppress_tokens": [3, 4]}
    logits, ids = logits_of(model, inputs), model.generate(**inputs, **generation)
    _, processor = add_sound(
        model, encoder(), "raw", processor=stock_processor, feature_extractor=tiny_feature_extractor()
    )
    silent = processor(**call).to(dtype)
    assert silent.keys() == inputs.keys()
    for name, value in inputs.items():
        assert torch.equal(silent[name], value), name
    assert torch.equal(logits_of(model, silent), logits)
    assert torch.equal(model.generate(**silent, **generation), ids)
    # Arguments about sound change nothing where there is none.
    with torch.no_grad():
        output = model(**silent, sound_top_k=3, return_sound_info=True)
    assert torch.equal(output.logits, logits)
    assert output.sound_info is None


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("budget", [None, 4])
def test_with_sound_it_is_the_sound_llava_of_the_same_parts(variant, budget, tmp_path):
    whole = tiny_sound_llava(variant)
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    tiny_llava(variant).save_pretrained(base)
    whole.config.base_model_name_or_path = str(base)
    whole.save_pretrained(adapter, adapter_only=True)
    expected = SoundLlava.from_pretrained(adapter)
    stock = share_weights(tiny_llava(variant), expected)
    model, _ = add_sound(
        stock,
        adapter,
        "projected",
        processor=family_processor(variant),
        feature_extractor=tiny_feature_extractor(),
    )
    inputs = build_inputs(whole, MIXED, budget)
    torch.testing.assert_close(logits_of(model, inputs), logits_of(expected, inputs), rtol=0, atol=1e-5)
    expected.generation_config.eos_token_id = None
    for options in ({}, {"num_beams": 3}, {"cache_implementation": "static"}, {"prefill_chunk_size": 7}):
        generation = {"max_new_tokens": 5, "do_sample": False, "suppress_tokens": [3], **options}
        assert torch.equal(model.generate(**inputs, **generation), expected.generate(**inputs, **generation)), options
    for name in ("sound_top_k", "sound_alpha"):
        if budget is None or name == "sound_alpha":
            changed = {**inputs, name: 1}
            torch.testing.assert_close(logits_of(model, changed), logits_of(expected, changed), rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_zero_mode_is_the_stock_model_with_the_other_patches_zeroed(family):
    """The stock model's own `get_image_features`, over a tower whose patches are set to zero by a hook."""
    model, processor = heard_model(family)
    inputs = processor(
        images=picture(40, 60), text=HEARD, audio=sound(), sampling_rate=SAMPLING_RATE, return_tensors="pt"
    )
    inputs.pop("input_ids"), inputs.pop("attention_mask")
    k = 2
    with torch.no_grad():
        features = model.model.get_image_features(**inputs, sound_top_k=k)
        kept = features.sound_info[0].kept.reshape(-1, layout_of(model.config).patches_per_side ** 2)
        assert kept[0].sum() == k
        embedding = model.get_audio_features(inputs["input_features"], inputs["input_features_mask"]).pooler_output
    remove_sound(model)
    layout = layout_of(model.config)

    def zero(module, args, output):
        hidden = output.hidden_states or [output.last_hidden_state]
        for states in hidden:
            if states is None:
                continue
            if states.dim() == 4:
                states[~kept.view(len(kept), 1, *states.shape[2:]).expand_as(states)] = 0
            else:
                states[:, int(layout.has_class_token) :][~kept] = 0
        return output

    handle = getattr(model.model, layout.tower).register_forward_hook(zero)
    stock_inputs = {name: value for name, value in inputs.items() if name in ("pixel_values", *layout.media)}
    with torch.no_grad():
        expected = model.model.get_image_features(**stock_inputs, return_dict=True).pooler_output[0]
        first_row = getattr(model.model, layout.projector)(embedding)[0]
    handle.remove()
    tokens = features.pooler_output[0]
    torch.testing.assert_close(tokens[0], first_row, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(tokens[1:], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_drop_mode_leaves_out_the_patches_that_zero_mode_zeroes(family):
    model, processor = heard_model(family)
    call = {"images": picture(28, 28), "text": HEARD, "audio": sound(), "sampling_rate": SAMPLING_RATE}
    options = {"return_tensors": "pt", "sound_top_k": 2}
    zero = processor(**call, **options)
    dropped = processor(**call, **options, sound_patches="drop")
    with torch.no_grad():
        (of_zero,), (of_drop,) = (
            model.model.get_image_features(
                **{name: value for name, value in inputs.items() if name not in ("input_ids", "attention_mask")}
            ).pooler_output
            for inputs in (zero, dropped)
        )
    assert len(of_drop) == (dropped["input_ids"] == 3).sum()
    assert len(of_zero) == (zero["input_ids"] == 3).sum()
    # All zeroed patches have one vector, which drop mode has nowhere.
    numbers, times = torch.unique(of_zero, dim=0, return_counts=True)
    if family != "llava_onevision":  # interpolation mixes zeroed patches with the others
        stays = ~(of_zero[:, None] == numbers[times.argmax()]).all(-1)[:, 0]
        torch.testing.assert_close(of_drop, of_zero[stays], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("family", FAMILIES)
def test_rows_of_a_mixed_batch_answer_as_alone(family, dtype, tolerance):
    model, processor = heard_model(family, dtype)
    batch = mixed_batch(processor, dtype)
    alone = [
        processor(images=picture(40, 60), text=HEARD, audio=sound(seed=1), sampling_rate=SAMPLING_RATE),
        processor(images=picture(30, 20, 1), text=QUESTION),
        processor(text="<audio>\nWhat?", audio=sound(seed=2), sampling_rate=SAMPLING_RATE),
        processor(text="Nothing."),
    ]
    logits = logits_of(model, batch)
    generation = {"max_new_tokens": 4, "do_sample": False, "suppress_tokens": [3, 4]}
    answers = model.generate(**batch, **generation)[:, batch["input_ids"].shape[1] :]
    for row, inputs in enumerate(alone):
        inputs = inputs.convert_to_tensors("pt").to(dtype)
        ids = batch["input_ids"][row][batch["attention_mask"][row].bool()]
        assert torch.equal(ids, inputs["input_ids"][0])
        own = logits[row][batch["attention_mask"][row].bool()]
        torch.testing.assert_close(own, logits_of(model, inputs)[0], rtol=tolerance, atol=tolerance)
        if dtype == torch.float32:
            answer = model.generate(**inputs, **generation)[0, len(ids) :]
            assert torch.equal(answer, answers[row])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_sound_is_heard_and_half_precision_works(family):
    for dtype in (torch.float32, torch.float16):
        model, processor = heard_model(family, dtype)
        batch = mixed_batch(processor, dtype)
        other = {**batch, "input_features": batch["input_features"].flip(0)}
        logits, changed = logits_of(model, batch), logits_of(model, other)
        assert torch.isfinite(logits).all()
        assert (logits - changed)[[0, 2], -1].abs().amax(-1).min() > 1e-4
        torch.testing.assert_close(logits[[1, 3]], changed[[1, 3]], rtol=0, atol=2e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_several_images_and_beams(family):
    """Each prompt of a batch has its own pictures and sounds in every beam."""
    model, processor = heard_model(family)
    prompts = [HEARD + HEARD, QUESTION, "<audio>"]
    images = [[picture(28, 28), picture(30, 40, 1)], [picture(20, 30, 2)], []]
    sounds = [[sound(seed=1), sound(seed=2)], [], [sound(seed=3)]]
    options = {"sampling_rate": SAMPLING_RATE, "return_tensors": "pt", "padding": True}
    generation = {"max_new_tokens": 4, "do_sample": False, "num_beams": 3, "suppress_tokens": [3, 4]}
    batch = processor(images=images, text=prompts, audio=sounds, **options)
    together = model.generate(**batch, **generation)[:, batch["input_ids"].shape[1] :]
    for row in range(3):
        inputs = processor(images=images[row : row + 1], text=prompts[row], audio=[sounds[row]], **options)
        assert torch.equal(model.generate(**inputs, **generation)[0, inputs["input_ids"].shape[1] :], together[row])


@pytest.mark.parametrize("family", FAMILIES)
def test_token_counts(family):
    """A sound adds one token in zero mode; k patches of a view and one more in drop mode; without an image, N + 1."""
    _, processor = heard_model(family)
    n = layout_of(family_config(family)).patches_per_side ** 2

    def count(text, **kwargs):
        inputs = processor(text=text, sampling_rate=SAMPLING_RATE, return_tensors="pt", **kwargs)
        return int((inputs["input_ids"] == 3).sum())

    for size in ((28, 28), (30, 90), (90, 20)):
        silent = count(QUESTION, images=picture(*size))
        assert count(HEARD, images=picture(*size), audio=sound()) == silent + 1
    assert count("<audio>", audio=sound()) == n + 1
    assert count("<audio>", audio=sound(), sound_patches="drop") == 1
    if not layout_of(family_config(family)).tiled:
        assert count(HEARD, images=picture(), audio=sound(), sound_patches="drop", sound_top_k=3) == 4


def test_a_large_onevision_picture_is_not_dropped_from():
    _, processor = heard_model("llava_onevision")
    call = {"images": picture(60, 60), "text": HEARD, "audio": sound(), "sampling_rate": SAMPLING_RATE}
    with pytest.raises(ValueError, match=r"drop.*cannot leave out patches.*patch_budget_scope='base'"):
        processor(**call, sound_patches="drop")
    model, processor = add_sound(
        family_model("llava_onevision"),
        encoder(),
        processor=family_processor("llava_onevision"),
        feature_extractor=tiny_feature_extractor(),
        patch_budget_scope="base",
        patches="drop",
        token_budget=3,
    )
    inputs = processor(**call, return_tensors="pt")
    # The tiles, 8 x 8 patches, are shrunk to 4 x 4: their newlines stay, and 3 patches of the base view.
    assert (inputs["input_ids"] == 3).sum() == 1 + 3 + 4
    assert torch.isfinite(logits_of(model, inputs)).all()


def test_videos_of_the_model_itself_have_no_sound():
    model, processor = heard_model("llava_onevision")
    frames = torch.randint(0, 256, (4, 3, 28, 28), dtype=torch.uint8)
    stock = family_processor("llava_onevision")
    inputs = processor(text="<unk>What?", videos=[frames], return_tensors="pt")
    expected = stock(text="<unk>What?", videos=[frames], return_tensors="pt")
    assert torch.equal(inputs["pixel_values_videos"], expected["pixel_values_videos"])
    heard = processor(text="<audio>", audio=sound(), sampling_rate=SAMPLING_RATE, return_tensors="pt")
    for call in (model, model.generate):
        with pytest.raises(ValueError, match="pixel_values_videos and sounds"):
            call(**heard, pixel_values_videos=inputs["pixel_values_videos"])


def test_an_added_sound_is_one_adapter():
    model, processor = heard_model("llava")
    inputs = processor(
        images=picture(40, 60), text=HEARD, audio=sound(), sampling_rate=SAMPLING_RATE, return_tensors="pt"
    )
    for call in (model, model.generate):
        with pytest.raises(ValueError, match="sound_adapter='other': this LlavaModel has one sound adapter"):
            call(**inputs, sound_adapter="other")
    assert not hasattr(model, "load_sound_adapter")  # as docs/add_sound.md says


def test_a_base_model_alone_hears():
    whole, processor = heard_model("llava_next")
    inputs = mixed_batch(processor)
    expected = whole.model(**inputs).last_hidden_state
    remove_sound(whole)
    base = whole.model
    model, _ = add_sound(
        base, encoder(), processor=family_processor("llava_next"), feature_extractor=tiny_feature_extractor()
    )
    assert model is base
    assert_equal_to_rounding(model(**inputs).last_hidden_state, expected)


@pytest.mark.parametrize("family", ["llava_onevision", "vipllava"])
def test_labels_and_pipelines(family):
    model, processor = heard_model(family)
    batch = mixed_batch(processor)
    loss = model(**batch, labels=batch["input_ids"]).loss
    loss.backward()
    assert model.model.multi_modal_projector.linear_1.weight.grad.abs().sum() > 0
    content = [{"type": "image", "image": picture()}, {"type": "text", "text": "What?"}]
    content.append({"type": "audio", "audio": sound(), "sampling_rate": SAMPLING_RATE})
    pipe = pipeline("image-text-to-text", model=model, processor=processor)
    (answer,) = pipe(text=[{"role": "user", "content": content}], max_new_tokens=2)
    assert answer["generated_text"][-1]["role"] == "assistant"


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llava_onevision", "vipllava"])
def test_compiling(family):
    model, processor = heard_model(family)
    batch = mixed_batch(processor)
    compiled = torch.compile(model, backend="eager")
    assert_equal_to_rounding(logits_of(compiled, batch), logits_of(model, batch))


@pytest.mark.parametrize("family", ["llava", "vipllava"])
def test_a_model_by_its_name(family, tmp_path):
    family_model(family).save_pretrained(tmp_path)
    family_processor(family).save_pretrained(tmp_path)
    encoder().save_pretrained(tmp_path / "encoder")
    tiny_feature_extractor().save_pretrained(tmp_path / "encoder")
    model, processor = add_sound(tmp_path, tmp_path / "encoder", dtype=torch.bfloat16)
    assert model.dtype == torch.bfloat16
    assert model.ears.audio_tower.dtype == torch.bfloat16
    messages = [
        {
            "role": "user",
            "content": [
                {"type": "image", "image": picture()},
                {"type": "audio", "audio": sound(), "sampling_rate": SAMPLING_RATE},
                {"type": "text", "text": "What?"},
            ],
        }
    ]
    inputs = processor.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    ).to(model.dtype)
    assert (inputs["input_ids"] == 3).sum() == 17
    assert model.generate(**inputs, max_new_tokens=2).shape[1] == inputs["input_ids"].shape[1] + 2


@pytest.mark.parametrize(
    "config",
    [Blip2Config(), Gemma3Config(), InternVLConfig(), PaliGemmaConfig()],
    ids=lambda config: config.model_type,
)
def test_other_types_are_refused_with_a_list(config):
    with pytest.raises(ValueError, match=f"model_type '{config.model_type}'.*llava_onevision.*vipllava.*merge, pool"):
        check_model_type(config, "a/model")


def test_towers_without_views_of_one_size_are_refused():
    with pytest.raises(ValueError, match="'pixtral' takes images of any size"):
        check_model_type(LlavaConfig(vision_config=PixtralVisionConfig()), "a/model")
    config = family_config("llava_siglip")
    config.vision_feature_select_strategy = "default"
    with pytest.raises(ValueError, match=r"'default' leaves out the first row.*'siglip_vision_model' has no \[CLS\]"):
        check_model_type(config, "a/model")


def test_every_type_is_tried_here_and_named_where_users_look():
    assert {family_config(family).model_type for family in FAMILIES} == set(LAYOUTS)
    assert all(f"`{name}`" in add_sound.__doc__ for name in LAYOUTS)
    page = (Path(__file__).parents[3] / "docs" / "add_sound.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \| ", page, re.MULTILINE)) - {"model_type", "sound"} == set(LAYOUTS)


def test_what_is_no_model_is_refused():
    with pytest.raises(TypeError, match="model is a Linear"):
        add_sound(torch.nn.Linear(1, 1), encoder())
    with pytest.raises(TypeError, match="dtype: only for a model that is named"):
        add_sound(family_model("llava"), encoder(), dtype=torch.float16)
    with pytest.raises(ValueError, match="processor="):
        add_sound(family_model("llava"), encoder(), feature_extractor=tiny_feature_extractor())
    with pytest.raises(ValueError, match="SoundLlava and hears already"):
        add_sound(tiny_sound_llava("llava"), encoder())
