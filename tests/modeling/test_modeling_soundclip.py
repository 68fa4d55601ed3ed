"""The dual encoder: features, logits and loss, with every encoder."""

import math

import pytest
import torch
import torch.nn.functional as F
from rounding import assert_equal_to_rounding, assert_same_weights, share_weights
from tiny_dual import pictures, sounds, tiny_dual
from tiny_encoders import ENCODERS
from tiny_models import tiny_audio_config, tiny_sound_config, tiny_sound_llava, tiny_vision_config
from transformers import AutoConfig, AutoModel

from soundclip_hf import SoundClipConfig, SoundClipModel
from soundclip_hf.losses import soundclip_loss


@torch.no_grad()
def test_features_and_logits():
    model = tiny_dual()
    inputs = {**sounds(3), "pixel_values": pictures(2)}
    output = model(**inputs)
    f_a = model.get_audio_features(**sounds(3)).pooler_output
    c = model.get_image_features(pictures(2)).pooler_output
    assert f_a.shape == (3, 32)
    assert c.shape == (2, 32)
    tower = model.vision_tower(pictures(2), output_hidden_states=True)
    torch.testing.assert_close(c, tower.hidden_states[-2][:, 0])
    z_a = model.audio_tower(**sounds(3)).pooler_output
    torch.testing.assert_close(f_a, model.audio_projection(z_a))
    torch.testing.assert_close(output.audio_embeds, F.normalize(f_a, dim=-1))
    torch.testing.assert_close(output.image_embeds, F.normalize(c, dim=-1))
    cosines = F.cosine_similarity(f_a[:, None], c[None], dim=-1)
    torch.testing.assert_close(output.logits_per_audio, cosines / 0.07)
    assert torch.equal(output.logits_per_image, output.logits_per_audio.T)
    assert output.loss is None
    assert model.main_input_name == "input_features"
    as_tuple = model(**inputs, return_dict=False)
    assert torch.equal(as_tuple[0], output.logits_per_audio)


@torch.no_grad()
def test_the_tower_is_that_of_llava():
    """`c` is what SoundLlava puts f_a in the place of."""
    llava = tiny_sound_llava("llava")
    model = tiny_dual()
    for part in ("vision_tower", "audio_tower", "audio_projection"):
        share_weights(getattr(model, part), getattr(llava.model, part))
    features = llava.model.vision_tower(pictures(), output_hidden_states=True).hidden_states[-2]
    torch.testing.assert_close(model.get_image_features(pictures()).pooler_output, features[:, 0])
    heard = sounds()
    for options in ({}, {"sound_alignment": "raw"}):
        ours, theirs = (one.get_audio_features(**heard, **options).pooler_output for one in (model, llava))
        assert torch.equal(ours, theirs)


@torch.no_grad()
def test_frames_of_a_clip_are_averaged():
    model = tiny_dual()
    frames = pictures(2, 3)
    each = model.get_image_features(frames.flatten(0, 1)).pooler_output.view(2, 3, 32)
    torch.testing.assert_close(model.get_image_features(frames).pooler_output, each.mean(1))
    one = model.get_image_features(frames[:, :1]).pooler_output
    torch.testing.assert_close(one, model.get_image_features(frames[:, 0]).pooler_output)
    with pytest.raises(ValueError, match=r"pixel_values of shape \(3, 28, 28\)"):
        model.get_image_features(frames[0, 0])


@torch.no_grad()
def test_several_feature_layers():
    model = tiny_dual(vision_feature_layer=[-2, -1], vision_hidden_size=64)
    tower = model.vision_tower(pictures(), output_hidden_states=True).hidden_states
    expected = torch.cat([tower[-2][:, 0], tower[-1][:, 0]], dim=-1)
    torch.testing.assert_close(model.get_image_features(pictures()).pooler_output, expected)
    assert model(**sounds(), pixel_values=pictures()).logits_per_audio.shape == (2, 2)


@torch.no_grad()
def test_hidden_states_on_request():
    model = tiny_dual()
    output = model.get_image_features(pictures(), output_hidden_states=True)
    assert len(output.hidden_states) == 4
    assert model.get_image_features(pictures()).hidden_states is None
    model.config.output_hidden_states = True
    assert len(model.get_image_features(pictures()).hidden_states) == 4
    assert len(model.get_audio_features(**sounds()).hidden_states) == 3


