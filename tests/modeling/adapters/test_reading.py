"""Reading an adapter onto a loaded model: what does not fit is refused before anything changes; encoders are shared."""

import json

import pytest
import torch
from adapter_folders import HEARD, write_adapters
from safetensors.torch import load_file, save_file
from tiny_inputs import build_inputs
from tiny_models import tiny_audio_config, tiny_llava, tiny_vision_config
from transformers import AutoModel

from soundclip_hf import SoundLlava
from soundclip_hf.modeling.checkpoints.adapter import ADAPTER_NAME


@pytest.fixture
def folders(tmp_path):
    return write_adapters(tmp_path, "llava", ("first", "second", "own"))


def towers(model):
    return {info.name: model.model.sound_parts([info.name])[0].audio_tower for info in model.list_sound_adapters()}


def edit_config(path, **changes):
    config = json.loads((path / "config.json").read_text())
    for name, value in changes.items():
        *outer, last = name.split("__")
        place = config
        for key in outer:
            place = place[key]
        place[last] = value
    (path / "config.json").write_text(json.dumps(config))


def edit_tensors(path, change):
    tensors = load_file(path / ADAPTER_NAME)
    change(tensors)
    save_file(tensors, path / ADAPTER_NAME, metadata={"format": "pt"})


def fc1(tensors, value):
    tensors["audio_projection.fc1.weight"] = value


