"""Adapters chosen by a call: one for all its sounds, or one for each; call arguments and tensors go before them."""

import pytest
import torch
from adapter_folders import write_adapters
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_encoders import ENCODERS
from tiny_inputs import Sample, build_inputs
from tiny_models import VARIANTS, tiny_audio_config
from tiny_processors import sound

NAMES = ("default", "second", "raw", "scoped", "own")
# Five sounds; a silent image and a sound without image among them.
SAMPLES = [
    Sample([((40, 20), 1)]),
    Sample([((28, 28), None)], text=(21, 22)),
    Sample([(None, 2)], text=(31, 32)),
    Sample([((20, 60), 3), ((28, 30), 4)]),
    Sample([((60, 20), 5)], text=(51,)),
]
GREEDY = {"max_new_tokens": 4, "do_sample": False, "suppress_tokens": [0, 2, 3], "pad_token_id": 0}


@pytest.fixture(scope="module", params=VARIANTS)
def model(request, tmp_path_factory):
    folders = write_adapters(tmp_path_factory.mktemp(request.param), request.param, ("first", *NAMES[1:]))
    model = folders.load("first")
    for name in NAMES[1:]:
        model.load_sound_adapter(folders.path(name), name)
    return model


def inputs_of(model, **options):
    inputs = build_inputs(model, SAMPLES, **options)
    return inputs, {key: value for key, value in inputs.items() if key not in ("input_ids", "attention_mask")}


def features(model, media, **options):
    with torch.no_grad():
        return model.get_image_features(**media, **options)


@settings(max_examples=15, deadline=None)
@given(names=st.lists(st.sampled_from((*NAMES, None)), min_size=5, max_size=5))
def test_each_sound_is_heard_by_its_own_adapter(model, names):
    _, media = inputs_of(model)
    alone = {name: features(model, media, sound_adapter=name) for name in {*names}}
    mixed = features(model, media, sound_adapter=names)
    for slot, (_, row) in enumerate(media["sound_slots"].tolist()):
        name = names[row] if row >= 0 else names[0]
        torch.testing.assert_close(mixed.pooler_output[slot], alone[name].pooler_output[slot], rtol=1e-5, atol=1e-5)
        (ours, theirs) = (output.sound_info[slot] for output in (mixed, alone[name]))
        assert (ours.k, ours.mode) == (theirs.k, theirs.mode)
        if row >= 0:
            assert torch.equal(ours.kept, theirs.kept)


def test_forward_and_generate_take_lists(model):
    inputs, _ = inputs_of(model)
    names = ["second", "raw", "scoped", None, "own"]
    with torch.no_grad():
        mixed = model(**inputs, sound_adapter=names, return_sound_info=True)
    assert [info.k for info in mixed.sound_info] == [3, -1, 7, 6, 5, 5]
    generated = model.generate(**inputs, sound_adapter=names, **GREEDY)[:, inputs["input_ids"].shape[1] :]
    # By the sample, as each one's names say it.
    per_sample = [["second"], None, ["raw"], ["scoped", None], ["own"]]
    for index, (sample, own) in enumerate(zip(SAMPLES, per_sample)):
        alone = build_inputs(model, [sample])
        with torch.no_grad():
            logits = model(**alone, sound_adapter=own).logits[0, -1]
        torch.testing.assert_close(mixed.logits[index, -1], logits, rtol=1e-4, atol=1e-5)
        ids = model.generate(**alone, sound_adapter=own, **GREEDY)[0, alone["input_ids"].shape[1] :]
        assert torch.equal(generated[index], ids)


