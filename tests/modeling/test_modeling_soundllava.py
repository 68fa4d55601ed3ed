"""SoundLlava's forward: silent equals stock, sound is heard, batches equal single rows, bad input is named."""

import copy
import pickle

import pytest
import torch
from rounding import assert_equal_to_rounding, assert_same_weights, share_weights
from tiny_inputs import MIXED, Sample, build_inputs
from tiny_models import VARIANTS, tiny_llava, tiny_sound_llava

DTYPES = (torch.float32, torch.bfloat16)
SILENT = [Sample([((28, 28), None)]), Sample([((40, 20), None), ((20, 60), None)], text=(21, 22))]
HEARD = [Sample([((40, 20), 1)]), Sample([((20, 60), 2), ((28, 28), 3)], text=(21, 22))]


def logits_of(model, inputs):
    with torch.no_grad():
        return model(**inputs).logits


def last_rows(logits, inputs):
    """Logits at real positions, one tensor per sample."""
    return [row[mask.bool()] for row, mask in zip(logits, inputs["attention_mask"])]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_silent_batch_is_the_stock_model_bit_for_bit(variant, dtype):
    """The same operations on the same weights: of two copies of the weights nobody promises it."""
    ours = tiny_sound_llava(variant, dtype)
    stock = share_weights(tiny_llava(variant, dtype), ours)
    inputs = build_inputs(ours, SILENT, dtype=dtype)
    assert torch.equal(logits_of(ours, inputs), logits_of(stock, inputs))
    generated = [
        model.generate(**inputs, max_new_tokens=6, do_sample=False, suppress_tokens=[3]) for model in (ours, stock)
    ]
    assert torch.equal(*generated)


def test_silent_llava_with_the_full_strategy_is_the_stock_model():
    kwargs = {"vision_feature_select_strategy": "full"}
    ours = tiny_sound_llava("llava", **kwargs)
    stock = share_weights(tiny_llava("llava", **kwargs), ours)
    inputs = build_inputs(ours, SILENT)
    assert (inputs["input_ids"] == 3).sum().item() == 3 * 17
    assert torch.equal(logits_of(ours, inputs), logits_of(stock, inputs))


def test_silent_llava_next_with_the_full_strategy_counts_one_more_row():
    model = tiny_sound_llava("llava_next", vision_feature_select_strategy="full")
    inputs = build_inputs(model, SILENT)
    features = model.get_image_features(inputs["pixel_values"], inputs["image_sizes"]).pooler_output
    default = model.get_image_features(
        inputs["pixel_values"], inputs["image_sizes"], vision_feature_select_strategy="default"
    ).pooler_output
    for full, rest in zip(features, default):
        assert len(full) == len(rest) + 1
        torch.testing.assert_close(full[1:], rest, rtol=0, atol=1e-5)


@pytest.mark.parametrize("budget", [None, 5, 0])
@pytest.mark.parametrize("variant", VARIANTS)
def test_another_sound_gives_other_logits(variant, budget):
    model = tiny_sound_llava(variant)
    inputs = build_inputs(model, HEARD, budget)
    other = {**inputs, "sound_embeds": inputs["sound_embeds"].flip(0)}
    assert (logits_of(model, inputs) - logits_of(model, other)).abs().max() > 1e-2


@pytest.mark.parametrize("variant", VARIANTS)
def test_with_the_stock_strategy_the_sounds_row_never_reaches_the_llm(variant):
    model = tiny_sound_llava(variant, sound={"sound_select_strategy": "default", "token_budget": 16})
    inputs = build_inputs(model, HEARD)
    other = {**inputs, "sound_embeds": inputs["sound_embeds"].flip(0)}
    # Every patch is kept, so the only trace of the sound would be row 0; "default" has dropped it.
    torch.testing.assert_close(logits_of(model, inputs), logits_of(model, other), rtol=0, atol=1e-4)
    fewer = {**inputs, "sound_top_k": 3}
    assert (logits_of(model, fewer) - logits_of(model, {**other, "sound_top_k": 3})).abs().max() > 1e-3


