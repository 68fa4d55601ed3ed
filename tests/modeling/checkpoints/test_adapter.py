"""Loading and saving: official layouts, full models, adapters; strict about every key of ours."""

import json
import logging

import pytest
import torch
from rounding import assert_equal_to_rounding, assert_same_weights
from safetensors.torch import load_file, save_file
from tiny_inputs import Sample, build_inputs
from tiny_models import (
    VARIANTS,
    tiny_audio_config,
    tiny_llava,
    tiny_sound_llava,
    tiny_sound_llava_config,
    tiny_vision_config,
)
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
    LlavaForConditionalGeneration,
    LlavaNextForConditionalGeneration,
)

from soundclip_hf import SoundLlava, WhisperClipModel
from soundclip_hf.modeling.checkpoints.adapter import ADAPTER_NAME

SAMPLES = [Sample([((40, 20), 1)]), Sample([((28, 28), None)], text=(21, 22))]


def logits_of(model, inputs):
    with torch.no_grad():
        return model(**inputs).logits


@pytest.fixture(params=VARIANTS)
def variant(request):
    return request.param


@pytest.fixture
def adapter(variant, tmp_path):
    """A stock base, an adapter for it with the encoder in a folder of its own, and the model they stand for."""
    base, encoder, repo = tmp_path / "base", tmp_path / "encoder", tmp_path / "adapter"
    tiny_llava(variant).save_pretrained(base)
    model = tiny_sound_llava(variant)
    model.model.audio_tower.save_pretrained(encoder)
    model.config.base_model_name_or_path = str(base)
    model.config.audio_encoder_name_or_path = str(encoder)
    model.save_pretrained(repo, adapter_only=True)
    return model, repo, base


def official_layout(model):
    """A state dict under the names of the checkpoints on the Hub (llava-hf, before transformers 5)."""
    renamed = {}
    for key, value in model.state_dict().items():
        if key.startswith("lm_head"):
            key = "language_model." + key
        key = key.replace("model.language_model.", "language_model.model.", 1)
        key = key.replace("model.vision_tower.", "vision_tower.vision_model.", 1)
        key = key.replace("model.multi_modal_projector", "multi_modal_projector", 1)
        key = key.replace("model.image_newline", "image_newline", 1)
        renamed[key] = value.contiguous()
    return renamed


