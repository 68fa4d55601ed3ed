"""Every origin: what is missing, unknown or of another shape is named; the way back is bitwise."""

import logging

import pytest
import torch
from golden import assert_golden, load_golden
from transformers import CLIPVisionConfig, CLIPVisionModel

from soundclip_hf.conversion import ORIGINS, from_original, looks_like, to_original

GOLDEN = {
    "imagebind": "imagebind",
    "audioclip": "audioclip",
    "wav2clip": "wav2clip",
    "clap": "clap_htsat_unfused",
    "whisper": "whisper",
}
# Entries of each checkpoint's other parts, as the released files have them.
OTHERS = {
    "imagebind": [
        "modality_preprocessors.vision.cls_token",
        "modality_preprocessors.text.mask",
        "modality_preprocessors.depth.rgbt_stem.proj.0.weight",
        "modality_trunks.thermal.blocks.0.attn.bias_k",
        "modality_trunks.imu.blocks.5.mlp.fc1.weight",
        "modality_heads.text.proj.1.weight",
        "modality_postprocessors.imu.1.log_logit_scale",
    ],
    "audioclip": [
        "visual.layer1.0.conv1.weight",
        "transformer.resblocks.0.attn.in_proj_weight",
        "token_embedding.weight",
        "positional_embedding",
        "ln_final.weight",
        "text_projection",
        "logit_scale",
        "logit_scale_ai",
        "logit_scale_at",
    ],
    "clap": ["text_model.embeddings.word_embeddings.weight", "text_projection.linear1.weight", "logit_scale_a"],
    "whisper": ["model.decoder.embed_tokens.weight", "proj_out.weight"],
    "wav2clip": ["image_transform.sequential.0.weight", "loss_scale"],
}


@pytest.fixture(scope="module", params=sorted(GOLDEN))
def case(request):
    name = request.param
    return name, load_golden(GOLDEN[name]).state_dict


@pytest.fixture(scope="module")
def converted(case):
    name, state = case
    return from_original(name, state)[0]


def test_round_trip_is_bitwise(case, converted):
    name, state = case
    back = to_original(converted)
    assert back.keys() == {entry["key"] for entry in load_golden(GOLDEN[name]).spec["keys"]}
    for key, value in state.items():
        assert torch.equal(back[key], value.reshape(back[key].shape)), key
    assert looks_like(back) == name
    assert not converted.training


def test_does_not_share_memory_with_the_checkpoint(case, converted):
    _, state = case
    theirs = {value.data_ptr() for value in state.values() if value.numel()}
    assert not theirs & {value.data_ptr() for value in converted.state_dict().values()}


def test_other_parts_are_left_behind_and_told(case, converted, caplog):
    name, state = case
    extra = dict.fromkeys(OTHERS[name], torch.zeros(2))
    origin = ORIGINS[name]
    logger = logging.getLogger("transformers")
    logger.propagate = True
    try:
        with caplog.at_level("WARNING"):
            weights = origin.convert({**extra, **state}, converted.state_dict())
    finally:
        logger.propagate = False
    assert weights.keys() == converted.state_dict().keys()
    assert f"{len(extra)} of {len(extra) + len(state)} entries belong to other parts" in caplog.text


def test_problems_are_listed_together(case, converted):
    name, state = case
    keys = [key for key in state if key.endswith("weight") and state[key].ndim > 1]
    bad = {key: value for key, value in state.items() if key != keys[1]}
    bad[keys[2]] = torch.zeros(3)
    bad["surprise.weight"] = torch.zeros(1)
    with pytest.raises(ValueError, match="does not fit") as caught:
        ORIGINS[name].convert(bad, converted.state_dict())
    message = str(caught.value)
    assert f"1 missing: {keys[1]}" in message
    assert "1 unknown: surprise.weight" in message
    assert f"1 of another shape: {keys[2]} (3,) for {tuple(state[keys[2]].shape)}" in message


def test_another_encoders_checkpoint_is_named(case):
    name, state = case
    for other in ORIGINS:
        if other != name:
            with pytest.raises(ValueError, match=f"no checkpoint of {other}: it looks like {name}"):
                from_original(other, state)
    with pytest.raises(ValueError, match=r"no encoder known here \(a, b …\)"):
        from_original(name, {"a": torch.zeros(1), "b": torch.zeros(1)})
    with pytest.raises(ValueError, match="none at all"):
        from_original(name, {})


