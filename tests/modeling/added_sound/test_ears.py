"""Ears from every kind of repository and object, and what does not fit the model's vision tower."""

import logging

import pytest
import torch
from rounding import assert_same_weights
from test_adding import encoder, family_processor, mixed_batch
from tiny_encoders import ENCODERS
from tiny_families import family_model, tiny_siglip_config
from tiny_models import tiny_audio_config, tiny_llava, tiny_sound_config, tiny_sound_llava, tiny_vision_config
from tiny_processors import tiny_feature_extractor, tiny_sound_processor
from transformers import AutoModel, SiglipVisionModel

from soundclip_hf import SoundClipModel, SoundClipProcessor, add_sound, remove_sound


@pytest.fixture
def folders(tmp_path):
    """An adapter, whole and dual models of one SoundLlava, its encoder, and the base that all of them fit."""
    whole = tiny_sound_llava("llava")
    processor = tiny_sound_processor("llava")
    base = tmp_path / "base"
    tiny_llava("llava").save_pretrained(base)
    whole.save_pretrained(tmp_path / "whole")
    whole.model.audio_tower.save_pretrained(tmp_path / "encoder")
    tiny_feature_extractor().save_pretrained(tmp_path / "encoder")
    whole.config.base_model_name_or_path = str(base)
    whole.save_pretrained(tmp_path / "adapter", adapter_only=True)
    whole.config.audio_encoder_name_or_path = str(tmp_path / "encoder")
    whole.save_pretrained(tmp_path / "small_adapter", adapter_only=True)
    for name in ("whole", "adapter", "small_adapter"):
        processor.save_pretrained(tmp_path / name)
    dual = SoundClipModel.from_pretrained(tmp_path / "whole")
    dual.save_pretrained(tmp_path / "dual")
    SoundClipProcessor(processor.image_processor, processor.feature_extractor).save_pretrained(tmp_path / "dual")
    return tmp_path, whole


def added(sound, alignment=None, model=None, **kwargs):
    model = tiny_llava("llava") if model is None else model
    return add_sound(model, sound, alignment, processor=family_processor("llava"), **kwargs)


@pytest.mark.parametrize("kind", ["adapter", "small_adapter", "whole", "dual"])
def test_projected_from_a_folder(folders, kind):
    folder, whole = folders
    model, processor = added(folder / kind, "projected")
    assert_same_weights(model.ears.audio_tower, whole.model.audio_tower)
    assert_same_weights(model.ears.audio_projection, whole.model.audio_projection)
    assert processor.sound_top_k == whole.config.sound_config.token_budget == 5
    assert processor.feature_extractor.sampling_rate == 16_000
    with torch.no_grad():
        assert torch.isfinite(model(**mixed_batch(processor)).logits).all()


@pytest.mark.parametrize("kind", ["adapter", "small_adapter", "whole", "dual", "encoder"])
def test_raw_from_a_folder(folders, kind):
    folder, whole = folders
    model, processor = added(folder / kind, "raw")
    assert_same_weights(model.ears.audio_tower, whole.model.audio_tower)
    assert not list(model.ears.audio_projection.parameters())
    embeds = torch.randn(2, 24)
    assert torch.equal(model.model.align_sounds(embeds), torch.nn.functional.pad(embeds, (0, 8)))
    with pytest.raises(ValueError, match="added with alignment='raw' and has no projector"):
        model(**mixed_batch(processor), sound_alignment="projected")


def test_objects_are_copied(folders):
    folder, whole = folders
    dual = SoundClipModel.from_pretrained(folder / "dual")
    for sound in (dual, type(whole.model.audio_tower).from_pretrained(folder / "encoder")):
        model, _ = added(sound)
        model.half()
        assert next(sound.parameters()).dtype == torch.float32
        remove_sound(model)
    assert added(dual)[0].ears.config.alignment == "projected"


def test_an_encoder_alone_has_no_projector():
    with pytest.raises(ValueError, match="audio encoder without a projector: pass alignment='raw'"):
        added(encoder(), "projected", feature_extractor=tiny_feature_extractor())


def test_the_alignment_of_the_sound_is_the_default(folders):
    folder, _ = folders
    assert added(folder / "adapter")[0].ears.config.alignment == "projected"
    assert added(folder / "encoder")[0].ears.config.alignment == "raw"
    with pytest.raises(ValueError, match='alignment=\'both\': must be "projected" or "raw"'):
        added(folder / "adapter", "both")


@pytest.mark.parametrize("kind", ["adapter", "whole", "dual", "object"])
def test_another_vision_tower_is_refused_with_both_names(folders, kind):
    folder, _ = folders
    sound = SoundClipModel.from_pretrained(folder / "dual") if kind == "object" else folder / kind
    other = tiny_llava("llava")
    other.save_pretrained(folder / "other")
    other = type(other).from_pretrained(folder / "other")
    with torch.no_grad():
        for parameter in other.model.vision_tower.parameters():
            parameter.mul_(1.5)
    name = "dual" if kind == "object" else kind
    said = rf"{name}.*another vision tower than that of .*other .*sampled weights"
    with pytest.raises(ValueError, match=said) as error:
        added(sound, "projected", other)
    assert "alignment='raw', or run `soundclip align`" in str(error.value)
    assert type(other) is type(tiny_llava("llava"))
    assert not hasattr(other.model, "ears")
    model, processor = added(sound, "raw", other)
    with torch.no_grad():
        assert torch.isfinite(model(**mixed_batch(processor)).logits).all()


