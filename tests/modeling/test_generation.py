"""`generate` in every mode: equal to the plain loop, with one encoding of each sound."""

import re
import warnings
from threading import Thread

import numpy as np
import pytest
import torch
import transformers
from tiny_inputs import MIXED, Sample, build_inputs
from tiny_models import VARIANTS, tiny_sound_llava, tiny_text_config
from transformers import TextIteratorStreamer

NEW = 6
# Random weights may say the image token or end early; neither belongs in these comparisons.
GREEDY = {"max_new_tokens": NEW, "do_sample": False, "suppress_tokens": [0, 2, 3], "pad_token_id": 0}
HEARD = [
    Sample([((28, 28), 1)]),
    Sample([((40, 20), 3), ((20, 60), 4)], text=(21, 22)),
    Sample([((28, 30), None)], text=(5, 6, 7)),
]
SOUND_ONLY = [Sample([(None, 1)]), Sample([(None, 2)], text=(21, 22))]


def plain_loop(model, inputs, steps=NEW):
    """Greedy decoding by whole forward passes: no cache, no generate."""
    with torch.no_grad():
        features = model.model.get_image_features(
            **{key: value for key, value in inputs.items() if key not in ("input_ids", "attention_mask")}
        )
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        for _ in range(steps):
            logits = model(input_ids=ids, attention_mask=mask, mm_encoder_outputs={"image": features}).logits[:, -1]
            logits[:, [0, 2, 3]] = -torch.inf
            ids = torch.cat([ids, logits.argmax(-1, keepdim=True)], dim=1)
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
    return ids[:, inputs["input_ids"].shape[1] :]


def new_tokens(model, inputs, **options):
    ids = model.generate(**inputs, **{**GREEDY, **options})
    return ids[:, inputs["input_ids"].shape[1] :]


@pytest.fixture(params=VARIANTS)
def model(request):
    return tiny_sound_llava(request.param)


@pytest.mark.parametrize("samples", [HEARD, SOUND_ONLY, MIXED], ids=["pictures", "sound only", "mixed"])
@pytest.mark.parametrize("budget", [None, 5])
def test_greedy_equals_the_plain_loop(model, samples, budget):
    inputs = build_inputs(model, samples, budget)
    expected = plain_loop(model, inputs)
    assert torch.equal(new_tokens(model, inputs), expected)
    assert torch.equal(new_tokens(model, inputs, use_cache=False), expected)


@pytest.mark.parametrize(
    "options",
    [
        {"cache_implementation": "static"},
        {"prompt_lookup_num_tokens": 2},
        {"prefill_chunk_size": 7},
    ],
    ids=lambda options: next(iter(options)),
)
def test_other_decodings_equal_greedy(model, options):
    samples = HEARD[:1] if "prompt_lookup_num_tokens" in options else HEARD[:2]
    inputs = build_inputs(model, samples)
    assert torch.equal(new_tokens(model, inputs, **options), new_tokens(model, inputs))


def test_assisted_by_itself_equals_greedy(model):
    inputs = build_inputs(model, HEARD[:1])
    assert torch.equal(new_tokens(model, inputs, assistant_model=model), new_tokens(model, inputs))


def test_beams_of_a_batch_equal_beams_of_each_prompt(model):
    inputs = build_inputs(model, HEARD)
    together = new_tokens(model, inputs, num_beams=3)
    for sample, row in zip(HEARD, together):
        alone = build_inputs(model, [sample])
        assert torch.equal(new_tokens(model, alone, num_beams=3)[0], row)


def test_sound_only_beams(model):
    inputs = build_inputs(model, SOUND_ONLY)
    together = new_tokens(model, inputs, num_beams=2)
    alone = new_tokens(model, build_inputs(model, SOUND_ONLY[:1]), num_beams=2)
    assert torch.equal(together[0], alone[0])


def test_sampling_returns_the_sequences_of_each_prompt_in_order(model):
    inputs = build_inputs(model, HEARD[:2])
    options = {"do_sample": True, "num_return_sequences": 3, "top_k": 1}
    sampled = new_tokens(model, inputs, **options)
    greedy = new_tokens(model, inputs)
    # With one candidate per step sampling is greedy, so a mix-up of pictures or sounds between prompts would show.
    assert torch.equal(sampled, greedy.repeat_interleave(3, dim=0))


