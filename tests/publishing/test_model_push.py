"""A model is pushed to a Hub on 127.0.0.1, and loaded from there in another process with an empty cache."""

import json

import pytest
from hub_models import BASE, ENCODER, adapter_model, logits, write_adapter, write_parts

ADAPTER = "soundclip_adapter.safetensors"
PUSHED = {
    *(ADAPTER, "config.json", "processor_config.json", "tokenizer.json", "tokenizer_config.json"),
    *(
        "chat_template.jinja",
        "modules.json",
        "README.md",
        "retrieval.json",
        "modeling_soundclip_hf.py",
        "processing_soundclip_hf.py",
    ),
}


@pytest.fixture
def parts(hub, tmp_path):
    return write_parts(hub, tmp_path)


@pytest.fixture
def out(tmp_path):
    return write_adapter(tmp_path / "out")


def assert_close(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-5, abs=1e-6)


COMMAND = """
from typer.testing import CliRunner
from soundclip_hf.cli import app
def push(*words):
    done = CliRunner().invoke(app, ["push", *map(str, words)])
    return [done.exit_code, done.stdout, done.stderr]
"""
ONE_COMMAND = """
folder = sys.argv[1]
print(json.dumps([
    push(folder, "org/ears", "--dry-run", "--json"),
    push(folder, "org/ears", "--tag", "v1", "--json", "--license", "apache-2.0"),
    push(folder, "org/ears", "--tag", "v1"),
]))
"""
LOAD = """
import soundclip_hf
from hub_models import logits
from transformers import AutoModelForMultimodalLM, AutoProcessor
repo, *revision = sys.argv[1:]
where = {"revision": revision[0]} if revision else {}
processor = AutoProcessor.from_pretrained(repo, **where)
assert type(processor).__name__ == "SoundLlavaProcessor"
print(json.dumps(logits(AutoModelForMultimodalLM.from_pretrained(repo, **where))))
"""


@pytest.mark.parametrize("xet", [False, True], ids=["lfs", "xet"])
def test_one_command_publishes_what_loads_elsewhere(hub, ask, parts, out, xet, tmp_path):
    if xet:
        pytest.importorskip("hf_xet")
        hub.xet = tmp_path / "chunks"
        hub.xet.mkdir()
    planned, made, again = ask(COMMAND + ONE_COMMAND, out, xet=xet)
    assert planned[0] == made[0] == again[0] == 0, (planned, made, again)
    planned, done = json.loads(planned[1]), json.loads(made[1])
    assert planned["commit"] is None
    assert set(planned["sent"]) == set(done["sent"]) == PUSHED
    assert planned["readme"].startswith("---\n")
    head = hub.revisions["org/ears"]["main"]
    assert hub.revisions["org/ears"]["v1"] == head == done["commit"]
    assert hub.commits[hub.commits[head].parent].parent is None  # one commit on the one that made the repository
    assert set(hub.files("org/ears")) == PUSHED | {".gitattributes"}
    assert again[1].startswith(f"{hub.url}/org/ears: 0 files sent (0.0 MB), {len(PUSHED)} were there, 0 removed")
    config = json.loads(hub.files("org/ears")["config.json"].read())
    assert config["base_model_revision"] == parts[BASE]
    assert config["audio_encoder_revision"] == parts[ENCODER]
    assert hub.uploads
    assert (hub.xet is None) == any(path.endswith("objects/batch") for _, path in hub.requests)
    if xet:
        return
    loaded = ask(LOAD, "org/ears", token=None)
    assert_close(loaded, logits(adapter_model()))


FORMS = """
import soundclip_hf
from hub_models import adapter_model
from soundclip_hf import SoundLlava
from tiny_processors import tiny_sound_processor
from transformers import LlavaForConditionalGeneration

out = {}
model = adapter_model()
out["processor"] = tiny_sound_processor("llava").push_to_hub("org/ears").oid
out["full"] = model.push_to_hub("org/ears", adapter_only=False, max_shard_size="60KB").oid
out["adapter"] = model.push_to_hub("org/ears", adapter_only=True, commit_message="Ears", tags="mine").oid
out["again"] = model.push_to_hub("org/ears", adapter_only=True, tags="mine").oid
options = {"push_to_hub": True, "adapter_only": True}
out["saved"] = model.save_pretrained(sys.argv[1] + "/saved", repo_id="org/saved", **options)
out["stock saving"] = model.save_pretrained(sys.argv[1] + "/whole", push_to_hub=True, repo_id="org/whole")
loaded = SoundLlava.from_pretrained("org/ears")
out["plain"] = loaded.push_to_hub("org/plain").oid
loaded.lm_head.weight.data.add_(1)
out["tuned"] = loaded.push_to_hub("org/plain", revision="tuned").oid
out["request"] = model.push_to_hub("org/plain", adapter_only=True, create_pr=True).pr_url
print(json.dumps(out))
"""


