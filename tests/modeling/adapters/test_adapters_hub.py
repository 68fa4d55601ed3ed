"""Adapters of a Hub: what is asked for, and what is not asked for again."""

import json

import pytest
from adapter_folders import random_projection
from hub_models import BASE, ENCODER, write_parts
from tiny_models import tiny_sound_llava
from tiny_processors import tiny_sound_processor

from soundclip_hf.modeling.checkpoints.adapter import ADAPTER_NAME

LOAD = """
from soundclip_hf import SoundLlava
from hub_models import logits
model = SoundLlava.from_pretrained("org/first")
print(json.dumps(logits(model)))
"""
SWAP = """
from urllib.request import Request, urlopen
from soundclip_hf import SoundLlava
from hub_models import logits
model = SoundLlava.from_pretrained("org/first")
marker = lambda name: urlopen(Request(os.environ["HF_ENDPOINT"] + f"/test/{name}")).read()
found = []
for repo, name, options in json.loads(sys.argv[1]):
    marker(f"before-{name}")
    found.append(attempt(model.load_sound_adapter, repo, name, **options))
marker("end")
names = [info.name for info in model.list_sound_adapters()]
answers = []
for name in names:
    model.set_sound_adapter(name)
    answers.append(logits(model))
said = ("name", "source", "revision", "encoder", "encoder_revision")
infos = [[getattr(info, one) for one in said] for info in model.list_sound_adapters()]
towers = {id(parts.audio_tower) for parts in model.model.sound_parts(names)}
print(json.dumps({"errors": found, "infos": infos, "answers": answers, "towers": len(towers)}))
"""


@pytest.fixture
def commits(hub, tmp_path):
    """Three adapters over one base and encoder; the last names no revision of the encoder."""
    found = write_parts(hub, tmp_path)
    for seed, name in enumerate(("first", "second", "open")):
        model = tiny_sound_llava("llava")
        model.model.audio_projection.load_state_dict(random_projection(model.model.audio_projection, seed))
        model.config.base_model_name_or_path, model.config.base_model_revision = BASE, found[BASE]
        model.config.audio_encoder_name_or_path = ENCODER
        model.config.audio_encoder_revision = None if name == "open" else found[ENCODER]
        model.save_pretrained(tmp_path / name, adapter_only=True)
        tiny_sound_processor("llava").save_pretrained(tmp_path / name)
        found[name] = hub.commit(f"org/{name}", tmp_path / name)
    return found


def asked(hub, name):
    """The requests for files between the marks of one load, as (method, repository, file)."""
    marks = [index for index, (_, path) in enumerate(hub.requests) if path.startswith("test/")]
    start = next(index for index in marks if hub.requests[index][1] == f"test/before-{name}")
    end = min(index for index in marks if index > start)
    found = [(method, *path.split("/resolve/")) for method, path in hub.requests[start:end] if "/resolve/" in path]
    return {(method, repo, file.partition("/")[2]) for method, repo, file in found}


def test_a_second_adapter_fetches_its_own_two_files(hub, ask, commits):
    first = ask(LOAD, home="a")
    loads = [("org/second", "second", {}), ("org/second@main", "again", {}), ("org/open", "open", {})]
    answer = ask(SWAP, json.dumps(loads), home="a")
    assert answer["errors"] == [None] * 3
    files = {"config.json", ADAPTER_NAME}
    assert asked(hub, "second") == {(method, "org/second", file) for method in ("HEAD", "GET") for file in files}
    assert asked(hub, "again") == set()  # main is still the same commit, whose files are in the cache
    # Which commit is the encoder's newest has to be asked; its weights are here.
    assert {file for _, repo, file in asked(hub, "open") if repo == ENCODER} == {"config.json"}
    assert {repo for _, repo, _ in asked(hub, "open")} == {"org/open", ENCODER}
    assert answer["towers"] == 1
    assert answer["infos"] == [
        ["default", "org/first", commits["first"], ENCODER, commits[ENCODER]],
        ["second", "org/second", commits["second"], ENCODER, commits[ENCODER]],
        ["again", "org/second", commits["second"], ENCODER, commits[ENCODER]],
        ["open", "org/open", commits["open"], ENCODER, commits[ENCODER]],
    ]
    assert answer["answers"][0] == first
    assert answer["answers"][1] == answer["answers"][2] != answer["answers"][3]


def test_from_the_cache_alone(hub, ask, commits):
    loads = [("org/second", "second", {})]
    online = ask(SWAP, json.dumps(loads), home="b")
    before = len(hub.requests)
    cached = ask(
        SWAP.replace("marker = ", "marker = lambda name: None #"),
        json.dumps([("org/second", "second", {"local_files_only": True})]),
        home="b",
        offline=True,
    )
    assert len(hub.requests) == before
    assert cached["answers"] == online["answers"]
    missing = ask(
        SWAP.replace("marker = ", "marker = lambda name: None #"),
        json.dumps([("org/open", "open", {})]),
        home="b",
        offline=True,
    )
    assert missing["errors"][0].startswith("OSError")
    assert len(missing["infos"]) == 1


def test_the_token_reaches_adapter_and_encoder(hub, ask, commits):
    hub.settings["org/second"].private = True
    loads = [("org/second", "second", {"token": "hf_alice"}), ("org/nobody", "gone", {"token": "hf_alice"})]
    answer = ask(SWAP, json.dumps(loads), token=None)
    assert answer["errors"][0] is None
    assert "org/nobody" in answer["errors"][1]