@pytest.mark.parametrize("budget", [None, 4])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_mixed_batch_equals_single_rows(variant, dtype, budget):
    model = tiny_sound_llava(variant, dtype)
    batch = build_inputs(model, MIXED, budget, dtype)
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    together = last_rows(logits_of(model, batch), batch)
    for sample, row in zip(MIXED, together):
        inputs = build_inputs(model, [sample], budget, dtype)
        alone = logits_of(model, inputs)[0]
        assert len(alone) == len(row)
        torch.testing.assert_close(row, alone, rtol=0, atol=tolerance)


# Under scope "base" the tiles are empty: zero keeps their places, drop does not.
@pytest.mark.parametrize(("variant", "scope"), [("llava", "base"), ("llava_next", "tile"), ("llava_next", "image")])
def test_drop_equals_zero_when_everything_is_kept(variant, scope):
    model = tiny_sound_llava(variant, sound={"patch_budget_scope": scope})
    size = (40, 20)
    everything = 16 * 3 if scope == "image" else 16  # (40, 20) takes two tiles beside the base view
    zero = build_inputs(model, [Sample([(size, 1)])])
    drop = build_inputs(model, [Sample([(size, 1)])], budget=everything)
    assert torch.equal(zero["input_ids"], drop["input_ids"])
    zero["sound_top_k"] = everything
    torch.testing.assert_close(logits_of(model, zero), logits_of(model, drop), rtol=0, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_zeroed_patches_share_one_vector_and_agree_with_the_plain_projector(variant):
    model = tiny_sound_llava(variant)
    inputs = build_inputs(model, [Sample([((40, 20), 1)])])
    output = model.get_image_features(
        **{key: value for key, value in inputs.items() if key not in ("input_ids", "attention_mask")}
    )
    info = output.sound_info[0]
    kept = info.kept.view(-1, 16)
    slot = model.model.plan_slots(pixel_values=inputs["pixel_values"], image_sizes=inputs.get("image_sizes"))[0]
    # The plain way: zero the rows, run the whole grid through the projector, lay it out.
    pixels = inputs["pixel_values"][0][: slot.geometry.num_views] if variant == "llava_next" else inputs["pixel_values"]
    with torch.no_grad():
        hidden = model.model.vision_tower(pixels, output_hidden_states=True).hidden_states[-2]
        f_a = model.model.audio_projection(inputs["sound_embeds"])
        patches = torch.where(kept[..., None], hidden[:, 1:], 0.0)
        plain = model.model.multi_modal_projector(torch.cat([f_a, patches.flatten(0, 1)]))
        order = torch.from_numpy(slot.geometry.order())
        rows = plain[1:][order.clamp(min=0)]
        if variant == "llava_next":
            rows[order < 0] = model.model.image_newline
    torch.testing.assert_close(output.pooler_output[0], torch.cat([plain[:1], rows]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_sound_info_says_what_was_kept(variant):
    model = tiny_sound_llava(variant)
    inputs = build_inputs(model, MIXED, budget=4)
    with torch.no_grad():
        info = model(**inputs, return_sound_info=True).sound_info
    assert [entry.mode for entry in info] == ["drop", "silent", "drop", "drop", "drop", "silent", "drop"]
    assert info[1].kept is None
    assert info[2].kept.sum() == 0  # a sound without image has no patches to keep
    views = info[0].kept.view(-1, 16)
    assert (views.sum(1) == 4).all()
    chosen = info[0].similarity.view(-1, 16)[0].topk(4).indices.sort().values
    assert torch.equal(views[0].nonzero()[:, 0], chosen)
    assert model(**inputs).sound_info is None


def test_call_options_override_the_configuration():
    model = tiny_sound_llava("llava")
    inputs = build_inputs(model, [Sample([((28, 28), 1)])])
    reference = logits_of(model, inputs)
    assert torch.equal(reference, logits_of(model, {**inputs, "sound_top_k": 5}))
    assert not torch.allclose(reference, logits_of(model, {**inputs, "sound_top_k": 2}), atol=1e-3)
    raw = logits_of(model, {**inputs, "sound_alignment": "raw"})
    assert not torch.allclose(reference, raw, atol=1e-2)
    torch.testing.assert_close(raw, logits_of(model, {**inputs, "sound_alpha": 1.0}))
    torch.testing.assert_close(reference, logits_of(model, {**inputs, "sound_alpha": 0.0}))


def test_pairing_without_sound_slots():
    model = tiny_sound_llava("llava")
    inputs = build_inputs(model, [Sample([((28, 28), 1)]), Sample([((40, 20), 2)])])
    reference = logits_of(model, inputs)
    del inputs["sound_slots"], inputs["sound_budget"]
    assert torch.equal(reference, logits_of(model, inputs))
    inputs["sound_embeds"] = inputs["sound_embeds"][:1]
    with pytest.raises(ValueError, match="2 images and 1 sounds without `sound_slots`"):
        model(**inputs)


def test_one_sound_for_two_images_is_encoded_once():
    model = tiny_sound_llava("llava")
    inputs = build_inputs(model, [Sample([((28, 28), 1), ((40, 20), 1)])])
    reference = logits_of(model, inputs)
    inputs["sound_embeds"] = inputs["sound_embeds"][:1]
    inputs["sound_slots"] = torch.tensor([[0, 0], [1, 0]])
    torch.testing.assert_close(reference, logits_of(model, inputs))


def test_views_in_one_row_equal_views_per_image():
    model = tiny_sound_llava("llava_next")
    inputs = build_inputs(model, HEARD)
    slots = model.model.plan_slots(**{k: v for k, v in inputs.items() if k in ("pixel_values", "image_sizes")})
    rows = [pixels[: slot.geometry.num_views] for pixels, slot in zip(inputs["pixel_values"], slots)]
    assert_equal_to_rounding(logits_of(model, {**inputs, "pixel_values": torch.cat(rows)}), logits_of(model, inputs))


def test_input_features_go_through_the_encoder():
    model = tiny_sound_llava("llava")
    inputs = build_inputs(model, [Sample([((28, 28), 1)]), Sample([((40, 20), 2)])])
    features = torch.randn(2, 1, 80, 60)
    mask = torch.ones(2, 1, 60, dtype=torch.long)
    mask[1, :, 40:] = 0
    with torch.no_grad():
        embeds = model.model.audio_tower(features, mask).pooler_output
    reference = logits_of(model, {**inputs, "sound_embeds": embeds})
    del inputs["sound_embeds"]
    heard = logits_of(model, {**inputs, "input_features": features, "input_features_mask": mask})
    torch.testing.assert_close(reference, heard)


@pytest.mark.parametrize("variant", VARIANTS)
def test_bfloat16_keeps_the_projector_in_float32(variant, tmp_path):
    tiny_sound_llava(variant).save_pretrained(tmp_path)
    model = type(tiny_sound_llava(variant)).from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in model.model.audio_projection.parameters()} == {torch.float32}
    assert model.model.vision_tower.dtype == model.model.audio_tower.dtype == torch.bfloat16
    inputs = build_inputs(model, HEARD, dtype=torch.bfloat16)
    assert logits_of(model, inputs).dtype == torch.bfloat16


def test_gradient_reaches_the_projector_alone():
    model = tiny_sound_llava("llava").train()
    model.freeze_base_model()
    inputs = build_inputs(model, HEARD)
    model(**inputs, labels=inputs["input_ids"]).loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert gradients
    assert all(name.startswith("model.audio_projection.") for name in gradients)
    assert all(gradient.abs().sum() > 0 for gradient in gradients.values())


def test_copies_and_pickles():
    model = tiny_sound_llava("llava")
    inputs = build_inputs(model, HEARD)
    copied = copy.deepcopy(model)
    assert_same_weights(copied, model)
    assert_equal_to_rounding(logits_of(copied, inputs), logits_of(model, inputs))
    assert pickle.loads(pickle.dumps(model.config)).to_dict() == model.config.to_dict()


def test_importing_registers_the_auto_classes():
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoModelForMultimodalLM
    from transformers.models.auto.modeling_auto import MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES

    model = tiny_sound_llava("llava")
    assert isinstance(AutoConfig.for_model("sound_llava"), type(model.config))
    for auto_class in (AutoModelForImageTextToText, AutoModelForMultimodalLM):
        assert isinstance(auto_class.from_config(model.config), type(model))
    assert MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES["sound_llava"] == "SoundLlavaForConditionalGeneration"


# Bad input: one clear error each, before a tower runs.


@pytest.fixture
def heard():
    model = tiny_sound_llava("llava")
    return model, build_inputs(model, [Sample([((28, 28), 1)])])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sound_top_k": -1}, r"sound_top_k=-1: must be in 0\.\.16"),
        ({"sound_top_k": 17}, r"sound_top_k=17: must be in 0\.\.16"),
        ({"sound_top_k": 2.5}, "sound_top_k=2.5: must be an int"),
        ({"sound_top_k": True}, "sound_top_k=True: must be an int"),
        ({"sound_top_k": [1, 2]}, "sound_top_k has 2 entries for 1 slots"),
        ({"sound_patches": "drop"}, "expanded for zero"),
        ({"sound_patches": "halve"}, "allowed are 'zero' and 'drop'"),
        ({"sound_alignment": "both"}, "both"),
        ({"sound_alpha": 1.5}, "1.5"),
        ({"sound_embeds": torch.zeros(1, 7)}, r"shape \(1, 7\), expected \(sounds, 24\)"),
        ({"sound_embeds": None}, "1 images|no|sounds"),
        ({"sound_embeds": torch.full((1, 24), float("nan"))}, r"f_a of sound\(s\) \[0\] is not finite"),
        ({"sound_slots": torch.tensor([[0, 1]])}, r"names the sounds \[1\], but 1 sounds were passed"),
        ({"sound_slots": torch.tensor([[-1, 0]])}, "names the image rows"),
        ({"sound_slots": torch.tensor([0, 0])}, r"shape \(2,\)"),
        ({"pixel_values": torch.zeros(1, 3, 28, 28, device="meta")}, "pixel_values is on meta"),
        ({"pixel_values": torch.full((1, 3, 28, 28), float("nan"))}, r"picture view\(s\) \[0\] are not finite"),
        ({"pixel_values": torch.full((1, 3, 28, 28), float("inf"))}, r"picture view\(s\) \[0\] are not finite"),
    ],
)
def test_bad_call_is_named(heard, change, message):
    model, inputs = heard
    with pytest.raises(ValueError, match=message):
        model(**{**inputs, **change})


