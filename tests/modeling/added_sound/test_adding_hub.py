"""Model, adapter and encoder from a Hub, each at its own revision; what is pushed back is a stock checkpoint."""

import json

import pytest
from hub_models import BASE, adapter_model, logits, write_adapter, write_parts

ADD = """
import torch
from hub_models import SAMPLES, build_inputs
from soundclip_hf import add_sound
from tiny_models import tiny_sound_llava
model, processor = add_sound(*sys.argv[1:4])
inputs = build_inputs(tiny_sound_llava("llava"), SAMPLES)
with torch.no_grad():
    found = model(**inputs).logits[:, -1].tolist()
if len(sys.argv) > 4:
    model.push_to_hub(sys.argv[4])
    processor.push_to_hub(sys.argv[4])
print(json.dumps([found, type(processor.feature_extractor).__name__]))
"""


@pytest.fixture
def parts(hub, tmp_path):
    write_adapter(tmp_path / "ears")
    write_adapter(tmp_path / "later", bias=2.0)
    return {
        **write_parts(hub, tmp_path),
        "first": hub.commit("org/ears", tmp_path / "ears", "v1"),
        "second": hub.commit("org/ears", tmp_path / "later"),
    }


def test_everything_comes_from_its_own_revision(hub, ask, parts):
    for name, bias in (("org/ears@v1", 1.0), ("org/ears", 2.0)):
        found, extractor = ask(ADD, f"{BASE}@{parts[BASE]}", name, "projected")
        for ours, theirs in zip(found, logits(adapter_model(bias)), strict=True):
            assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-5)
        assert extractor == "WhisperClipFeatureExtractor"


def test_what_is_pushed_is_a_stock_checkpoint(hub, ask, parts):
    ask(ADD, BASE, "org/ears", "projected", "org/stock")
    files = hub.files("org/stock")
    assert not [name for name in files if "sound" in name]
    assert json.loads(files["config.json"].read())["architectures"] == ["LlavaForConditionalGeneration"]
    processor = json.loads(files["processor_config.json"].read())
    assert processor["processor_class"] == "LlavaProcessor"
    assert "feature_extractor" not in processor


def test_a_repository_that_is_not_there(ask, parts):
    said = ask(
        """
from soundclip_hf import add_sound
print(json.dumps([attempt(add_sound, "org/base", "org/nothing"), attempt(add_sound, "org/nothing", "org/ears")]))
"""
    )
    assert all("org/nothing" in error for error in said)
