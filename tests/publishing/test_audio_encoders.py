"""Audio encoders alone on a Hub: each is pushed with a card whose code runs, and loads as it was in another process."""

import json
import re

import pytest
import torch
from huggingface_hub import ModelCard
from tiny_encoders import ENCODERS
from transformers import AutoModel

from soundclip_hf.publishing.model_push import push_model

START = """
import numpy, torch
import soundclip_hf
from tiny_encoders import ENCODERS
from transformers import AutoFeatureExtractor, AutoModel

def embedded(model, extractor):
    sound = numpy.random.default_rng(0).standard_normal(extractor.sampling_rate) * 0.1
    inputs = extractor(sound, sampling_rate=extractor.sampling_rate, return_tensors="pt")
    with torch.no_grad():
        return model(**inputs).pooler_output[0].tolist()
"""
PUSH = (
    START
    + """
out = {}
for name, (config, extractor) in ENCODERS.items():
    torch.manual_seed(1)
    model = AutoModel.from_config(config).eval()
    options = {"license": "cc-by-nc-sa-4.0"} if name == "imagebind" else {}
    model.push_to_hub(f"org/{name}", tags="mine", **options)
    extractor.push_to_hub(f"org/{name}")
    out[name] = embedded(model, extractor)
    if name == "clap":
        place = sys.argv[1] + "/org-clap"
        model.save_pretrained(place, push_to_hub=True, repo_id="org/saved", license="apache-2.0", max_shard_size="4KB")
        out["again"] = model.push_to_hub(f"org/{name}", tags="mine").oid
    if name == "imagebind":
        out["refused"] = attempt(model.push_to_hub, "org/refused")
print(json.dumps(out))
"""
)
LOAD = (
    START
    + """
out = {}
for name in ENCODERS:
    model = AutoModel.from_pretrained(f"org/{name}")
    assert type(model) is type(AutoModel.from_config(ENCODERS[name][0]))
    out[name] = embedded(model, AutoFeatureExtractor.from_pretrained(f"org/{name}"))
print(json.dumps(out))
"""
)
QUICKSTARTS = """
import contextlib, io
out = {}
for name, code in json.load(open(sys.argv[1])).items():
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(code, {})
    out[name] = said.getvalue().strip()
print(json.dumps(out))
"""


def test_every_encoder_is_published_with_a_card_that_runs(hub, ask, tmp_path):
    expected = ask(PUSH, tmp_path)
    again, refused = expected.pop("again"), expected.pop("refused")
    assert refused.startswith(
        "ValueError: org/refused: is built on weights that may not be used commercially: ImageBind"
    )
    assert "org/refused" not in hub.revisions
    found = ask(LOAD, token=None)
    assert found.keys() == expected.keys() == ENCODERS.keys()
    code = {}
    for name, (config, _) in ENCODERS.items():
        assert torch.tensor(found[name]) == pytest.approx(torch.tensor(expected[name]), rel=1e-4, abs=1e-6), name
        files = hub.files(f"org/{name}")
        assert set(files) == {
            *("config.json", "model.safetensors", "preprocessor_config.json", "README.md", ".gitattributes")
        }, name
        card = files["README.md"].read().decode()
        about = ModelCard(card).data
        assert (about.library_name, about.pipeline_tag) == ("soundclip-hf", "feature-extraction")
        assert about.tags == ["soundclip", "audio", "audio-encoder", "mine"]
        assert about.license == ("cc-by-nc-sa-4.0" if name == "imagebind" else None)
        assert f"| type | `{config.model_type}` |" in card
        assert ("may not be used commercially" in card) == (name == "imagebind")
        assert "automatically generated" not in card
        (code[name],) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    (tmp_path / "code.json").write_text(json.dumps(code))
    printed = ask(QUICKSTARTS, tmp_path / "code.json", token=None)
    sizes = {name: f"torch.Size([1, {config.embedding_dim}])" for name, (config, _) in ENCODERS.items()}
    assert printed == sizes
    # The feature extractor came after the card, and left it as it was: the same push again changes nothing.
    assert "feature extractor" in hub.commits[again].title
    assert hub.revisions["org/clap"]["main"] == again
    saved = hub.files("org/saved")
    assert "model.safetensors.index.json" in saved
    assert ModelCard(saved["README.md"].read().decode()).data.license == "apache-2.0"


COMMAND = """
from typer.testing import CliRunner
from soundclip_hf.cli import app
def push(*words):
    done = CliRunner().invoke(app, ["push", *map(str, words)])
    return [done.exit_code, done.stdout, done.stderr]
folder, bare = sys.argv[1:]
print(json.dumps([
    push(bare, "org/encoder"),
    push(folder, "org/encoder", "--base-model", "org/base"),
    push(folder, "org/encoder", "--revision", "trial", "--license", "mit"),
]))
"""


@pytest.fixture
def folder(tmp_path):
    """An encoder as `soundclip convert` or `save_pretrained` leaves it, beside what stays on this machine."""
    place = tmp_path / "encoder"
    AutoModel.from_config(ENCODERS["whisperclip"][0]).save_pretrained(place)
    ENCODERS["whisperclip"][1].save_pretrained(place)
    (place / "training_args.bin").write_bytes(b"x")
    return place


def test_the_command_publishes_a_folder(hub, ask, folder, tmp_path):
    bare = tmp_path / "bare"
    AutoModel.from_config(ENCODERS["whisperclip"][0]).save_pretrained(bare)
    refused, with_base, done = ask(COMMAND, folder, bare)
    assert refused[0] == with_base[0] == 1
    assert "has no preprocessor_config.json" in refused[2]
    assert "feature_extractor.save_pretrained" in refused[2]
    assert "is an audio encoder by itself: leave base_model out" in with_base[2]
    assert done[0] == 0, done
    files = hub.files("org/encoder", "trial")
    assert "training_args.bin" not in files
    card = files["README.md"].read().decode()
    assert 'from_pretrained(repo, revision="trial")' in card
    assert "| sound | mono, 16,000 Hz |" in card
    assert ModelCard(card).data.license == "mit"


def test_a_folder_whose_weights_are_of_another_shape_is_refused(folder):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "d_model": 2 * config["d_model"]}))
    with pytest.raises(ValueError, match=r"encoder: its weights do not fit config\.json"):
        push_model(folder, "org/encoder")


def test_imagebind_in_a_folder_needs_a_licence(tmp_path):
    AutoModel.from_config(ENCODERS["imagebind"][0]).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"ImageBind \(cc-by-nc-sa-4\.0\).*--license cc-by-nc-sa-4\.0"):
        push_model(tmp_path, "org/encoder")