def test_contradicting_the_expanded_prompt():
    model = tiny_sound_llava("llava")
    inputs = build_inputs(model, [Sample([((28, 28), 1)])], budget=5)
    with pytest.raises(ValueError, match=r"expanded for drop, k=5 .*; pass sound_top_k=3 to the processor"):
        model(**inputs, sound_top_k=3)
    with pytest.raises(ValueError, match="expanded for drop, k=5"):
        model.generate(**inputs, sound_top_k=3)
    assert torch.equal(logits_of(model, {**inputs, "sound_top_k": 5}), logits_of(model, inputs))


def test_prompt_for_sound_without_sound_and_the_reverse(heard, monkeypatch):
    model, inputs = heard
    silent = build_inputs(model, [Sample([((28, 28), None)])])
    monkeypatch.setattr(model.model.vision_tower, "forward", None)  # nothing may reach the tower
    without = {key: inputs[key] for key in ("input_ids", "attention_mask", "pixel_values")}
    with pytest.raises(ValueError, match=r"Sample 0 has 17 image placeholders, expected 16 \(silent image\)"):
        model(**without)
    with pytest.raises(ValueError, match=r"Sample 0 has 17 image placeholders"):
        model.generate(**without)
    only_slots = {key: inputs[key] for key in ("input_ids", "attention_mask", "sound_slots")}
    with pytest.raises(ValueError, match="expanded for media that did not come"):
        model.generate(**only_slots)
    with pytest.raises(ValueError, match=r"16 image placeholders, expected 17 \(image with sound, zero, k=5\)"):
        model(**{**inputs, **{key: silent[key] for key in ("input_ids", "attention_mask")}})


