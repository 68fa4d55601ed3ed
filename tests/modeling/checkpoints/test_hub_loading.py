"""Adapters by id: configuration, adapter, base and encoder each at their own revision, from a Hub on 127.0.0.1."""

import os
import subprocess
import sys

import pytest
import torch
from hub_server import serve
from safetensors.torch import load_file
from tiny_models import tiny_llava, tiny_sound_llava
from tiny_processors import tiny_sound_processor

LOAD = """
import sys, torch
import soundclip_hf
from safetensors.torch import save_file
from transformers import AutoModelForMultimodalLM, AutoProcessor
revision, target = sys.argv[1:]
options = {} if revision == "none" else {"revision": revision}
model = AutoModelForMultimodalLM.from_pretrained("org/ears", **options)
processor = AutoProcessor.from_pretrained("org/ears", **options)
assert type(processor).__name__ == "SoundLlavaProcessor"
state = {key: value.clone() for key, value in model.state_dict().items()}
save_file(state, target)
"""


@pytest.fixture
def hub(tmp_path):
    base, other_base, encoder = (tmp_path / name for name in ("base", "other", "encoder"))
    tiny_llava("llava").save_pretrained(base, max_shard_size="60KB")
    changed = tiny_llava("llava")
    with torch.no_grad():
        changed.lm_head.weight.add_(1.0)
    changed.save_pretrained(other_base)
    model = tiny_sound_llava("llava")
    model.model.audio_tower.save_pretrained(encoder)
    with serve() as hub:
        pinned = hub.commit("org/base", base)
        hub.commit("org/base", other_base)  # main moves on; the adapter must not follow
        ears = hub.commit("org/encoder", encoder)
        model.config.base_model_name_or_path, model.config.base_model_revision = "org/base", pinned
        model.config.audio_encoder_name_or_path, model.config.audio_encoder_revision = "org/encoder", ears
        for name in ("v1", "v2"):
            with torch.no_grad():
                model.model.audio_projection.fc3.bias.fill_({"v1": 1.0, "v2": 2.0}[name])
            model.save_pretrained(tmp_path / name, adapter_only=True)
            tiny_sound_processor("llava").save_pretrained(tmp_path / name)
            hub.commit("org/ears", tmp_path / name, name)
        yield hub


def load(hub, tmp_path, revision="none"):
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    environment.pop("HF_HUB_OFFLINE", None)
    target = tmp_path / f"{revision}.safetensors"
    done = subprocess.run(
        [sys.executable, "-c", LOAD, revision, str(target)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done, load_file(target) if done.returncode == 0 else None


def test_every_part_comes_from_its_own_revision(hub, tmp_path):
    expected = tiny_sound_llava("llava").state_dict()
    for revision, bias in (("none", 2.0), ("v1", 1.0)):
        done, state = load(hub, tmp_path, revision)
        assert done.returncode == 0, done.stderr + chr(10).join(map(str, hub.requests))
        assert (state["model.audio_projection.fc3.bias"] == bias).all()
        for key, value in expected.items():
            if not key.endswith("audio_projection.fc3.bias"):
                assert torch.equal(state[key], value), key


def test_missing_repositories_are_named(hub, tmp_path):
    del hub.revisions["org/base"]
    done, _ = load(hub, tmp_path)
    assert done.returncode != 0
    assert "org/base" in done.stderr.strip().splitlines()[-1] or "org/base" in done.stderr
    done, _ = load(hub, tmp_path, "v9")
    assert done.returncode != 0
    assert "v9" in done.stderr


NAMED = """
from soundclip_hf import SoundClipModel, SoundClipProcessor, SoundLlava, SoundLlavaConfig, SoundLlavaProcessor
name = "org/ears@v1"
for model in (SoundLlava.from_pretrained(name).model, SoundClipModel.from_pretrained(name)):
    assert (model.audio_projection.fc3.bias == 1).all()
assert SoundLlavaConfig.from_pretrained(name).base_model_name_or_path == "org/base"
assert SoundLlavaProcessor.from_pretrained(name).feature_extractor is not None
assert SoundClipProcessor.from_pretrained(name).feature_extractor is not None
try:
    SoundLlava.from_pretrained(name, revision="v2")
except ValueError as error:
    assert "'v1'" in str(error) and "'v2'" in str(error), error
else:
    raise AssertionError("two revisions")
"""


def test_a_name_may_hold_the_revision(hub, tmp_path):
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    environment.pop("HF_HUB_OFFLINE", None)
    done = subprocess.run([sys.executable, "-c", NAMED], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
