"""`--push_to_hub`: the adapter of an alignment is on a Hub at every save and at the end, and loads from there."""

import json

from alignment_parts import write_base, write_pairs, write_whisper
from safetensors.torch import load_file

ALIGN = """
from typer.testing import CliRunner
from soundclip_hf.cli import app
def align(*words):
    done = CliRunner().invoke(app, ["align", *map(str, words)])
    return [done.exit_code, done.stderr]
pairs, out, local = sys.argv[1:]
options = ["--audio_encoder", "org/whisper", "--window", "short", "--dataset", pairs, "--projector_hidden_size", 16]
options += ["--per_device_train_batch_size", 6, "--validation_fraction", 0.25, "--num_train_epochs", 2]
options += ["--use_cpu", "true", "--push_to_hub", "true", "--hub_private_repo", "true"]
base = ["--base_model", "org/base", *options]
print(json.dumps([
    align(*base, "--output_dir", out + "/ears", "--hub_model_id", "org/ears", "--hub_strategy", "checkpoint"),
    align(*base, "--output_dir", out + "/end", "--hub_model_id", "org/end", "--hub_strategy", "end"),
    align(*base, "--output_dir", out + "/own", "--hub_model_id", "org/own", "--hub_token", "hf_reader"),
    align("--base_model", local, *options, "--output_dir", out + "/local", "--hub_model_id", "org/local"),
]))
"""
LOAD = """
from soundclip_hf import SoundClipModel, SoundLlava, SoundLlavaProcessor
SoundClipModel.from_pretrained("org/ears")
SoundLlavaProcessor.from_pretrained("org/ears")
model = SoundLlava.from_pretrained("org/ears")
print(json.dumps(model.model.audio_projection.fc3.bias.tolist()))
"""
ADAPTER = "soundclip_adapter.safetensors"


def test_an_alignment_is_published(hub, ask, tmp_path):
    bases = {"org/base": write_base(tmp_path / "base"), "org/whisper": write_whisper(tmp_path / "whisper")}
    commits = {repo: hub.commit(repo, folder) for repo, folder in bases.items()}
    pairs = write_pairs(tmp_path / "pairs")
    every_save, at_the_end, refused, local = ask(ALIGN, pairs, tmp_path, bases["org/base"])
    assert every_save[0] == at_the_end[0] == 0, (every_save, at_the_end)

    history = titles(hub, "org/ears")
    assert history[0] == "End of training"
    assert history.count("Training in progress, step 3") == history.count("Training in progress, step 6") == 1
    files = hub.files("org/ears")
    assert hub.settings["org/ears"].private
    assert {ADAPTER, "config.json", "processor_config.json", "README.md", "retrieval.json"} <= set(files)
    assert "last-checkpoint/optimizer.pt" in files
    assert not {"model.safetensors", "training_args.bin", "alignment.json"} & set(files)
    assert files[ADAPTER].read() == (tmp_path / "ears" / ADAPTER).read_bytes()
    config = json.loads(files["config.json"].read())
    assert (config["base_model_revision"], config["audio_encoder_revision"]) == tuple(commits.values())
    card = files["README.md"].read().decode()
    assert "| loss | info_nce+distribution |" in card
    for name in ("README.md", "retrieval.json", "config.json"):
        assert str(tmp_path) not in files[name].read().decode()
    assert json.loads(files["retrieval.json"].read())["model"] == "org/ears"
    bias = load_file(tmp_path / "ears" / ADAPTER)["audio_projection.fc3.bias"].tolist()
    assert ask(LOAD) == bias

    assert titles(hub, "org/end")[0] == "End of training"
    assert len(titles(hub, "org/end")) == 2
    assert refused[0] == 1
    assert "the token may not write" in refused[1]
    assert local[0] == 1
    assert "is a folder of this machine, and the adapter could be loaded nowhere else" in local[1]
    assert not (tmp_path / "local").exists()  # nothing was trained


def titles(hub, repo):
    """Of the commits, the newest first."""
    found, sha = [], hub.revisions[repo]["main"]
    while sha is not None:
        found.append(hub.commits[sha].title)
        sha = hub.commits[sha].parent
    return found