def test_placeholders_without_what_they_stand_for(heard):
    """`generate(inputs["input_ids"])` and the like: the picture and its sound would be lost without a word."""
    model, inputs = heard
    text = {key: inputs[key] for key in ("input_ids", "attention_mask")}
    with pytest.raises(ValueError, match=r"The prompts have \[17\] image placeholders, but no pixel_values"):
        model.generate(**text)
    with pytest.raises(ValueError, match=r"The prompts have \[17\] image placeholders"):
        model.generate(inputs["input_ids"])
    with pytest.raises(ValueError, match="input_features_mask came without input_features"):
        model.generate(**text, input_features_mask=torch.ones(1, 1, 50))
    words = torch.tensor([[1, 11, 12]])
    assert model.generate(words, max_new_tokens=1, pad_token_id=0).shape == (1, 4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_one_bad_picture_among_good_ones_is_named(variant):
    """NaN in pixels would be answered in words that look like an answer."""
    model = tiny_sound_llava(variant)
    inputs = build_inputs(model, [Sample([((28, 28), 1)]), Sample([((28, 28), None)])])
    inputs["pixel_values"][1, 0] = float("nan")
    first = model.model.plan_slots(**inputs)[1].first_view
    for call in (model, model.generate):
        with pytest.raises(ValueError, match=rf"picture view\(s\) \[{first}\] are not finite"):
            call(**inputs)


def test_unknown_argument_is_refused_by_generate(heard):
    model, inputs = heard
    with pytest.raises(ValueError, match="audios"):
        model.generate(**inputs, audios=torch.zeros(1), max_new_tokens=1)


def test_the_audio_tower_is_frozen_until_it_is_thawed(tmp_path):
    model = tiny_sound_llava("llava")
    model.save_pretrained(tmp_path)
    for built in (model, type(model).from_pretrained(tmp_path), type(model)(model.config)):
        built.train()
        tower = built.model.audio_tower
        assert not any(parameter.requires_grad for parameter in tower.parameters())
        assert not any(module.training for module in tower.modules())
        assert all(parameter.requires_grad for parameter in built.model.audio_projection.parameters())
        tower.requires_grad_(True)
        assert built.train().model.audio_tower.training


@pytest.mark.parametrize("variant", VARIANTS)
def test_classes_that_must_not_be_split_are_in_the_model(variant):
    model = tiny_sound_llava(variant)
    present = {type(module).__name__ for module in model.modules()}
    assert {"LlamaDecoderLayer", "CLIPEncoderLayer", "WhisperEncoderLayer"} <= model._no_split_modules <= present


def test_activation_checkpointing_computes_no_gradients_of_frozen_towers():
    model = tiny_sound_llava("llava").train()
    needed = []
    model.model.vision_tower.register_forward_hook(lambda *call: needed.append(call[-1][0].requires_grad))
    model.freeze_base_model()
    inputs = build_inputs(model, MIXED[:1])
    model.activation_checkpointing_enable()
    assert model.get_input_embeddings()(inputs["input_ids"]).requires_grad
    model(**inputs)
    model.disable_input_require_grads()
    assert not model.get_input_embeddings()(inputs["input_ids"]).requires_grad
    model.model.vision_tower.requires_grad_(True)
    model.enable_input_require_grads()
    model(**inputs)
    assert needed == [False, True]