def test_official_layout_loads_completely(variant, tmp_path, caplog):
    stock = tiny_llava(variant)
    stock.config.save_pretrained(tmp_path)
    layout = official_layout(stock)
    assert "language_model.lm_head.weight" in layout
    save_file(layout, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with caplog.at_level(logging.WARNING):
        model, info = SoundLlava.from_pretrained(
            tmp_path, config=tiny_sound_llava_config(variant), output_loading_info=True
        )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    for key, value in stock.state_dict().items():
        assert torch.equal(model.state_dict()[key], value), key
    ears = [record.getMessage() for record in caplog.records if "without an audio encoder" in record.getMessage()]
    assert len(ears) == 1
    assert "audio_tower and audio_projection are newly initialised" in ears[0]
    assert model.config.base_model_name_or_path == str(tmp_path)


def test_stock_checkpoint_without_a_configuration_of_ours(variant, tmp_path):
    tiny_llava(variant).save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    assert config.model_type == variant
    model = SoundLlava.from_pretrained(tmp_path)
    assert model.config.llava_variant == variant
    assert model.config.sound_config.vision_hidden_size == 32


def test_a_saved_model_is_readable_by_stock_llava(variant, tmp_path):
    model = tiny_sound_llava(variant)
    model.save_pretrained(tmp_path)
    stock_class = LlavaForConditionalGeneration if variant == "llava" else LlavaNextForConditionalGeneration
    stock, info = stock_class.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert all("audio_" in key for key in info["unexpected_keys"])
    inputs = build_inputs(model, SAMPLES[1:])
    for name, value in stock.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name
    assert_equal_to_rounding(logits_of(stock, inputs), logits_of(model, inputs))


@pytest.mark.parametrize("shard", ["50GB", "60KB"])
def test_full_round_trip(variant, shard, tmp_path):
    model = tiny_sound_llava(variant)
    model.save_pretrained(tmp_path, max_shard_size=shard)
    assert (len(list(tmp_path.glob("model-*.safetensors"))) > 1) == (shard == "60KB")
    inputs = build_inputs(model, SAMPLES)
    for loaded in (
        SoundLlava.from_pretrained(tmp_path),
        AutoModelForMultimodalLM.from_pretrained(tmp_path),
        AutoModelForImageTextToText.from_pretrained(tmp_path, device_map="cpu"),
    ):
        assert type(loaded) is SoundLlava
        assert_same_weights(loaded, model)
        assert_equal_to_rounding(logits_of(loaded, inputs), logits_of(model, inputs))


def test_adapter_round_trip(adapter):
    model, repo, base = adapter
    assert sorted(path.name for path in repo.iterdir()) == ["config.json", "modules.json", ADAPTER_NAME]
    assert all(key.startswith("audio_projection.") for key in load_file(repo / ADAPTER_NAME))
    inputs = build_inputs(model, SAMPLES)
    for loaded in (
        SoundLlava.from_pretrained(repo),
        AutoModelForMultimodalLM.from_pretrained(repo, device_map="cpu", dtype="auto"),
        AutoModelForImageTextToText.from_pretrained(repo, base_model_name_or_path=str(base)),
    ):
        assert_same_weights(loaded, model)
        assert_equal_to_rounding(logits_of(loaded, inputs), logits_of(model, inputs))
        features, mask = torch.randn(1, 1, 80, 30), torch.ones(1, 1, 30, dtype=torch.long)
        with torch.no_grad():
            assert_equal_to_rounding(
                loaded.get_audio_features(features, mask).pooler_output,
                model.get_audio_features(features, mask).pooler_output,
            )


def test_adapter_without_encoder_id_carries_the_encoder(variant, tmp_path):
    base, repo = tmp_path / "base", tmp_path / "adapter"
    tiny_llava(variant).save_pretrained(base)
    model = tiny_sound_llava(variant)
    model.config.base_model_name_or_path = str(base)
    model.save_pretrained(repo, adapter_only=True)
    assert any(key.startswith("audio_tower.") for key in load_file(repo / ADAPTER_NAME))
    loaded = SoundLlava.from_pretrained(repo)
    for key, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key


def test_adapter_configuration_needs_no_base(adapter):
    model, repo, base = adapter
    for path in base.iterdir():
        path.unlink()
    config = AutoConfig.from_pretrained(repo)
    assert config.text_config.vocab_size == model.config.text_config.vocab_size
    assert config.vision_config.image_size == 28
    with pytest.raises(OSError, match="base"):
        SoundLlava.from_pretrained(repo)


def test_an_unaware_loader_fails_loudly(adapter):
    _, repo, _ = adapter
    with pytest.raises(OSError, match="safetensors"):
        LlavaForConditionalGeneration.from_pretrained(repo)


def test_offloaded_language_model(adapter, tmp_path):
    model, repo, _ = adapter
    device_map = {
        "model.audio_tower": "cpu",
        "model.audio_projection": "cpu",
        "model.vision_tower": "cpu",
        "model.multi_modal_projector": "cpu",
        "model.language_model": "disk",
        "lm_head": "cpu",
    }
    if model.config.llava_variant == "llava_next":
        device_map["model.image_newline"] = "cpu"
    loaded = SoundLlava.from_pretrained(repo, device_map=device_map, offload_folder=tmp_path / "offload")
    inputs = build_inputs(model, SAMPLES)
    torch.testing.assert_close(logits_of(loaded, inputs), logits_of(model, inputs))


def test_offloaded_ears_are_refused(adapter, tmp_path):
    _, repo, _ = adapter
    with pytest.raises(ValueError, match=r"keep model\.audio_tower and model\.audio_projection on a device"):
        SoundLlava.from_pretrained(
            repo,
            device_map={"model": "disk", "lm_head": "cpu"},
            offload_folder=tmp_path / "offload",
        )


def edit_adapter(repo, change):
    tensors = load_file(repo / ADAPTER_NAME)
    change(tensors)
    save_file(tensors, repo / ADAPTER_NAME, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda tensors: tensors.pop("audio_projection.fc1.weight"),
            r"Missing in soundclip_adapter.safetensors: audio_projection\.fc1\.weight",
        ),
        (
            lambda tensors: tensors.update({"audio_projection.fc9.weight": torch.zeros(1)}),
            r"Unknown to the model: audio_projection\.fc9\.weight",
        ),
        (
            lambda tensors: tensors.update({"audio_projection.fc1.bias": torch.zeros(3)}),
            r"audio_projection\.fc1\.bias \(3,\) against \(16,\)",
        ),
    ],
    ids=["missing", "unexpected", "misshapen"],
)
def test_adapter_keys_are_strict(adapter, change, message):
    _, repo, _ = adapter
    edit_adapter(repo, change)
    with pytest.raises(ValueError, match=message):
        SoundLlava.from_pretrained(repo)


def test_truncated_adapter_file(adapter):
    _, repo, _ = adapter
    content = (repo / ADAPTER_NAME).read_bytes()
    (repo / ADAPTER_NAME).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        SoundLlava.from_pretrained(repo)


