"""Sound adapters of one model: each answers as a model that was loaded from it alone, set or chosen by a call."""

import copy
import dataclasses
import gc
import io
import json
import weakref

import pytest
import torch
from adapter_folders import ADAPTERS, HEARD, write_adapters
from rounding import assert_equal_to_rounding, assert_same_weights, share_weights
from safetensors.torch import load_file
from tiny_encoders import ENCODERS
from tiny_inputs import build_inputs
from tiny_models import VARIANTS, tiny_sound_llava
from tiny_processors import sound

from soundclip_hf import SoundLlava
from soundclip_hf.modeling.adapters.adapter_set import ADAPTER_FIELDS
from soundclip_hf.modeling.checkpoints.adapter import ADAPTER_NAME

GREEDY = {"max_new_tokens": 5, "do_sample": False, "suppress_tokens": [0, 2, 3], "pad_token_id": 0}


@pytest.fixture(scope="module", params=VARIANTS)
def folders(request, tmp_path_factory):
    return write_adapters(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two adapters with one encoder, and one with another."""
    return write_adapters(tmp_path_factory.mktemp("pair"), "llava", ("first", "second", "clap"))


def loaded_with(folders, *names, **options):
    model = folders.load("first", **options)
    for name in names:
        model.load_sound_adapter(folders.path(name), name)
    return model


def logits_of(model, inputs, **options):
    with torch.no_grad():
        return model(**inputs, **options).logits


def features_of(encoder, count=2):
    """What an encoder's extractor makes of noise."""
    extractor = ENCODERS[encoder][1]
    rate = extractor.sampling_rate
    waveforms = [sound(2.0, seed=seed, rate=rate) for seed in range(count)]
    made = extractor(waveforms, sampling_rate=rate, return_tensors="pt")
    mask = made.get("input_features_mask", made.get("attention_mask"))
    return {"input_features": made["input_features"], "input_features_mask": mask}


def heard(model, features, **options):
    with torch.no_grad():
        return model.get_audio_features(**features, **options).pooler_output


def fields_of(config):
    plain = {name: getattr(config, name) for name in ADAPTER_FIELDS}
    return {**plain, "sound_config": plain["sound_config"].to_diff_dict()}


def test_each_adapter_is_the_model_that_is_loaded_from_it(folders):
    others = [name for name in ADAPTERS if name != "first"]
    model = loaded_with(folders, *others)
    model.set_sound_adapter("second")
    seen = []
    for name in ADAPTERS:
        called = "default" if name == "first" else name
        alone = folders.load(name)
        inputs = build_inputs(alone, HEARD)
        by_call = logits_of(model, inputs, sound_adapter=called)
        text_by_call = model.generate(**inputs, sound_adapter=called, **GREEDY)
        model.set_sound_adapter(called)
        assert model.config.sound_config is model.model.config.sound_config
        assert fields_of(model.config) == fields_of(alone.config)
        assert_same_weights(model, alone)
        expected = logits_of(share_weights(alone, model), inputs)
        assert torch.equal(logits_of(model, inputs), expected), name
        model.set_sound_adapter("raw" if name != "raw" else "own")
        assert torch.equal(by_call, expected), name
        assert torch.equal(text_by_call, alone.generate(**inputs, **GREEDY)), name
        seen.append(expected)
    assert not any(
        torch.equal(one, other) for at, one in enumerate(seen) for other in seen[:at] if one.shape == other.shape
    )


@pytest.mark.parametrize(("name", "encoder"), [("second", "whisperclip"), ("clap", "clap"), ("imagebind", "imagebind")])
def test_sounds_go_through_the_adapters_own_encoder(folders, name, encoder):
    model, alone, features = loaded_with(folders, name), folders.load(name), features_of(encoder)
    by_call = heard(model, features, sound_adapter=name)
    model.set_sound_adapter(name)
    assert torch.equal(by_call, heard(model, features))
    assert_equal_to_rounding(by_call, heard(alone, features))


def test_back_and_forth_changes_nothing(folders):
    model = loaded_with(folders, "second", "clap")
    inputs = build_inputs(model, HEARD)
    before, state = logits_of(model, inputs), {key: value.clone() for key, value in model.state_dict().items()}
    for name in ("second", "clap", "second", "default", "default"):
        model.set_sound_adapter(name)
    assert torch.equal(logits_of(model, inputs), before)
    assert list(model.state_dict()) == list(state)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_what_a_list_says(pair):
    model = loaded_with(pair, "second", "clap")
    model.set_sound_adapter("clap")
    found = model.list_sound_adapters()
    assert found == model.model.list_sound_adapters()
    assert [dataclasses.asdict(info) for info in found] == [
        {
            "name": name,
            "source": str(pair.path(source)),
            "revision": None,
            "encoder": str(pair.path(encoder)),
            "encoder_revision": None,
            "encoder_type": kind,
            "alignment": "projected",
            "token_budget": budget,
            "active": name == "clap",
        }
        for name, source, encoder, kind, budget in [
            ("default", "first", "whisper", "whisper_clip", 5),
            ("second", "second", "whisper", "whisper_clip", 3),
            ("clap", "clap", "clap_encoder", "sound_clap", 4),
        ]
    ]


def test_a_model_that_was_built_has_a_default():
    model = tiny_sound_llava("llava")
    (info,) = model.list_sound_adapters()
    assert (info.name, info.source, info.active) == ("default", None, True)
    model.set_sound_adapter("default")


def test_what_is_saved_is_the_active_adapter(pair, tmp_path):
    model = loaded_with(pair, "second", "clap")
    names = list(model.state_dict())
    model.set_sound_adapter("second")
    assert list(model.state_dict()) == names == [name for name, _ in model.named_parameters()]
    model.save_pretrained(tmp_path / "swapped", adapter_only=True)
    pair.load("second").save_pretrained(tmp_path / "alone", adapter_only=True)
    swapped, alone = (load_file(tmp_path / folder / ADAPTER_NAME) for folder in ("swapped", "alone"))
    assert swapped.keys() == alone.keys()
    assert all(torch.equal(value, alone[key]) for key, value in swapped.items())
    swapped, alone = (json.loads((tmp_path / folder / "config.json").read_text()) for folder in ("swapped", "alone"))
    assert swapped == alone
    model.save_pretrained(tmp_path / "whole")
    whole = SoundLlava.from_pretrained(tmp_path / "whole")
    assert_same_weights(whole, model)
    assert whole.config.sound_config.token_budget == 3


def test_training_moves_the_active_adapter_alone(pair):
    model = loaded_with(pair, "second", "clap")
    model.freeze_base_model()
    model.set_sound_adapter("second")
    model.train()
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {name for name in model.state_dict() if ".audio_projection." in name}
    inputs, kept = build_inputs(model, HEARD), copy.deepcopy(model.model.audio_projection.state_dict())
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(**inputs).logits.square().mean().backward()
    optimizer.step()
    moved = {key: value.clone() for key, value in model.model.audio_projection.state_dict().items()}
    assert not any(torch.equal(value, kept[key]) for key, value in moved.items())
    model.set_sound_adapter("clap")
    assert model.model.audio_projection.training
    assert not model.model.audio_tower.training  # frozen
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == trained
    model.set_sound_adapter("default")
    first = load_file(pair.path("first") / ADAPTER_NAME)
    for key, value in model.model.audio_projection.state_dict().items():
        assert torch.equal(value, first[f"audio_projection.{key}"]), key
    model.eval()
    model.set_sound_adapter("second")
    assert not model.model.audio_projection.training
    assert all(torch.equal(value, moved[key]) for key, value in model.model.audio_projection.state_dict().items())


def test_no_gradients_where_none_were_wanted(pair):
    model = loaded_with(pair)
    model.requires_grad_(False)
    model.load_sound_adapter(pair.path("second"), "second")
    for name in ("second", "default", "second"):
        assert not model(**build_inputs(model, HEARD), sound_adapter=name).logits.requires_grad
        model.set_sound_adapter(name)
        assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["second", "clap"])