REFUSED = {
    "missing key": (
        lambda p: edit_tensors(p, lambda t: t.pop("audio_projection.fc1.weight")),
        r"Missing in .*fc1\.weight",
    ),
    "unknown key": (
        lambda p: edit_tensors(p, lambda t: t.update({"audio_projection.fc9.weight": torch.zeros(1)})),
        r"Unknown to the model: audio_projection\.fc9\.weight",
    ),
    "weights of an encoder that has a repository": (
        lambda p: edit_tensors(p, lambda t: t.update({"audio_tower.encoder.conv1.bias": torch.zeros(24)})),
        r"Unknown to the model: audio_tower\.encoder\.conv1\.bias",
    ),
    "shape": (
        lambda p: edit_tensors(p, lambda t: fc1(t, torch.zeros(3, 24))),
        r"fc1\.weight \(3, 24\) against \(16, 24\)",
    ),
    "cut file": (
        lambda p: (p / ADAPTER_NAME).write_bytes((p / ADAPTER_NAME).read_bytes()[:700]),
        "not a readable safetensors file",
    ),
    "no file": (lambda p: (p / ADAPTER_NAME).unlink(), f"has no {ADAPTER_NAME}, so it is no sound adapter"),
    "absurd width": (lambda p: edit_config(p, sound_config__projector_hidden_size=10**6), "describes .* parameters"),
    "absurd depth": (
        lambda p: edit_config(p, sound_config__audio_config__encoder_layers=10**6),
        r"audio_config\.encoder_layers=1000000",
    ),
    "feature layer": (lambda p: edit_config(p, vision_feature_layer=-1), r"vision_feature_layer=-1, this model .* -2"),
    "select strategy": (
        lambda p: edit_config(p, vision_feature_select_strategy="full"),
        "vision_feature_select_strategy='full', this model was loaded with 'default'",
    ),
    "geometry of the tower": (
        lambda p: edit_config(p, vision_fingerprint__num_hidden_layers=24),
        "another vision tower .* num_hidden_layers 24 against 3",
    ),
    "values of the tower": (
        lambda p: edit_config(p, vision_fingerprint__values=[0.5] * 256),
        "another vision tower .* 256 of 256 sampled weights",
    ),
    "width of the tower": (
        lambda p: edit_config(p, vision_config__hidden_size=64, sound_config__vision_hidden_size=64),
        "another vision tower .* tokens of width 64 against 32",
    ),
    "with LoRA": (lambda p: edit_config(p, has_peft_adapter=True), r"comes with a PEFT adapter \(LoRA\)"),
    "model type": (lambda p: tiny_vision_config().save_pretrained(p), "clip_vision_model"),
    "stock LLaVA": (lambda p: tiny_llava("llava").config.save_pretrained(p), "does not fit its config.json"),
    "encoder of another shape": (
        lambda p: edit_config(p, sound_config__audio_config__encoder_layers=5),
        "lacks .* weights of WhisperClipModel",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_before_anything_changes(folders, case):
    break_it, message = REFUSED[case]
    model = folders.load("first")
    modules, config = (model.model.audio_tower, model.model.audio_projection), model.config.to_dict()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    path = folders.path("second")
    break_it(path)
    with pytest.raises(ValueError, match=message):
        model.load_sound_adapter(path, "second")
    assert [info.name for info in model.list_sound_adapters()] == ["default"]
    assert (model.model.audio_tower, model.model.audio_projection) == modules
    assert model.config.to_dict() == config
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    model.load_sound_adapter(folders.path("own"), "second")  # the name is free


def test_missing_repositories(folders, tmp_path):
    model = folders.load("first")
    with pytest.raises(OSError, match="nowhere"):
        model.load_sound_adapter(tmp_path / "nowhere", "second")
    edit_config(folders.path("second"), audio_encoder_name_or_path=str(tmp_path / "gone"))
    with pytest.raises(OSError, match="gone"):
        model.load_sound_adapter(folders.path("second"), "second")
    with pytest.raises(ValueError, match=r"names the revision 'v1', but revision is 'v2'"):
        model.load_sound_adapter("org/ears@v1", "second", revision="v2")
    with pytest.raises(ValueError, match="no sound adapter"):
        model.load_sound_adapter("tiny", "second")  # the bundled model is a whole one


def test_the_base_is_never_read(folders):
    model = folders.load("first")
    for path in folders.path("base").iterdir():
        path.unlink()
    model.load_sound_adapter(folders.path("second"), "second")


def test_equal_encoders_are_one_module(folders):
    folders.write_encoder("copy", tiny_audio_config())  # the same weights in another folder
    folders.write_encoder("other", tiny_audio_config(), seed=10)
    for name, encoder in (("of_copy", "copy"), ("of_other", "other")):
        folders.write(name, encoder, 7, audio_config=tiny_audio_config())
    folders.write("fused", "whisper", 8, audio_config=tiny_audio_config(layer_fusion="final"))
    model = folders.load("first")
    for name in ("second", "own", "of_copy", "of_other", "fused"):
        model.load_sound_adapter(folders.path(name), name)
    found = towers(model)
    assert {name for name, tower in found.items() if tower is found["default"]} == {
        *("default", "second", "own", "of_copy"),
    }
    assert found["of_other"] is not found["fused"]
    assert len(set(found.values())) == 3


def test_a_shared_encoder_is_not_read_again(folders):
    model = folders.load("first")
    (folders.path("whisper") / "model.safetensors").touch()
    reads = []
    stock = AutoModel.from_pretrained
    model.load_sound_adapter(folders.path("second"), "touched")  # its files changed: read, and found to be equal
    assert towers(model)["touched"] is model.model.audio_tower
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            AutoModel, "from_pretrained", lambda *args, **kwargs: reads.append(args) or stock(*args, **kwargs)
        )
        model.load_sound_adapter(folders.path("second"), "second")
        assert not reads
        folders.write_encoder("whisper", tiny_audio_config(), seed=11)
        model.load_sound_adapter(folders.path("second"), "changed")
        assert len(reads) == 1
    assert towers(model)["changed"] is not model.model.audio_tower


def test_a_trained_encoder_is_not_shared(folders, caplog):
    model = folders.load("first")
    model.model.audio_tower.requires_grad_(True)
    model.load_sound_adapter(folders.path("second"), "while_training")
    with torch.no_grad():
        model.model.audio_tower.encoder.conv1.weight.add_(0.5)
    model.model.audio_tower.requires_grad_(False)
    model.load_sound_adapter(folders.path("second"), "after_training")
    found = towers(model)
    assert found["while_training"] is found["after_training"] is not found["default"]
    alone = folders.load("second")
    for key, value in alone.model.audio_tower.state_dict().items():
        assert torch.equal(found["after_training"].state_dict()[key], value), key
    model.set_sound_adapter("while_training")
    model.model.audio_tower.requires_grad_(True)
    model.set_sound_adapter("default")
    assert "'while_training', 'after_training' share one audio encoder, which is being trained" in caplog.text


def test_learned_fusion_weights_make_an_encoder_of_its_own(folders):
    config = tiny_audio_config(layer_fusion="weighted_sum")
    model = folders.load("first")
    for name, logits in (("one", [0.3, -0.7]), ("other", [0.3, 0.9]), ("same", [0.3, -0.7])):
        folders.write(name, "whisper", 5, audio_config=config)
        edit_tensors(
            folders.path(name), lambda t, v=logits: t.update({"audio_tower.layer_weight_logits": torch.tensor(v)})
        )
        model.load_sound_adapter(folders.path(name), name)
    found = towers(model)
    assert found["one"] is found["same"] is not found["other"]
    assert found["other"].layer_weight_logits.tolist() == pytest.approx([0.3, 0.9])


def test_onto_a_whole_checkpoint(folders, tmp_path):
    folders.load("first").save_pretrained(tmp_path / "whole", adapter_only=False)
    model = SoundLlava.from_pretrained(tmp_path / "whole")
    model.load_sound_adapter(folders.path("second"), "second")
    inputs = build_inputs(model, HEARD)
    with torch.no_grad():
        by_call = model(**inputs, sound_adapter="second").logits
        torch.testing.assert_close(by_call, folders.load("second")(**inputs).logits)


def test_a_wrapped_projector_is_refused(folders):
    model = folders.load("first")
    model.load_sound_adapter(folders.path("own"), "own")
    projection = model.model.audio_projection
    model.model.audio_projection = torch.nn.Sequential(projection)
    for call in (
        lambda: model.load_sound_adapter(folders.path("second"), "second"),
        lambda: model.set_sound_adapter("own"),
    ):
        with pytest.raises(ValueError, match=r"audio_projection is wrapped \(Sequential"):
            call()
    model.model.audio_projection = projection
    model.set_sound_adapter("own")


def test_lora(folders, caplog):
    peft = pytest.importorskip("peft")
    model = folders.load("first")
    in_text = peft.LoraConfig(target_modules=r".*language_model.*q_proj")
    peft.get_peft_model(model, in_text)
    model.load_sound_adapter(folders.path("second"), "second")
    assert "PEFT layers (LoRA), which stay as they are with the sound adapter 'second'" in caplog.text
    model.set_sound_adapter("second")
    inputs = build_inputs(model, HEARD)
    with torch.no_grad():  # a fresh LoRA changes nothing
        torch.testing.assert_close(model(**inputs).logits, folders.load("second")(**inputs).logits)
    for pattern in (r".*audio_projection\.fc1", r".*audio_tower.*q_proj"):
        model = folders.load("first")
        peft.get_peft_model(model, peft.LoraConfig(target_modules=pattern))
        with pytest.raises(ValueError, match=r"audio_\w+ is wrapped"):
            model.load_sound_adapter(folders.path("second"), "second")


def test_eager_attention_is_that_of_later_encoders(folders):
    model = folders.load("first", attn_implementation="eager")
    folders.write_encoder("other", tiny_audio_config(), seed=10)
    folders.write("of_other", "other", 7, audio_config=tiny_audio_config())
    model.load_sound_adapter(folders.path("of_other"), "of_other")
    assert towers(model)["of_other"].config._attn_implementation == "eager"