@pytest.mark.parametrize("part", ["audio_projection.fc2.weight", "audio_tower.encoder.conv1.bias"])
def test_full_checkpoint_that_lacks_a_key_of_ours(part, tmp_path):
    model = tiny_sound_llava("llava")
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    name = next(key for key in tensors if key.endswith(part))
    del tensors[name]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"Missing in the checkpoint: .*{part}"):
        SoundLlava.from_pretrained(tmp_path)


def test_full_checkpoint_with_an_unknown_key_of_ours(tmp_path):
    model = tiny_sound_llava("llava")
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["model.audio_projection.fc4.weight"] = torch.zeros(2)
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"Unknown to the model: .*audio_projection\.fc4\.weight"):
        SoundLlava.from_pretrained(tmp_path)


def test_wrong_tower_values(adapter, tmp_path):
    model, repo, _ = adapter
    torch.manual_seed(5)
    other = tiny_llava(model.config.llava_variant)
    torch.nn.init.normal_(other.model.vision_tower.encoder.layers[0].mlp.fc1.weight)
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match=r"another vision tower .*other.*sampled weights"):
        SoundLlava.from_pretrained(repo, base_model_name_or_path=str(tmp_path / "other"))


def test_wrong_tower_geometry(adapter):
    _, repo, _ = adapter
    config = json.loads((repo / "config.json").read_text())
    config["vision_fingerprint"]["num_hidden_layers"] = 24
    (repo / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="num_hidden_layers 24 against 3"):
        SoundLlava.from_pretrained(repo)


def test_half_precision_base_is_still_the_same_tower(adapter, tmp_path):
    _, repo, _ = adapter
    for dtype in (torch.float16, torch.bfloat16):
        loaded = SoundLlava.from_pretrained(repo, dtype=dtype)
        assert loaded.dtype == dtype
        assert loaded.model.audio_tower.dtype == dtype
        assert loaded.model.audio_projection.fc1.weight.dtype == torch.float32
        loaded.save_pretrained(tmp_path / "full")
        again = SoundLlava.from_pretrained(tmp_path / "full", dtype=torch.float32)
        assert {parameter.dtype for parameter in again.parameters()} == {torch.float32}


def test_adapter_needs_a_base(adapter, tmp_path):
    model, repo, _ = adapter
    model.config.base_model_name_or_path = None
    with pytest.raises(ValueError, match=r"needs config\.base_model_name_or_path"):
        model.save_pretrained(tmp_path / "out", adapter_only=True)
    config = json.loads((repo / "config.json").read_text())
    config["base_model_name_or_path"] = None
    (repo / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="does not say which LLaVA it belongs to"):
        SoundLlava.from_pretrained(repo)


def test_encoder_of_a_stock_checkpoint_comes_from_its_own_folder(tmp_path, caplog):
    tiny_llava("llava").save_pretrained(tmp_path / "base")
    torch.manual_seed(9)
    encoder = WhisperClipModel(tiny_audio_config())
    encoder.save_pretrained(tmp_path / "encoder")
    config = tiny_sound_llava_config("llava")
    config.audio_encoder_name_or_path = str(tmp_path / "encoder")
    with caplog.at_level(logging.WARNING):
        model = SoundLlava.from_pretrained(tmp_path / "base", config=config)
    assert "audio_projection is newly initialised" in caplog.text
    for key, value in encoder.state_dict().items():
        assert torch.equal(model.model.audio_tower.state_dict()[key], value)


def test_another_model_type_is_refused(tmp_path):
    tiny_vision_config().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="clip_vision_model"):
        SoundLlava.from_pretrained(tmp_path)


def test_a_learned_layer_fusion_travels_with_the_adapter(tmp_path):
    base, encoder, repo = tmp_path / "base", tmp_path / "encoder", tmp_path / "adapter"
    tiny_llava("llava").save_pretrained(base)
    WhisperClipModel(tiny_audio_config()).save_pretrained(encoder)  # the original has no fusion weights
    config = tiny_sound_llava_config("llava", sound={"audio_config": tiny_audio_config(layer_fusion="weighted_sum")})
    config.audio_encoder_name_or_path = str(encoder)
    model = SoundLlava.from_pretrained(base, config=config)
    with torch.no_grad():
        model.model.audio_tower.layer_weight_logits.copy_(torch.tensor([0.3, -0.7]))
    model.save_pretrained(repo, adapter_only=True)
    assert "audio_tower.layer_weight_logits" in load_file(repo / ADAPTER_NAME)
    loaded = SoundLlava.from_pretrained(repo)
    assert loaded.model.audio_tower.layer_weight_logits.tolist() == pytest.approx([0.3, -0.7])