def test_an_imagebind_checkpoint_without_its_audio_trunk():
    with pytest.raises(ValueError, match=r"looks like imagebind \(without its audio trunk\)"):
        from_original("imagebind", {"modality_trunks.vision.blocks.0.norm_1.weight": torch.zeros(1)})


def test_the_whole_imagebind_file(caplog):
    """Its 1311 entries: besides the audio trunk, those of five other modalities."""
    golden = load_golden("imagebind")
    whole = dict(golden.state_dict)
    parts = ("preprocessors", "trunks", "heads", "postprocessors")
    names = (
        f"modality_{part}.{modality}.{number}.weight"
        for number in range(60)
        for part in parts
        for modality in ("vision", "text", "depth", "thermal", "imu")
    )
    while len(whole) < golden.spec["full_checkpoint_keys"]:
        whole[next(names)] = torch.zeros(1)
    logging.getLogger("transformers").propagate = True
    try:
        model, _ = from_original("imagebind", whole)
    finally:
        logging.getLogger("transformers").propagate = False
    assert "1134 of 1311 entries belong to other parts" in caplog.text
    assert to_original(model).keys() == golden.state_dict.keys()


def test_another_spectrogram_window_is_refused():
    state = load_golden("wav2clip").state_dict
    key = "audio_encoder.spectrogram.window"
    with pytest.raises(ValueError, match=f"another value than the formula's: {key}"):
        from_original("wav2clip", {**state, key: torch.hamming_window(512)})
    model, _ = from_original("wav2clip", {k: v for k, v in state.items() if k != key})
    assert torch.equal(to_original(model)[key], state[key])


@pytest.mark.parametrize("name", ["clap_htsat_unfused", pytest.param("clap_larger_general", marks=pytest.mark.slow)])
def test_clap_has_the_shape_of_its_checkpoint(name):
    golden = load_golden(name)
    model, extractor = from_original("clap", golden.state_dict)
    with torch.no_grad():
        z = model(**extractor(golden.sounds(), sampling_rate=48000, return_tensors="pt")).pooler_output
    assert_golden(golden, "audio_embeds", z, 1e-4)


def test_clap_with_another_index_table_is_refused():
    state = load_golden("clap_htsat_unfused").state_dict
    key = "audio_model.audio_encoder.layers.0.blocks.0.attention.self.relative_position_index"
    with pytest.raises(ValueError, match=f"of another value than the formula's: {key}"):
        from_original("clap", {**state, key: torch.zeros(64, 64, dtype=torch.long)})


@pytest.mark.parametrize("fusion", ["average_all", "final", "middle_upper"])
def test_whisper_takes_a_fusion(fusion):
    golden = load_golden("whisper")
    model, extractor = from_original("whisper", golden.state_dict, layer_fusion=fusion)
    with torch.no_grad():
        z = model(**extractor(golden.sounds(), sampling_rate=16000, return_tensors="pt")).pooler_output
    assert_golden(golden, f"ln_all/{fusion}", z, 1e-4)
    assert model.config.layer_fusion == fusion


def test_whisper_without_prefix_and_with_weights_of_ours():
    state = load_golden("whisper").state_dict
    bare = {key.removeprefix("model."): value for key, value in state.items()}
    model, extractor = from_original(
        "whisper", {**bare, "decoder.layer_norm.weight": torch.ones(2)}, layer_fusion="weighted_sum", window="short"
    )
    assert model.layer_weight_logits.tolist() == [0.0] * 4
    assert extractor.window == "short"
    assert to_original(model).keys() == state.keys()


def test_the_parameter_without_a_value_may_be_absent():
    state = load_golden("audioclip").state_dict
    assert state["audio.fbsp.bias"].shape == (0,)
    model, _ = from_original("audioclip", {k: v for k, v in state.items() if k != "audio.fbsp.bias"})
    assert to_original(model)["audio.fbsp.bias"].shape == (0,)


def test_unknown_names():
    with pytest.raises(ValueError, match="encoder_name='vggish': must be one of imagebind"):
        from_original("vggish", {})
    config = CLIPVisionConfig(num_hidden_layers=1, hidden_size=8, intermediate_size=8, num_attention_heads=1)
    with pytest.raises(ValueError, match="CLIPVisionModel has no original format here"):
        to_original(CLIPVisionModel(config))
