"""Pushes of models that are stopped, that meet another push, or that must not be made."""

import json
import threading
from pathlib import Path

import pytest
from cut_connections import CUT
from hub_models import BASE, write_adapter, write_parts
from safetensors.torch import load_file, save_file
from tiny_encoders import ENCODERS
from tiny_models import tiny_sound_llava, tiny_sound_llava_config, tiny_vision_config

from soundclip_hf import SoundLlava
from soundclip_hf.publishing.model_push import push_model

ADAPTER = "soundclip_adapter.safetensors"


@pytest.fixture
def parts(hub, tmp_path):
    return write_parts(hub, tmp_path)


def test_a_connection_that_is_cut_at_any_request(hub, ask, parts, tmp_path):
    """The branch has the old content or the new one, never a mixture; the next push completes it."""
    old, new = write_adapter(tmp_path / "old", measured=False), write_adapter(tmp_path / "new", bias=2.0)
    told = ask(CUT, old, new)
    hits = [one for one in told if one["hit"]]
    assert len(hits) >= 2 * 8
    failed = [one for one in hits if ":" in one["said"]]
    assert len(failed) >= 8
    for one in failed:
        assert one["said"].startswith("HubAccessError: org/"), one
    for one in told:
        names = hub.revisions[one["repo"]]
        assert names["main"] == names["v2"] == one["done"]
        new_commit = hub.commits[one["done"]]
        assert new_commit.parent == one["first"]  # nothing between the old and the new
        assert new_commit.files[ADAPTER].read() == (new / ADAPTER).read_bytes()
        assert "retrieval.json" in new_commit.files
    assert len(hub.uploads) == len(set(hub.uploads)) == 2


TOGETHER = """
import threading
from soundclip_hf.publishing.model_push import push_model
said = {}
def push(folder):
    said[folder] = attempt(lambda: push_model(folder, "org/ears").commit)
threads = [threading.Thread(target=push, args=(folder,)) for folder in sys.argv[1:]]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps(said))
"""
PUSH = """
from soundclip_hf.publishing.model_push import push_model
print(json.dumps(push_model(sys.argv[1], "org/ears").commit))
"""


def test_of_two_pushes_at_once_one_wins(hub, ask, parts, tmp_path):
    folders = [write_adapter(tmp_path / name, bias) for name, bias in (("one", 1.0), ("two", 2.0))]
    ask("from huggingface_hub import create_repo; create_repo('org/ears'); print(1)")
    hub.together = threading.Barrier(2)
    said = ask(TOGETHER, *folders)
    hub.together = None
    again = ask(PUSH, folders[0])
    conflicts = [words for words in said.values() if words.startswith("HubConflictError")]
    winners = {folder: words for folder, words in said.items() if ":" not in words}
    assert len(conflicts) == len(winners) == 1
    assert conflicts[0].startswith("HubConflictError: org/ears: another push has changed 'main' since this one began")
    ((folder, commit),) = winners.items()
    assert hub.commits[commit].files[ADAPTER].read() == (Path(folder) / ADAPTER).read_bytes()
    assert hub.commits[again].files[ADAPTER].read() == (folders[0] / ADAPTER).read_bytes()


def change_config(folder, **fields):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


@pytest.fixture
def out(tmp_path):
    return write_adapter(tmp_path / "out")


def test_folders_that_could_not_be_loaded_are_refused_before_anything_is_asked_for(out, tmp_path):
    with pytest.raises(ValueError, match="nothing: no such folder"):
        push_model(tmp_path / "nothing", "org/ears")
    with pytest.raises(ValueError, match=r"has no config\.json: give the folder of a model"):
        push_model(tmp_path, "org/ears")
    tiny_vision_config().save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match="is a 'clip_vision_model' model; a SoundLlava"):
        push_model(tmp_path / "other", "org/ears")
    change_config(out, base_model_name_or_path=str(tmp_path))
    with pytest.raises(ValueError, match=r"is a folder of this machine.*--base-model ORG/NAME"):
        push_model(out, "org/ears")
    tensors = load_file(out / ADAPTER)
    del tensors["audio_projection.fc2.bias"]
    save_file(tensors, out / ADAPTER)
    with pytest.raises(ValueError, match=r"does not fit config\.json \(audio_projection\.fc2\.bias\)"):
        push_model(out, "org/ears")
    (out / ADAPTER).write_bytes(b"x" * 20)
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        push_model(out, "org/ears")
    (out / ADAPTER).unlink()
    with pytest.raises(ValueError, match="has no weights: neither soundclip_adapter"):
        push_model(out, "org/ears")
    tiny_sound_llava("llava").save_pretrained(out, max_shard_size="60KB")
    shard = sorted(out.glob("model-*"))[1]
    shard.rename(out / "model.safetensors")
    with pytest.raises(ValueError, match=r"holds both model\.safetensors and model\.safetensors\.index\.json"):
        push_model(out, "org/ears")
    (out / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=f"{shard.name} is missing, which model"):
        push_model(out, "org/ears")