def weights(hub, commit):
    return {path for path in hub.commits[commit].files if "safetensors" in path}


def test_the_form_that_is_pushed_replaces_the_other(hub, ask, parts, tmp_path):
    out = ask(FORMS, tmp_path)
    full = weights(hub, out["full"])
    assert "model.safetensors.index.json" in full
    assert len(full) > 2
    assert weights(hub, out["adapter"]) == {ADAPTER}
    assert hub.commits[out["adapter"]].parent == out["full"]
    assert hub.commits[out["full"]].parent == out["processor"]
    assert hub.commits[out["adapter"]].title == "Ears"
    assert out["again"] == out["adapter"]  # nothing to change, no commit
    files = hub.commits[out["adapter"]].files
    assert {"processor_config.json", "tokenizer.json", "processing_soundclip_hf.py"} <= set(files)
    assert "README.md" not in hub.commits[out["processor"]].files  # no card that says nothing
    card = files["README.md"].read().decode()
    assert "automatically generated" not in card
    assert "- mine" in card
    assert out["saved"] is None
    assert weights(hub, hub.revisions["org/saved"]["main"]) == {ADAPTER}
    assert out["stock saving"] is None
    assert weights(hub, hub.revisions["org/whole"]["main"]) == {"model.safetensors"}
    # The base is the one that was loaded, and needs no second copy; after it was trained, it does.
    assert weights(hub, out["plain"]) == {ADAPTER}
    assert weights(hub, out["tuned"]) == {"model.safetensors"}
    assert hub.revisions["org/plain"]["main"] == out["plain"]
    assert out["request"].startswith(f"{hub.url}/org/plain/discussions/1")


CARDS = """
from huggingface_hub import HfApi, ModelCard
from soundclip_hf.publishing.model_push import push_model
folder, api = sys.argv[1], HfApi()
def text(path=None):
    return open(api.hf_hub_download("org/ears", "README.md", revision=path)).read()
def write(words):
    api.upload_file(path_or_fileobj=words.encode(), path_in_repo="README.md", repo_id="org/ears")
out = []
api.create_repo("org/ears")
write("This is the model card of a 🤗 transformers model that has been pushed on the Hub.")
out.append([push_model(folder, "org/ears", license="mit").card, text()])
out.append([push_model(folder, "org/ears", tags=["x"]).card, text()])
write(text() + "By hand.\\n")
out.append([push_model(folder, "org/ears", license="apache-2.0").card, text()])
open(folder + "/README.md", "w").write("---\\nlicense: other\\n---\\nOf the folder.\\n")
out.append([push_model(folder, "org/ears").card, text()])
print(json.dumps(out))
"""


def test_a_card_that_was_written_by_hand_stays(hub, ask, parts, out):
    first, second, by_hand, folder = ask(CARDS, out)
    assert first[0] == second[0] == "written"
    assert "license: mit" in first[1]
    assert "license: mit" in second[1]  # as stated before
    assert "- x\n" in second[1]
    assert by_hand[0] == folder[0] == "kept"
    assert by_hand[1].endswith("By hand.\n")
    assert "license: apache-2.0" in by_hand[1]
    assert folder[1] == "---\nlicense: other\n---\nOf the folder.\n"


DUAL = """
import torch
from tiny_dual import pictures, sounds, tiny_dual
from tiny_processors import tiny_feature_extractor, tiny_image_processor
from soundclip_hf import SoundClipModel, SoundClipProcessor
processor = SoundClipProcessor(tiny_image_processor("llava"), tiny_feature_extractor())
if sys.argv[1] == "push":
    model = tiny_dual()
    model.push_to_hub("org/dual", private=True, license="mit")
    processor.push_to_hub("org/dual")
else:
    model = SoundClipModel.from_pretrained("org/dual")
    assert type(SoundClipProcessor.from_pretrained("org/dual")) is SoundClipProcessor
with torch.no_grad():
    print(json.dumps(model(**sounds(), pixel_values=pictures()).logits_per_audio.tolist()))
"""


def test_a_dual_encoder(hub, ask):
    expected = ask(DUAL, "push")
    assert hub.settings["org/dual"].private
    assert "pipeline_tag: feature-extraction" in hub.files("org/dual")["README.md"].read().decode()
    assert_close(ask(DUAL, "load"), expected)
