"""A model that hears is the stock model in everything else, and is it again when the sound is removed."""

import copy
import inspect
import io
import pickle

import pytest
import torch
from accelerate import cpu_offload
from accelerate.hooks import AlignDevicesHook, add_hook_to_module, remove_hook_from_module
from rounding import assert_equal_to_rounding, assert_same_weights
from test_adding import HEARD, QUESTION, encoder, heard_model, logits_of, mixed_batch
from tiny_families import FAMILIES, family_model, family_processor
from tiny_processors import SAMPLING_RATE, picture, sound, tiny_feature_extractor
from transformers import AutoModelForImageTextToText, LlavaForConditionalGeneration

from soundclip_hf import add_sound, remove_sound


def add(model, family):
    return add_sound(model, encoder(), processor=family_processor(family), feature_extractor=tiny_feature_extractor())


def what_can_be_seen(model):
    return {
        "class": type(model),
        "attributes": {key: id(value) for key, value in model.__dict__.items()},
        "weights": {key: (value.data_ptr(), value.clone()) for key, value in model.state_dict().items()},
        "modules": [(name, type(module), set(module.__dict__)) for name, module in model.named_modules()],
        "hooks": [
            (dict(module._forward_hooks), dict(module._forward_pre_hooks), dict(module._backward_hooks))
            for module in model.modules()
        ],
        "config": model.config.to_dict(),
        "generation": model.generation_config.to_dict(),
        "methods": [inspect.signature(getattr(model, name)) for name in ("forward", "generate")],
    }


def assert_same_sight(now, before):
    weights, earlier = now.pop("weights"), before.pop("weights")
    assert list(weights) == list(earlier)
    for name, (place, values) in weights.items():
        assert place == earlier[name][0]
        assert torch.equal(values, earlier[name][1])
    assert now == before


@pytest.mark.parametrize("family", FAMILIES)
def test_remove_sound_restores_everything(family):
    model, processor = family_model(family), family_processor(family)
    inputs = processor(images=picture(), text=QUESTION, return_tensors="pt")
    generation = {"max_new_tokens": 3, "do_sample": False, "suppress_tokens": [3, 4]}
    # The first call of a stock model leaves transformers' own hooks in its towers.
    logits, ids = logits_of(model, inputs), model.generate(**inputs, **generation)
    before, base_before = what_can_be_seen(model), dict(model.model.__dict__)
    heard, processor = add(model, family)
    assert heard is model
    model.generate(**mixed_batch(processor), max_new_tokens=2)
    assert remove_sound(model) is model
    assert_same_sight(what_can_be_seen(model), before)
    assert model.model.__dict__ == base_before
    assert torch.equal(logits_of(model, inputs), logits)
    assert torch.equal(model.generate(**inputs, **generation), ids)
    assert not hasattr(model, "ears")
    with pytest.raises(ValueError, match=f"This {type(model).__name__} has no sound"):
        remove_sound(model)


def test_other_models_of_the_class_stay_as_they_are():
    other, model = family_model("llava"), family_model("llava")
    own_forward = LlavaForConditionalGeneration.forward
    add(model, "llava")
    assert type(other) is LlavaForConditionalGeneration
    assert LlavaForConditionalGeneration.forward is own_forward
    assert isinstance(model, LlavaForConditionalGeneration)
    assert "sound_slots" not in inspect.signature(other.forward).parameters
    assert "sound_slots" in inspect.signature(model.forward).parameters
    again, _ = add(family_model("llava"), "llava")
    assert type(again) is type(model)


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_and_what_is_saved_are_the_stock_models(family, tmp_path):
    stock = family_model(family)
    keys, size, config = list(stock.state_dict()), stock.num_parameters(), stock.config.to_dict()
    model, processor = add(stock, family)
    assert list(model.state_dict()) == keys
    assert model.num_parameters() == size
    assert model.config.to_dict() == config
    assert not any("audio" in name for name, _ in model.named_modules())
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    assert not [path for path in tmp_path.iterdir() if "sound" in path.read_text(errors="ignore").lower()]
    loaded, info = AutoModelForImageTextToText.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert type(loaded) is type(remove_sound(model))
    assert_same_weights(loaded, model)


@pytest.mark.parametrize("family", FAMILIES)
def test_copies_hear_on_their_own(family):
    model, processor = heard_model(family)
    inputs = mixed_batch(processor)
    with io.BytesIO() as buffer:
        torch.save(model, buffer)
        buffer.seek(0)
        saved = torch.load(buffer, weights_only=False)
    twins = [pickle.loads(pickle.dumps(model)), saved]
    expected = logits_of(model, inputs)
    # A copy also after the first call, whose hooks no model of transformers can be pickled with.
    for twin in (*twins, copy.deepcopy(model)):
        assert type(twin) is type(model)
        assert twin.ears is not model.ears
        assert twin.ears is twin.model.ears
        assert_equal_to_rounding(logits_of(twin, inputs), expected)
        remove_sound(twin)
    assert_equal_to_rounding(logits_of(model, inputs), expected)
    processor = pickle.loads(pickle.dumps(processor))
    assert torch.equal(mixed_batch(processor)["input_ids"], inputs["input_ids"])