def test_half_precision(pair, name, dtype):
    model, alone = loaded_with(pair, name, dtype=dtype), pair.load(name, dtype=dtype)
    model.set_sound_adapter(name)
    assert_same_weights(model, alone)
    assert model.model.audio_projection.fc1.weight.dtype == torch.float32
    inputs = build_inputs(model, HEARD, dtype=dtype)
    assert torch.equal(logits_of(model, inputs), logits_of(share_weights(alone, model), inputs))


@pytest.mark.parametrize("by_call", [False, True])
def test_a_cast_reaches_adapters_when_they_are_used(pair, by_call):
    model = loaded_with(pair, "second", "clap")
    model.to(torch.bfloat16)
    for name, encoder in (("clap", "clap"), ("second", "whisperclip")):
        if not by_call:
            model.set_sound_adapter(name)
        parts = model.model.choose_sound(name, 1).parts[0]
        assert parts.audio_tower.dtype == torch.bfloat16
        assert {parameter.dtype for parameter in parts.audio_projection.parameters()} == {torch.float32}
        features = {**features_of(encoder), "sound_adapter": name}
        expected = heard(pair.load(name, dtype=torch.bfloat16), features_of(encoder))
        torch.testing.assert_close(heard(model, features), expected, rtol=1e-2, atol=1e-2 * float(expected.abs().max()))