def test_another_feature_layer_or_width_is_refused(folders):
    folder, _ = folders
    with pytest.raises(ValueError, match="vision_feature_layer -2 against -1"):
        added(folder / "adapter", model=tiny_llava("llava", vision_feature_layer=-1))
    with pytest.raises(ValueError, match="hidden_size 32 against 40"):
        added(folder / "adapter", model=tiny_llava("llava", vision_config=tiny_vision_config(hidden_size=40)))
    # ViP-LLaVA's tokens are several layers side by side.
    vip = family_model("vipllava")
    with pytest.raises(ValueError, match=r"vision_feature_layer -2 against \[-2, 1\]"):
        add_sound(vip, folder / "adapter", processor=family_processor("vipllava"))
    model, _ = add_sound(vip, folder / "adapter", "raw", processor=family_processor("vipllava"))
    assert model.ears.config.vision_hidden_size == 64


def test_quantized_towers_are_compared_by_geometry(folders, caplog):
    folder, _ = folders
    model = tiny_llava("llava")
    with torch.no_grad():
        for parameter in model.model.vision_tower.parameters():
            parameter.mul_(1.5)
    model.hf_quantizer = object()  # what transformers sets on a model with packed weights
    with caplog.at_level(logging.WARNING):
        added(folder / "adapter", "projected", model)
    assert "is quantized" in caplog.text


def test_the_feature_extractor_has_to_be_known(folders):
    folder, _ = folders
    with pytest.raises(ValueError, match="feature_extractor="):
        added(encoder())
    padded = tiny_sound_config(vision_config=tiny_vision_config(), audio_config=tiny_audio_config(window="pad30"))
    with pytest.raises(ValueError, match=r"audio_config\.window='pad30'"):
        added(SoundClipModel(padded), "raw", feature_extractor=tiny_feature_extractor())
    with pytest.raises(TypeError, match="sound is a int"):
        added(3)
    with pytest.raises(ValueError, match="not an audio encoder"):
        added(folder / "base")
    with pytest.raises(OSError, match="nowhere"):
        added(folder / "nowhere")


def test_names_hold_a_revision(folders):
    """Of a folder there is none, but two that differ are an error before anything is looked up."""
    for call in (
        lambda: added("org/sound@v1", sound_revision="v2"),
        lambda: add_sound("org/llava@v1", encoder(), revision="v2"),
    ):
        with pytest.raises(ValueError, match=r"names the revision 'v1', but (sound_)?revision is 'v2'"):
            call()
    with pytest.raises(ValueError, match=r"bundled.*was aligned to another vision tower|wide"):
        added("tiny", "projected")
    model, _ = added("tiny", "raw")
    assert model.ears.config.vision_hidden_size == 32


def test_a_damaged_adapter_is_refused(folders):
    folder, _ = folders
    (folder / "adapter" / "soundclip_adapter.safetensors").write_bytes(b"not safetensors")
    model = tiny_llava("llava")
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        added(folder / "adapter", "projected", model)
    assert not hasattr(model, "ears")


def test_a_dual_encoder_of_a_tower_without_cls_is_aligned_to_the_mean_of_its_patches():
    torch.manual_seed(0)
    config = tiny_sound_config(vision_config=tiny_siglip_config(), vision_feature_layer=-1)
    dual = SoundClipModel(config).eval()
    pixels = torch.randn(2, 3, 28, 28)
    with torch.no_grad():
        target = dual.get_image_features(pixels).pooler_output
        patches = dual.vision_tower(pixels, output_hidden_states=True).hidden_states[-1]
    torch.testing.assert_close(target, patches.mean(1))
    # Its adapter fits a LLaVA with that tower.
    model = family_model("llava_siglip")
    dual.vision_tower.load_state_dict(model.model.vision_tower.state_dict())
    add_sound(
        model,
        dual,
        "projected",
        processor=family_processor("llava_siglip"),
        feature_extractor=tiny_feature_extractor(),
    )
    assert_same_weights(model.ears.audio_projection, dual.audio_projection)


def test_a_dual_encoder_from_siglip(tmp_path):
    SiglipVisionModel(tiny_siglip_config()).save_pretrained(tmp_path / "siglip")
    encoder().save_pretrained(tmp_path / "encoder")
    dual = SoundClipModel.from_audio_vision_pretrained(str(tmp_path / "encoder"), str(tmp_path / "siglip"))
    assert isinstance(dual.vision_tower, SiglipVisionModel)
    with torch.no_grad():
        assert dual.get_image_features(torch.randn(1, 3, 28, 28)).pooler_output.shape == (1, 32)


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder(name):
    config, extractor = ENCODERS[name]
    model, processor = added(AutoModel.from_config(config).eval(), feature_extractor=extractor)
    inputs = mixed_batch(processor)
    with torch.no_grad():
        assert torch.isfinite(model(**inputs).logits).all()