def test_inputs_embeds(model):
    inputs = build_inputs(model, HEARD)
    expected = new_tokens(model, inputs)
    embeds = model.get_input_embeddings()(inputs.pop("input_ids"))
    produced = model.generate(inputs_embeds=embeds, **inputs, **GREEDY)
    assert torch.equal(produced[:, -NEW:], expected)


def test_precomputed_features(model):
    inputs = build_inputs(model, HEARD)
    expected = new_tokens(model, inputs)
    text = {key: inputs.pop(key) for key in ("input_ids", "attention_mask")}
    features = model.get_image_features(**inputs)
    assert torch.equal(new_tokens(model, {**text, "mm_encoder_outputs": {"image": features}}), expected)


def test_every_sound_is_encoded_once(model, monkeypatch):
    inputs = build_inputs(model, HEARD)
    inputs["input_features"] = torch.randn(3, 1, 80, 40)
    del inputs["sound_embeds"]
    calls = []
    forward = model.model.audio_tower.forward
    monkeypatch.setattr(
        model.model.audio_tower, "forward", lambda *args, **kwargs: calls.append(1) or forward(*args, **kwargs)
    )
    for options in ({}, {"use_cache": False}, {"num_beams": 2}):
        new_tokens(model, inputs, **options)
    assert len(calls) == 3


@pytest.mark.filterwarnings("ignore:.*past_key_values:FutureWarning")  # transformers' own, for the older name
@pytest.mark.parametrize("name", ["past_key_values", "cache"])
def test_both_names_of_the_cache(model, name):
    inputs = build_inputs(model, HEARD[:1])
    ids = new_tokens(model, inputs)[0]
    output = model(**inputs)
    if not hasattr(output, name):
        pytest.skip(f"transformers {transformers.__version__} has no {name!r}")
    filled = getattr(output, name)
    following = torch.cat([inputs["input_ids"][0], ids[:1]])[None, -1:]
    mask = torch.cat([inputs["attention_mask"], torch.ones(1, 1, dtype=torch.long)], dim=1)
    with torch.no_grad():
        logits = model(input_ids=following, attention_mask=mask, **{name: filled}).logits
    assert output.logits[0, -1].argmax() == ids[0]
    assert logits[0, -1].argmax() == ids[1]


def test_streaming(model):
    class Numbers:
        def decode(self, ids, **_):
            ids = [ids] if isinstance(ids, int) else ids  # streamers decode single tokens, too
            return " ".join(str(int(token)) for token in ids) + "\n"

    inputs = build_inputs(model, HEARD[:1])
    expected = new_tokens(model, inputs)[0].tolist()
    streamer = TextIteratorStreamer(Numbers(), skip_prompt=True, timeout=300)
    thread = Thread(target=model.generate, kwargs={**inputs, **GREEDY, "streamer": streamer})
    thread.start()
    text = "".join(streamer)
    thread.join()
    assert [int(word) for word in text.split()] == expected


def test_sound_info_comes_with_generate(model):
    inputs = build_inputs(model, MIXED, budget=4)
    output = model.generate(**inputs, **GREEDY, return_sound_info=True)
    assert torch.equal(output.sequences[:, inputs["input_ids"].shape[1] :], new_tokens(model, inputs))
    assert [info.mode for info in output.sound_info].count("silent") == 2
    beams = model.generate(**inputs, **GREEDY, num_beams=2, return_sound_info=True)
    assert len(beams.sound_info) == len(output.sound_info)


def test_top_k_alignment_and_alpha_reach_the_encoder(model):
    inputs = build_inputs(model, HEARD[:1])
    scores = {}
    for name, options in {
        "default": {},
        "top_k": {"sound_top_k": 1},
        "raw": {"sound_alignment": "raw"},
        "alpha": {"sound_alpha": 0.5},
    }.items():
        output = model.generate(**inputs, **{**GREEDY, **options}, output_scores=True, return_dict_in_generate=True)
        scores[name] = output.scores[0]
    for name in ("top_k", "raw", "alpha"):
        assert not torch.allclose(scores[name], scores["default"], atol=1e-3), name