def test_a_model_that_accelerate_spread(pair, tmp_path):
    device_map = dict.fromkeys(("model.audio_tower", "model.audio_projection", "model.vision_tower"), "cpu")
    device_map |= {"model.multi_modal_projector": "cpu", "model.language_model": "disk", "lm_head": "cpu"}
    model = loaded_with(pair, "clap", device_map=device_map, offload_folder=tmp_path)
    alone = pair.load("clap")
    inputs = build_inputs(alone, HEARD)
    by_call = logits_of(model, inputs, sound_adapter="clap")
    model.set_sound_adapter("clap")
    for found in (by_call, logits_of(model, inputs)):
        torch.testing.assert_close(found, logits_of(alone, inputs))
    model.set_sound_adapter("default")
    torch.testing.assert_close(
        logits_of(model, inputs := build_inputs(model, HEARD)), logits_of(pair.load("first"), inputs)
    )


@pytest.mark.parametrize("copied", [copy.deepcopy, "pickled"])
def test_copies_have_adapters_of_their_own(pair, copied):
    model = loaded_with(pair, "second", "clap")
    if copied == "pickled":
        stream = io.BytesIO()
        torch.save(model, stream)
        stream.seek(0)
        again = torch.load(stream, weights_only=False)
    else:
        again = copied(model)
    assert again.list_sound_adapters() == model.list_sound_adapters()
    parts = again.model.sound_parts(["default", "second", "clap"])
    assert parts[0].audio_tower is parts[1].audio_tower
    again.set_sound_adapter("clap")
    assert [info.name for info in model.list_sound_adapters() if info.active] == ["default"]
    model.set_sound_adapter("clap")
    with torch.no_grad():
        model.model.audio_projection.fc1.weight.zero_()
    assert again.model.audio_projection.fc1.weight.any()


def test_deleting_frees_memory(pair):
    model = loaded_with(pair, "second", "clap")
    parts = model.model.sound_parts(["clap", "second"])
    clap, second = ([weakref.ref(p.audio_tower), weakref.ref(p.audio_projection)] for p in parts)
    del parts
    model.delete_sound_adapter("clap")
    model.delete_sound_adapter("second")
    gc.collect()
    assert [reference() is None for reference in (*clap, *second)] == [True, True, False, True]
    assert [info.name for info in model.list_sound_adapters()] == ["default"]
    model.load_sound_adapter(pair.path("clap"), "clap")
    model.set_sound_adapter("clap")
    model.delete_sound_adapter("default")
    assert [info.name for info in model.list_sound_adapters()] == ["clap"]


def test_names_that_cannot_be(pair):
    model = loaded_with(pair, "second")
    inputs = build_inputs(model, HEARD)
    unknown = r"no sound adapter 'third'; this model has 'default', 'second'"
    for call in (model.set_sound_adapter, model.delete_sound_adapter):
        with pytest.raises(ValueError, match=unknown):
            call("third")
    for call in (model, model.generate):
        with pytest.raises(ValueError, match=unknown):
            call(**inputs, sound_adapter="third")
        with pytest.raises(ValueError, match=unknown):  # with nothing to hear, too
            call(input_ids=torch.tensor([[1, 11]]), sound_adapter="third")
    with pytest.raises(ValueError, match="'default' is the active one: make another one active first"):
        model.delete_sound_adapter("default")
    for name, message in (("second", "in use"), ("default", "in use"), ("", "not empty"), (" ", "not empty"), (3, "3")):
        with pytest.raises(ValueError, match=message):
            model.load_sound_adapter(pair.path("clap"), name)


def test_features_of_another_encoder_name_adapter_and_processor(pair):
    model = loaded_with(pair, "clap")
    for options, name, folder, encoder in (
        ({}, "default", "first", "clap"),
        ({"sound_adapter": "clap"}, "clap", "clap", "whisperclip"),
    ):
        with pytest.raises(ValueError, match="input_features have") as error:
            model.get_audio_features(**features_of(encoder), **options)
        assert f"The sound adapter {name!r} has the encoder" in str(error.value)
        assert f"AutoProcessor.from_pretrained({str(pair.path(folder))!r})" in str(error.value)
    with pytest.raises(ValueError, match=r"sound_embeds has shape .* adapter 'default'"):
        model.model.align_sounds(torch.zeros(1, 7))
