"""Where a dual encoder comes from: its own checkpoints, adapters, and SoundLlavas, of which it reads what it needs."""

import json

import pytest
import torch
from huggingface_hub import save_torch_state_dict
from safetensors.torch import load_file, save_file
from tiny_models import VARIANTS, tiny_llava, tiny_sound_config, tiny_sound_llava, tiny_vision_config
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig

from soundclip_hf import SoundClipModel, SoundLlava, WhisperClipModel
from soundclip_hf.modeling.checkpoints.adapter import ADAPTER_NAME

INDEX = "model.safetensors.index.json"


@pytest.fixture(params=VARIANTS)
def variant(request):
    return request.param


def write_adapter(folder, variant="llava", encoder=True, base_name="base"):
    """A base, an adapter for it, and the SoundLlava that they stand for."""
    tiny_llava(variant).save_pretrained(folder / base_name)
    model = tiny_sound_llava(variant)
    model.config.base_model_name_or_path = str(folder / base_name)
    if encoder:
        model.model.audio_tower.save_pretrained(folder / "encoder")
        model.config.audio_encoder_name_or_path = str(folder / "encoder")
    model.save_pretrained(folder / "adapter", adapter_only=True)
    return model, folder / "adapter", folder / base_name


def assert_same_parts(found, llava):
    for part in ("audio_tower", "audio_projection", "vision_tower"):
        expected = getattr(llava.model, part).state_dict()
        state = getattr(found, part).state_dict()
        assert state.keys() == expected.keys()
        for key, value in expected.items():
            assert torch.equal(state[key].float(), value.float()), f"{part}.{key}"
    assert found.logit_scale.item() == pytest.approx(2.6592600, abs=1e-6)
    assert not found.training


def files_with(folder, part):
    weights = json.loads((folder / INDEX).read_text())["weight_map"]
    return {file for key, file in weights.items() if f"{part}." in key}, set(weights.values())


def renamed(key, layout):
    """Of a parameter, in checkpoints saved by transformers 5, and in those on the Hub (llava-hf)."""
    if layout == "v5":
        return key
    key = key.replace("lm_head", "language_model.lm_head", 1)
    key = key.replace("model.language_model.", "language_model.model.", 1)
    key = key.replace("model.vision_tower.", "vision_tower.vision_model.", 1)
    return key.replace("model.multi_modal_projector", "multi_modal_projector", 1)


