"""Loading an adapter builds and reads every part once, and draws no value that a file then replaces."""

import pytest
import torch
from rounding import assert_same_weights
from safetensors.torch import load_file, save_file
from tiny_encoders import ENCODERS
from tiny_models import tiny_llava, tiny_sound_llava
from torch import nn
from transformers import AutoModel

from soundclip_hf import SoundClipModel, SoundLlava, WhisperClipModel
from soundclip_hf.modeling.checkpoints.adapter import ADAPTER_NAME

CLASSES = (SoundLlava, SoundClipModel)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    tiny_llava("llava").save_pretrained(folder)
    return folder


def written(base, folder, audio_config, with_encoder=True):
    """The folder of an adapter, and the model that it stands for; its values are none that a fresh model has."""
    model = tiny_sound_llava("llava", sound={"audio_config": audio_config})
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for part in (model.model.audio_tower, model.model.audio_projection):
            for value in part.state_dict().values():
                if value.is_floating_point():
                    value.copy_(torch.rand(value.shape, generator=generator))
    model.config.base_model_name_or_path = str(base)
    if with_encoder:
        model.model.audio_tower.save_pretrained(folder / "encoder")
        model.config.audio_encoder_name_or_path = str(folder / "encoder")
    model.save_pretrained(folder / "adapter", adapter_only=True)
    return model, folder / "adapter"


def same_ears(found, expected):
    found = getattr(found, "model", found)
    for part in ("audio_tower", "audio_projection"):
        assert_same_weights(getattr(found, part), getattr(expected.model, part))


@pytest.fixture
def built(monkeypatch):
    """Counts the Whisper encoders that are built."""
    count = []
    original = WhisperClipModel.__init__

    def counting(self, *args, **kwargs):
        count.append(self)
        original(self, *args, **kwargs)

    monkeypatch.setattr(WhisperClipModel, "__init__", counting)
    return count


@pytest.mark.parametrize("model_class", CLASSES)
@pytest.mark.parametrize("with_encoder", [True, False], ids=["encoder", "no encoder"])
@pytest.mark.parametrize("kind", ENCODERS)
def test_every_encoder_is_filled_without_random_numbers(kind, with_encoder, model_class, base, tmp_path):
    expected, repo = written(base, tmp_path, ENCODERS[kind][0], with_encoder)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    loaded = model_class.from_pretrained(repo)
    assert torch.equal(torch.get_rng_state(), before)
    same_ears(loaded, expected)
    tower = getattr(loaded, "model", loaded).audio_tower
    assert not any(tensor.is_meta for tensor in [*tower.parameters(), *tower.buffers()])
    assert not any(parameter.requires_grad for parameter in tower.parameters())
    for name, buffer in expected.model.audio_tower.named_buffers():  # those that no file holds, too
        assert torch.equal(tower.get_buffer(name), buffer), name


@pytest.mark.parametrize("model_class", CLASSES)
def test_the_encoder_is_built_once(model_class, base, tmp_path, built):
    _, repo = written(base, tmp_path, ENCODERS["whisperclip"][0])
    built.clear()
    model_class.from_pretrained(repo)
    assert len(built) == 1
    built.clear()
    WhisperClipModel.from_pretrained(tmp_path / "encoder")
    assert len(built) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ENCODERS)
def test_precision_is_that_of_the_encoder_alone(kind, dtype, base, tmp_path):
    _, repo = written(base, tmp_path, ENCODERS[kind][0])
    alone = AutoModel.from_pretrained(tmp_path / "encoder", dtype=dtype)
    for model_class in CLASSES:
        loaded = model_class.from_pretrained(repo, dtype=dtype)
        ears = getattr(loaded, "model", loaded)
        assert_same_weights(ears.audio_tower, alone)
        found = {name: tensor.dtype for name, tensor in ears.audio_tower.state_dict().items()}
        assert found == {name: tensor.dtype for name, tensor in alone.state_dict().items()}
        assert {parameter.dtype for parameter in ears.audio_projection.parameters()} == {torch.float32}


def rewrite(folder, change):
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


@pytest.mark.parametrize("model_class", CLASSES)
def test_the_encoder_of_a_whole_whisper(model_class, base, tmp_path):
    """Names with a prefix, beside a decoder that is left out; what is unknown goes the long way round."""
    expected, repo = written(base, tmp_path, ENCODERS["whisperclip"][0])
    rewrite(
        tmp_path / "encoder",
        lambda tensors: {
            **{f"model.{key}": value for key, value in tensors.items()},
            "model.decoder.layers.0.fc1.weight": torch.zeros(2, 2),
        },
    )
    same_ears(model_class.from_pretrained(repo), expected)
    rewrite(tmp_path / "encoder", lambda tensors: {**tensors, "model.stranger.weight": torch.zeros(2)})
    same_ears(model_class.from_pretrained(repo), expected)


@pytest.mark.parametrize("model_class", CLASSES)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: dict(list(tensors.items())[1:]), r"lacks 1 weights of WhisperClipModel"),
        (lambda tensors: {**tensors, "encoder.conv1.bias": torch.zeros(3)}, r"encoder\.conv1\.bias|mismatch"),
    ],
    ids=["missing", "another shape"],
)
def test_an_encoder_that_does_not_fit_is_refused(change, message, model_class, base, tmp_path):
    _, repo = written(base, tmp_path, ENCODERS["whisperclip"][0])
    rewrite(tmp_path / "encoder", change)
    with pytest.raises((ValueError, RuntimeError), match=message):
        model_class.from_pretrained(repo)


def test_a_layer_fusion_that_is_learned_comes_from_the_adapter(base, tmp_path):
    config = type(ENCODERS["whisperclip"][0])(
        **{**ENCODERS["whisperclip"][0].to_dict(), "layer_fusion": "weighted_sum"}
    )
    expected, repo = written(base, tmp_path, config)
    rewrite(
        tmp_path / "encoder",
        lambda tensors: {key: value for key, value in tensors.items() if key != "layer_weight_logits"},
    )
    assert "audio_tower.layer_weight_logits" in load_file(repo / ADAPTER_NAME)
    for model_class in CLASSES:
        same_ears(model_class.from_pretrained(repo), expected)


def test_ears_may_lie_on_the_cpu_beside_a_disk(base, tmp_path):
    expected, repo = written(base, tmp_path, ENCODERS["whisperclip"][0])
    device_map = {"model.audio_tower": "cpu", "model.audio_projection": "cpu", "model.vision_tower": "cpu"}
    device_map |= {"model.multi_modal_projector": "cpu", "model.language_model": "disk", "lm_head": "disk"}
    model = SoundLlava.from_pretrained(repo, device_map=device_map, offload_folder=tmp_path / "offload")
    same_ears(model, expected)


def test_a_model_of_fresh_ears_draws_the_projector_alone(base, tmp_path):
    expected, _ = written(base, tmp_path, ENCODERS["whisperclip"][0])
    config = expected.config
    config.vision_fingerprint = None
    torch.manual_seed(0)
    model = SoundLlava.from_pretrained(base, config=config)
    assert_same_weights(model.model.audio_tower, expected.model.audio_tower)
    projection = model.model.audio_projection
    linear = [module for module in projection.modules() if isinstance(module, nn.Linear)]
    assert all(module.weight.std() > 0 for module in linear)