def test_a_list_of_one_name_is_the_name(model):
    _, media = inputs_of(model)
    one, many = (features(model, media, sound_adapter=given) for given in ("second", ("second",) * 5))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(one.pooler_output, many.pooler_output))
    model.set_sound_adapter("raw")
    active = features(model, media)
    again = features(model, media, sound_adapter=[None, "raw", None, "raw", "raw"])
    model.set_sound_adapter("default")
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(active.pooler_output, again.pooler_output))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [3, -1, 3, 3, 3, 3]),
        ({"sound_top_k": 2}, [2, -1, 2, 2, 2, 2]),
        ({"sound_budget": torch.tensor([-1, -1, -1, -6, -1, -1])}, [3, -1, 3, 4, 3, 3]),
    ],
    ids=["the adapter's", "the call's", "the prompt's"],
)
def test_who_decides_the_budget(model, options, expected):
    _, media = inputs_of(model)
    found = features(model, {**media, **options}, sound_adapter="second").sound_info
    assert [info.k for info in found] == expected


def test_drop_mode_is_verified_against_the_prompt(model):
    inputs, _ = inputs_of(model, budget=2)
    with torch.no_grad():
        info = model(**inputs, sound_adapter="second", return_sound_info=True).sound_info
    assert [(slot.k, slot.mode) for slot in info if slot.mode != "silent"] == [(2, "drop")] * 5
    with pytest.raises(ValueError, match="expanded for drop, k=2"):
        model(**inputs, sound_adapter="second", sound_top_k=3)


def test_the_calls_alignment_goes_first(model):
    _, media = inputs_of(model)
    raw = features(model, media, sound_adapter="second", sound_alignment="raw", sound_top_k=7)
    for ours, theirs in zip(raw.pooler_output, features(model, media, sound_adapter="raw").pooler_output):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("names", [[], ["second"], ["second"] * 6])
def test_lists_of_another_length(model, names):
    inputs, media = inputs_of(model)
    for call in (model, model.generate):
        with pytest.raises(ValueError, match=f"sound_adapter has {len(names)} names for 5 sounds"):
            call(**inputs, sound_adapter=names)
    with pytest.raises(ValueError, match=f"{len(names)} names for 5 sounds"):
        model.model.plan_slots(**media, sound_adapter=names)


def test_encoders_of_one_batch_take_one_shape(tmp_path):
    folders = write_adapters(tmp_path, "llava", ("first", "fused", "clap"))
    folders.write_encoder("wide_encoder", tiny_audio_config(d_model=32))
    folders.write("wide", "wide_encoder", 9, audio_config=tiny_audio_config(d_model=32))
    model = folders.load("first")
    for name in ("fused", "clap", "wide"):
        model.load_sound_adapter(folders.path(name), name)
    extractor = ENCODERS["whisperclip"][1]
    waveforms = [sound(1.0, seed=seed) for seed in range(4)]
    made = extractor(waveforms, sampling_rate=extractor.sampling_rate, return_tensors="pt")
    heard = {"input_features": made["input_features"], "input_features_mask": made["input_features_mask"]}
    names = ["wide", "default", "fused", "wide"]
    with torch.no_grad():
        mixed = model.get_audio_features(**heard, sound_adapter=names).pooler_output
        for row, name in enumerate(names):
            alone = model.get_audio_features(**{k: v[row : row + 1] for k, v in heard.items()}, sound_adapter=name)
            torch.testing.assert_close(mixed[row], alone.pooler_output[0], rtol=1e-5, atol=1e-4)
        with pytest.raises(ValueError, match="The sound adapter 'clap' has the encoder 'sound_clap'"):
            model.get_audio_features(**heard, sound_adapter=["default", "clap", "default", "default"])
        with pytest.raises(ValueError, match=r"expected \(sounds, 32\).*adapter 'wide'"):
            model.model.align_sounds(torch.zeros(2, 24), sound_adapter=["default", "wide"])


def test_gradients_reach_each_adapter(model):
    _, media = inputs_of(model)
    names = ["default", "second", "default", "default", "second"]
    output = model.get_image_features(**media, sound_adapter=names)
    sum(tokens.square().sum() for tokens in output.pooler_output).backward()
    for parts in model.model.sound_parts(["default", "second"]):
        assert parts.audio_projection.fc1.weight.grad.any()
    model.zero_grad()