@pytest.mark.parametrize("encoder", [True, False])
def test_adapter(variant, encoder, tmp_path):
    llava, adapter, _ = write_adapter(tmp_path, variant, encoder)
    model = SoundClipModel.from_pretrained(adapter)
    assert_same_parts(model, llava)
    assert model.config.vision_config.hidden_size == 32
    trainable = {name.partition(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert trainable == {"audio_projection"}


@pytest.mark.parametrize("layout", ["official", "v5"])
@pytest.mark.parametrize("kind", ["adapter", "full"])
def test_only_the_needed_shards_are_read(kind, layout, tmp_path):
    if kind == "adapter":
        llava, repo, source = write_adapter(tmp_path)
        stored, parts = tiny_llava("llava"), ["vision_tower"]
    else:
        stored = llava = tiny_sound_llava("llava")
        source = repo = tmp_path / "full"
        llava.config.save_pretrained(source)
        parts = ["vision_tower", "audio_tower", "audio_projection"]
    (source / "model.safetensors").unlink(missing_ok=True)
    state = {renamed(key, layout): value for key, value in stored.state_dict().items()}
    save_torch_state_dict(state, source, max_shard_size="60KB")
    needed = set().union(*(files_with(source, part)[0] for part in parts))
    others = files_with(source, "vision_tower")[1] - needed
    assert needed
    assert others
    for file in others:
        (source / file).unlink()
    assert_same_parts(SoundClipModel.from_pretrained(repo), llava)
    (source / sorted(needed)[0]).unlink()
    with pytest.raises(OSError, match=sorted(needed)[0]):
        SoundClipModel.from_pretrained(repo)


def test_full_sound_llava(variant, tmp_path):
    llava = tiny_sound_llava(variant)
    llava.save_pretrained(tmp_path)
    model, info = SoundClipModel.from_pretrained(tmp_path, output_loading_info=True)
    assert_same_parts(model, llava)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]


def test_own_round_trip(tmp_path):
    torch.manual_seed(4)
    model = SoundClipModel(tiny_sound_config(vision_config=tiny_vision_config(), learnable_temperature=True))
    with torch.no_grad():
        model.logit_scale.fill_(3.25)
    model.save_pretrained(tmp_path, max_shard_size="60KB")
    for again in (SoundClipModel.from_pretrained(tmp_path), SoundClipModel.from_pretrained(tmp_path, device_map="cpu")):
        assert again.state_dict().keys() == model.state_dict().keys()
        assert all(torch.equal(value, model.state_dict()[key]) for key, value in again.state_dict().items())
        trainable = {name.partition(".")[0] for name, p in again.named_parameters() if p.requires_grad}
        assert trainable == {"audio_projection", "logit_scale"}
    raw = SoundClipModel.from_pretrained(tmp_path, alignment="raw")
    assert raw.config.alignment == "raw"
    assert raw.audio_projection.alignment == "raw"


@pytest.mark.parametrize(
    ("dtype", "device_map"), [(torch.bfloat16, None), (torch.bfloat16, "auto"), (torch.float16, "cpu")]
)
def test_dtype_and_device_map(dtype, device_map, tmp_path):
    llava, adapter, _ = write_adapter(tmp_path)
    llava.save_pretrained(tmp_path / "full")
    for source in (adapter, tmp_path / "full"):
        model = SoundClipModel.from_pretrained(source, dtype=dtype, device_map=device_map)
        assert model.dtype == model.audio_tower.dtype == dtype
        assert {p.dtype for p in model.audio_projection.parameters()} == {torch.float32}
        assert model.logit_scale.dtype == torch.float32
        assert model.logit_scale.item() == pytest.approx(2.6592600, abs=1e-6)
        features = torch.randn(2, 1, 80, 30)
        with torch.no_grad():
            output = model(features, torch.randn(2, 3, 28, 28))
            exact = SoundClipModel.from_pretrained(source, dtype=torch.float32).get_audio_features(features)
        assert output.logits_per_audio.dtype == torch.float32
        cosines = torch.nn.functional.cosine_similarity(output.audio_embeds, exact.pooler_output)
        assert (cosines > 0.99).all()


def test_wrong_tower(tmp_path):
    _, adapter, base = write_adapter(tmp_path)
    other = tiny_llava("llava")
    torch.nn.init.normal_(other.model.vision_tower.encoder.layers[0].mlp.fc1.weight)
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match=r"another vision tower .*other.*sampled weights"):
        SoundClipModel.from_pretrained(adapter, base_model_name_or_path=str(tmp_path / "other"))
    base.rename(tmp_path / "moved")
    assert SoundClipModel.from_pretrained(adapter, base_model_name_or_path=str(tmp_path / "moved"))


def edit(file, change):
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def drop(part):
    return lambda tensors: tensors.pop(next(key for key in tensors if part in key))


def reshape(part):
    return lambda tensors: tensors.update({next(key for key in tensors if part in key): torch.zeros(3)})


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("base/model.safetensors", drop("layers.1.mlp.fc1.bias"), r"Missing in the checkpoint: vision_tower\..*fc1"),
        ("base/model.safetensors", reshape("layers.1.mlp.fc1.bias"), r"fc1\.bias \(3,\) against \(64,\)"),
        (
            "base/model.safetensors",
            lambda tensors: tensors.update({"vision_tower.vision_model.extra": torch.zeros(1)}),
            r"Unknown to the model: vision_tower\..*extra",
        ),
        (f"adapter/{ADAPTER_NAME}", drop("fc1.weight"), r"Missing in soundclip_adapter\.safetensors: .*fc1\.weight"),
        (f"adapter/{ADAPTER_NAME}", reshape("fc1.bias"), r"fc1\.bias \(3,\) against \(16,\)"),
    ],
    ids=["missing", "misshapen", "unknown", "adapter missing", "adapter misshapen"],
)
def test_an_adapter_is_loaded_strictly(file, change, message, tmp_path):
    _, adapter, _ = write_adapter(tmp_path)
    edit(tmp_path / file, change)
    with pytest.raises(ValueError, match=message):
        SoundClipModel.from_pretrained(adapter)