@pytest.mark.parametrize("budget", [None, 3])
@pytest.mark.parametrize(
    "top_k",
    [
        np.int64(3),
        np.array(3),
        torch.tensor(3),
        [3, np.int32(3), torch.tensor(3), None],
        np.array([3, 3, 3, 3]),
        torch.tensor([3, 3, 3, 3]),
    ],
    ids=["numpy integer", "numpy 0-d", "tensor 0-d", "list", "numpy", "tensor"],
)
def test_top_k_may_be_of_numpy_or_torch(model, top_k, budget):
    inputs = build_inputs(model, HEARD, budget)
    output = model.generate(**inputs, **GREEDY, sound_top_k=top_k, return_sound_info=True)
    assert torch.equal(output.sequences, model.generate(**inputs, **GREEDY, sound_top_k=3))
    assert [info.k for info in output.sound_info] == [3, 3, 3, -1]


@pytest.mark.parametrize(
    "top_k", [True, np.bool_(True), torch.tensor(True), [3, True, 3, 3], [3, torch.tensor(True), 3, 3]]
)
def test_a_bool_is_no_top_k(model, top_k):
    with pytest.raises(ValueError, match="sound_top_k=True: must be an int"):
        model.generate(**build_inputs(model, HEARD), **GREEDY, sound_top_k=top_k)


def test_silent_prompts_keep_no_trace_of_the_sound_beside_them(model):
    inputs = build_inputs(model, MIXED)
    text_only = MIXED[3]
    alone = new_tokens(model, build_inputs(model, [text_only]))
    assert torch.equal(new_tokens(model, inputs)[3], alone[0])


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ({"max_new_tokens": 1}, None),
        (
            {"max_new_tokens": 2},
            "22 tokens, up to 17 of them for pictures and sounds and 2 new ones may follow, .* of 23 ",
        ),
        ({"max_length": 24}, "22 tokens.* and 2 new ones may follow"),
        ({"generation_config": transformers.GenerationConfig(max_new_tokens=3)}, "and 3 new ones may follow"),
    ],
)
def test_generation_past_the_context_is_told(new, message):
    """Silently degraded answers otherwise: LLaVA's configuration hides the limit from stock `generate`."""
    model = tiny_sound_llava("llava", text_config=tiny_text_config(max_position_embeddings=23))
    inputs = build_inputs(model, [Sample([((28, 28), 1)], text=(11, 12, 13))])
    # <s>, 16 patches and f_a, a line break, three words
    assert inputs["input_ids"].shape == (1, 22)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.generate(**inputs, do_sample=False, pad_token_id=0, **new)
    told = [str(warning.message) for warning in caught if "max_position_embeddings" in str(warning.message)]
    assert len(told) == (message is not None)
    assert message is None or re.search(message, told[0])


def test_a_prompt_past_the_context_is_told_before_a_tower_runs(monkeypatch):
    model = tiny_sound_llava("llava", text_config=tiny_text_config(max_position_embeddings=21))
    inputs = build_inputs(model, [Sample([((28, 28), 1)], text=(11, 12, 13)), Sample([((28, 28), None)], text=(5,))])
    with pytest.warns(
        UserWarning, match="The prompt has 22 tokens, up to 17 of them for pictures and sounds, but .* 21 "
    ):
        model(**inputs)
    monkeypatch.setattr(model.model.vision_tower, "forward", None)  # would raise a TypeError
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="The prompt has 22 tokens"):
            model(**inputs)


def test_padding_and_scaled_positions_do_not_count_as_context():
    def told(inputs, **options):
        model = tiny_sound_llava("llava", text_config=tiny_text_config(**options))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model(**inputs)
        return any("max_position_embeddings" in str(warning.message) for warning in caught)

    inputs = build_inputs(tiny_sound_llava("llava"), [Sample([((28, 28), 1)], text=(11, 12, 13))])
    padded = dict(inputs)
    for name in ("input_ids", "attention_mask"):
        padded[name] = torch.cat([torch.zeros(1, 9, dtype=torch.long), inputs[name]], dim=1)
    assert not told(padded, max_position_embeddings=22)
    assert told(padded, max_position_embeddings=21)
    scaled = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    assert not told(inputs, max_position_embeddings=21, rope_parameters=scaled)