def test_loss_trains_the_projector_alone():
    model = tiny_dual().train()
    output = model(**sounds(), pixel_values=pictures(), return_loss=True)
    expected = soundclip_loss(
        output.audio_model_output.pooler_output, output.vision_model_output.pooler_output, temperature=0.07
    )
    torch.testing.assert_close(output.loss, expected)
    output.loss.backward()
    trained = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert trained
    assert {name.partition(".")[0] for name in trained} == {"audio_projection"}


def test_learnable_temperature():
    model = tiny_dual(learnable_temperature=True, temperature=0.5)
    assert model.logit_scale.item() == pytest.approx(math.log(2))
    model(**sounds(), pixel_values=pictures(), return_loss=True).loss.backward()
    assert model.logit_scale.grad.abs() > 0
    assert not tiny_dual().logit_scale.requires_grad


def test_one_pair_has_no_loss():
    model = tiny_dual()
    with pytest.raises(ValueError, match="at least 2 pairs"):
        model(**sounds(1), pixel_values=pictures(1), return_loss=True)
    with pytest.raises(ValueError, match=r"audio \(2, 32\) and vision \(3, 32\)"):
        model(**sounds(2), pixel_values=pictures(3), return_loss=True)


def test_frozen_towers_stay_in_eval_mode():
    model = tiny_dual(audio_config=ENCODERS["wav2clip"][0])  # has BatchNorm
    inputs = sounds(2, ENCODERS["wav2clip"][1])
    model.train()
    assert model.audio_projection.training
    assert not any(module.training for module in [*model.audio_tower.modules(), *model.vision_tower.modules()])
    before = {key: value.clone() for key, value in model.audio_tower.state_dict().items()}
    model(**inputs, pixel_values=pictures(), return_loss=True)
    assert all(torch.equal(value, before[key]) for key, value in model.audio_tower.state_dict().items())
    model.audio_tower.requires_grad_(True)
    assert model.train().audio_tower.training
    assert not model.vision_tower.training
    model.freeze_base_model()
    assert not model.train().audio_tower.training


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.filterwarnings("ignore:.*padded to one clip")
def test_every_encoder(name, tmp_path):
    config, extractor = ENCODERS[name]
    model = tiny_dual(audio_config=config)
    inputs = {**sounds(2, extractor), "pixel_values": pictures()}
    output = model(**inputs, return_loss=True)
    assert output.loss.isfinite()
    output.loss.backward()
    assert all(parameter.grad is not None for parameter in model.audio_projection.parameters())
    with torch.no_grad():
        raw = model(**inputs, sound_alignment="raw").logits_per_audio
        assert raw.isfinite().all()
        assert not torch.allclose(raw, output.logits_per_audio, atol=1e-3)
        model.save_pretrained(tmp_path)
        again = AutoModel.from_pretrained(tmp_path)
        assert type(again) is SoundClipModel
        assert_same_weights(again, model)
        assert_equal_to_rounding(again(**inputs).logits_per_audio, output.logits_per_audio)


def test_vision_config_is_needed():
    with pytest.raises(ValueError, match="a dual encoder needs the vision tower"):
        SoundClipModel(tiny_sound_config())
    with pytest.raises(ValueError, match="vision_hidden_size=24: the vision tower's tokens are 32 wide"):
        SoundClipModel(tiny_sound_config(vision_config=tiny_vision_config(), vision_hidden_size=24))


def test_both_sides_are_needed():
    model = tiny_dual()
    with pytest.raises(ValueError, match="pixel_values is missing"):
        model(**sounds())
    with pytest.raises(ValueError, match="input_features is missing"):
        model(pixel_values=pictures())


def test_a_sound_that_is_not_finite():
    model = tiny_dual()
    inputs = sounds()
    inputs["input_features"][1] = float("nan")
    with pytest.raises(ValueError, match=r"f_a of sound\(s\) \[1\] is not finite"):
        model.get_audio_features(**inputs)


def test_a_picture_that_is_not_finite():
    pixels = pictures()
    pixels[1, 0, 0, 0] = float("inf")
    with pytest.raises(ValueError, match=r"picture view\(s\) \[1\] are not finite"):
        tiny_dual().get_image_features(pixels)


def test_configuration_round_trip(tmp_path):
    config = tiny_sound_config(vision_config=tiny_vision_config(), learnable_temperature=True)
    config.save_pretrained(tmp_path)
    again = AutoConfig.from_pretrained(tmp_path)
    assert type(again) is SoundClipConfig
    assert again.learnable_temperature is True
    assert again.vision_config.hidden_size == 32
    assert again.audio_config.d_model == tiny_audio_config().d_model