@pytest.mark.parametrize("part", ["audio_projection.fc2.weight", "audio_tower.encoder.conv1.bias", "pre_layrnorm.bias"])
@pytest.mark.parametrize("kind", ["sound_llava", "own"])
def test_a_full_checkpoint_is_loaded_strictly(kind, part, tmp_path):
    if kind == "own":
        SoundClipModel(tiny_sound_config(vision_config=tiny_vision_config())).save_pretrained(tmp_path)
    else:
        tiny_sound_llava("llava").save_pretrained(tmp_path)
    edit(tmp_path / "model.safetensors", drop(part))
    with pytest.raises(ValueError, match=f"Missing in the checkpoint: .*{part}"):
        SoundClipModel.from_pretrained(tmp_path)


def test_unreadable_files(tmp_path):
    _, adapter, base = write_adapter(tmp_path)
    (base / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        SoundClipModel.from_pretrained(adapter)
    (base / "model.safetensors").unlink()
    with pytest.raises(OSError, match=r"neither model\.safetensors nor"):
        SoundClipModel.from_pretrained(adapter)
    (base / INDEX).write_text("{}")
    with pytest.raises(ValueError, match="not a readable checkpoint index"):
        SoundClipModel.from_pretrained(adapter)


def test_an_adapter_that_names_no_base(tmp_path):
    _, adapter, base = write_adapter(tmp_path)
    config = json.loads((adapter / "config.json").read_text())
    config["base_model_name_or_path"] = None
    (adapter / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="does not say which LLaVA it belongs to"):
        SoundClipModel.from_pretrained(adapter)
    assert SoundClipModel.from_pretrained(adapter, base_model_name_or_path=str(base))


def test_repositories_of_other_models(tmp_path):
    tiny_llava("llava").save_pretrained(tmp_path / "llava")
    with pytest.raises(ValueError, match="is a LLaVA without an audio encoder"):
        SoundClipModel.from_pretrained(tmp_path / "llava")
    tiny_vision_config().save_pretrained(tmp_path / "clip")
    with pytest.raises(ValueError, match="has model_type 'clip_vision_model'"):
        SoundClipModel.from_pretrained(tmp_path / "clip")
    with pytest.raises(OSError, match="nowhere"):
        SoundClipModel.from_pretrained(str(tmp_path / "nowhere"))


def test_from_two_towers(tmp_path):
    encoder = WhisperClipModel(tiny_sound_config().audio_config)
    encoder.save_pretrained(tmp_path / "audio")
    text = CLIPTextConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    clip = CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=tiny_vision_config().to_dict()))
    clip.save_pretrained(tmp_path / "clip")
    for dtype in (torch.float32, torch.bfloat16):
        model = SoundClipModel.from_audio_vision_pretrained(
            tmp_path / "audio", tmp_path / "clip", alignment="raw", dtype=dtype
        )
        assert model.config.vision_hidden_size == 32
        assert model.dtype == model.audio_tower.dtype == dtype
        assert model.audio_projection.fc1.weight.dtype == torch.float32
        expected = clip.vision_model.state_dict()
        assert all(torch.equal(v, expected[k].to(dtype)) for k, v in model.vision_tower.state_dict().items())
        expected = encoder.state_dict()
        assert all(torch.equal(v, expected[k].to(dtype)) for k, v in model.audio_tower.state_dict().items())
        model.save_pretrained(tmp_path / "dual")
        again = SoundClipModel.from_pretrained(tmp_path / "dual")
        assert all(torch.equal(v, again.state_dict()[k]) for k, v in model.state_dict().items())


def test_the_bundled_model():
    from soundclip_hf.bundled import TINY

    model = SoundClipModel.from_pretrained(TINY, dtype=torch.float32)
    assert_same_parts(model, SoundLlava.from_pretrained(TINY, dtype=torch.float32))