def test_ears_follow_casts_and_stay_frozen():
    model, processor = heard_model("llava")
    inputs = mixed_batch(processor)
    model.to(torch.bfloat16).train()
    assert model.ears.audio_tower.dtype == torch.bfloat16
    assert not model.ears.training
    assert not any(parameter.requires_grad for parameter in model.ears.parameters())
    assert torch.isfinite(logits_of(model, inputs.to(torch.bfloat16))).all()
    assert model.double().ears.audio_tower.dtype == torch.float64


def test_adding_twice_is_refused():
    model, _ = heard_model("llava")
    ears = model.ears
    with pytest.raises(ValueError, match=r"already hears.*remove_sound"):
        add(model, "llava")
    with pytest.raises(ValueError, match=r"already hears.*remove_sound"):
        add(model.model, "llava")
    assert model.ears is ears
    with pytest.raises(ValueError, match="added to the model around this LlavaModel"):
        remove_sound(model.model)
    remove_sound(model)
    add(model.model, "llava")
    with pytest.raises(ValueError, match=r"already hears.*remove_sound"):
        add(model, "llava")
    remove_sound(model.model)


def test_the_sound_reaches_a_model_with_accelerates_hooks():
    expected, processor = heard_model("llava_next")
    inputs = mixed_batch(processor)
    logits = logits_of(expected, inputs)
    model = family_model("llava_next")
    for part in (model, model.model):
        add_hook_to_module(part, AlignDevicesHook(io_same_device=True))
    attributes = {key: value for key, value in model.__dict__.items() if key in ("forward", "_old_forward")}
    add(model, "llava_next")
    assert_equal_to_rounding(logits_of(model, inputs), logits)
    remove_sound(model)
    assert {key: model.__dict__[key] for key in attributes} == attributes
    remove_hook_from_module(model)  # which leaves the method as an attribute
    add(model, "llava_next")
    assert_equal_to_rounding(logits_of(model, inputs), logits)
    add_hook_to_module(model, AlignDevicesHook(io_same_device=True))
    assert_equal_to_rounding(logits_of(model, inputs), logits)
    remove_sound(model)
    assert model._old_forward.__func__ is type(model).forward


def test_the_sound_reaches_an_offloaded_model():
    expected, processor = heard_model("llava_next")
    inputs = mixed_batch(processor)
    model = cpu_offload(family_model("llava_next"), execution_device=torch.device("cpu"))
    assert model.model.image_newline.is_meta
    add(model, "llava_next")
    assert_equal_to_rounding(logits_of(model, inputs), logits_of(expected, inputs))
    generation = {"max_new_tokens": 2, "do_sample": False, "suppress_tokens": [3]}
    assert torch.equal(model.generate(**inputs, **generation), expected.generate(**inputs, **generation))


def test_a_replaced_forward_is_refused():
    model = family_model("llava")
    model.forward = lambda **kwargs: None
    with pytest.raises(ValueError, match="forward of this LlavaForConditionalGeneration was replaced"):
        add(model, "llava")
    assert type(model) is LlavaForConditionalGeneration
    del model.forward
    add(model, "llava")
    model.forward = lambda **kwargs: None
    with pytest.raises(ValueError, match="was replaced"):
        remove_sound(model)
    assert hasattr(model, "ears")


def test_sounds_that_would_not_be_heard_are_errors():
    model, processor = heard_model("llava")
    inputs = processor(images=picture(), text=HEARD, audio=sound(), sampling_rate=SAMPLING_RATE, return_tensors="pt")
    silent = processor(images=picture(), text=QUESTION, return_tensors="pt")
    for call in (model, model.generate):
        without = {name: value for name, value in inputs.items() if name != "input_features"}
        with pytest.raises(ValueError, match="the prompt was prepared for sound; pass input_features"):
            call(**without)
        with pytest.raises(ValueError, match="Sample 0 has 16 image placeholders, expected 17"):
            call(**{**inputs, "input_ids": silent["input_ids"], "attention_mask": silent["attention_mask"]})
    with pytest.raises(ValueError, match="model_kwargs"):
        model.generate(**inputs, sound_topk=3)


def test_positional_arguments_and_sound_info():
    model, processor = heard_model("llava")
    inputs = processor(images=picture(), text=HEARD, audio=sound(), sampling_rate=SAMPLING_RATE, return_tensors="pt")
    expected = logits_of(model, inputs)
    ids, pixels = inputs.pop("input_ids"), inputs.pop("pixel_values")
    with torch.no_grad():
        output = model(ids, pixels, **inputs, sound_top_k=4, return_sound_info=True)
        assert torch.equal(model(ids, pixels, **inputs).logits, expected)
    (info,) = output.sound_info
    assert (info.k, info.mode, int(info.kept.sum())) == (4, "zero", 4)
    answer = model.generate(ids, pixel_values=pixels, **inputs, max_new_tokens=2, return_sound_info=True)
    assert len(answer.sound_info) == 1
    with torch.no_grad():
        assert isinstance(model(ids, pixels, **inputs, return_dict=False), tuple)


def test_hidden_states_are_captured_as_in_the_stock_model():
    model, processor = heard_model("llava")
    inputs = processor(images=picture(), text=QUESTION, return_tensors="pt")
    model.set_attn_implementation("eager")
    with torch.no_grad():
        heard = model(**inputs, output_hidden_states=True, output_attentions=True)
        stock = remove_sound(model)(**inputs, output_hidden_states=True, output_attentions=True)
    assert len(heard.hidden_states) == len(stock.hidden_states)
    for name in ("hidden_states", "attentions"):
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(heard[name], stock[name], strict=True))