def test_work_on_non_commercial_weights_needs_a_licence(out, tmp_path):
    audio, _ = ENCODERS["imagebind"]
    model = SoundLlava(tiny_sound_llava_config("llava", sound={"audio_config": audio}))
    model.save_pretrained(tmp_path / "imagebind")
    words = r"ImageBind \(cc-by-nc-sa-4\.0\).*--license cc-by-nc-sa-4\.0"
    with pytest.raises(ValueError, match=words):
        push_model(tmp_path / "imagebind", "org/ears")
    with pytest.raises(ValueError, match=words):
        model.push_to_hub("org/ears")


REFUSED = """
from typer.testing import CliRunner
from soundclip_hf.cli import app
def push(*words):
    done = CliRunner().invoke(app, ["push", *map(str, words)])
    return [done.exit_code, done.stderr]
good, bare, restricted, local, nowhere, other = sys.argv[1:]
print(json.dumps([
    push(good, "org/ears", "--token", "hf_wrong"),
    push(good, "org/ears", "--token", "hf_reader"),
    push(good, "bob/ears"),
    push(good, "e ars"),
    push(bare, "org/ears"),
    push(restricted, "org/ears"),
    push(nowhere, "org/ears"),
    push(good, "org/ears", "--tag", "v1"),
    push(other, "org/ears", "--tag", "v1"),
    push(local, "org/ears", "--base-model", "org/base", "--revision", "trial"),
    push(restricted, "org/restricted", "--license", "cc-by-nc-4.0"),
]))
"""


def test_refusals_of_the_command(hub, ask, parts, out, tmp_path):
    bare, restricted, local, nowhere, other = (tmp_path / n for n in ("bare", "restricted", "local", "nowhere", "new"))
    for folder in (bare, restricted, local, nowhere):
        write_adapter(folder)
    write_adapter(other, bias=2.0)
    (bare / "processor_config.json").unlink()
    (tmp_path / "encoder" / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    hub.commit("org/encoder-nc", tmp_path / "encoder")
    change_config(restricted, audio_encoder_name_or_path="org/encoder-nc")
    change_config(local, base_model_name_or_path=str(tmp_path / "base"))
    change_config(nowhere, base_model_name_or_path="org/nowhere")
    *refused, tagged, retagged, repaired, licensed = ask(REFUSED, out, bare, restricted, local, nowhere, other)
    expected = [
        "org/base: the token may not read there (Invalid credentials",
        "the token may not write",
        "the token may not write",
        "is no name of a model",
        "has no processor_config.json, without which nobody can ask the model",
        "weights that may not be used commercially: org/encoder-nc (cc-by-nc-4.0). State the licence",
        "org/nowhere: no such model, or it is private",
    ]
    for (code, said), words in zip(refused, expected, strict=True):
        assert code == 1, said
        assert words in said
        assert said.startswith("error: ")
        assert said.count("\n") == 1
    assert tagged[0] == 0
    assert (retagged[0], "has a tag 'v1' already, on other content" in retagged[1]) == (1, True)
    assert repaired[0] == 0, repaired
    config = json.loads(hub.files("org/ears", "trial")["config.json"].read())
    assert (config["base_model_name_or_path"], config["base_model_revision"]) == (BASE, parts[BASE])
    assert licensed[0] == 0, licensed
    card = hub.files("org/restricted")["README.md"].read().decode()
    assert "org/encoder-nc, which are under `cc-by-nc-4.0`: they may not be used commercially" in card
