"""A push while a model loads: every file comes from the old commit, or every file from the new one."""

import json

import pytest
import torch
from tiny_models import tiny_llava, tiny_sound_llava
from tiny_processors import tiny_sound_processor

from soundclip_hf import SoundClipModel

VERSIONS = (1, 2)

# Each load says what version its configuration has, and each of its weights.
LOADS = """
import urllib.request
import soundclip_hf, torch
from huggingface_hub import constants
from soundclip_hf import SoundClipModel, SoundClipProcessor, SoundLlava, SoundLlavaProcessor, WhisperClipModel
from soundclip_hf.modeling.checkpoints.encoder import load_audio_encoder, load_extractor
from transformers import AutoModelForImageTextToText

def version(tensor):
    return round(float(tensor.detach().float().flatten()[0]))
def ears(model):
    found = getattr(model, "model", model)
    return [version(found.audio_projection.fc3.bias), version(found.audio_tower.encoder.conv1.bias)]
def llava(repo, **options):
    model = SoundLlava.from_pretrained(repo, **options)
    return {
        "ears": [model.config.sound_config.token_budget, ears(model)[0]],
        "base": [version(model.lm_head.weight), version(model.model.vision_tower.embeddings.class_embedding),
                 version(model.model.language_model.layers[1].mlp.up_proj.weight)],
        "encoder": [ears(model)[1]],
    }
def full(repo, **options):
    return {"all": sum(llava(repo, **options).values(), [])}
def dual(repo, **options):
    model = SoundClipModel.from_pretrained(repo, **options)
    return {"ears": [model.config.token_budget, ears(model)[0]], "encoder": [ears(model)[1]],
            "base": [version(model.vision_tower.embeddings.class_embedding)]}
def own(repo, **options):
    return {"all": sum(dual(repo, **options).values(), [])}
def encoder(repo, **options):
    model = WhisperClipModel.from_pretrained(repo, **options)
    return {"all": [round(10 * model.config.init_std), version(model.encoder.conv1.bias)]}
def by_name(repo, **options):
    model = load_audio_encoder(repo, **options)
    return {"all": [round(10 * model.config.init_std), version(model.encoder.conv1.bias)]}
def processor(repo, **options):
    found = SoundLlavaProcessor.from_pretrained(repo, **options)
    return {"all": [found.sound_top_k, len(found.chat_template)]}
def tuning(repo, **options):
    from soundclip_hf.training.finetuning.arguments import read_arguments
    from soundclip_hf.training.finetuning.opening import open_model, open_processor
    constants.HF_HUB_CACHE = options["cache_dir"]  # a fine-tuning has no setting for it
    settings, training = read_arguments(["--model", repo, "--dataset", "synthetic", "--use_cpu", "true"])
    config, processor, revision = open_processor(settings)
    model = open_model(settings, training, config, revision)
    return {"all": [config.sound_config.token_budget, len(processor.chat_template), *ears(model)]}
CASES = {
    "tuning": (tuning, "org/full"),
    "llava": (llava, "org/ears"), "dual": (dual, "org/ears"), "full": (full, "org/full"), "own": (own, "org/own"),
    "encoder": (encoder, "org/encoder"), "by_name": (by_name, "org/encoder"), "processor": (processor, "org/full"),
}

def control(path, method):
    asked = urllib.request.Request(os.environ["HF_ENDPOINT"] + "/test/" + path, method=method)
    return json.loads(urllib.request.urlopen(asked).read())["pending"]
def loads(name, options):
    load, repo = CASES[name]
    return load(repo, **options)
"""

MOMENTS = (
    LOADS
    + """
name = sys.argv[1]
found = []
while True:
    control(f"push/{len(found) + 1}", "POST")
    found.append(loads(name, {"cache_dir": f"{os.environ['HF_HOME']}/{len(found)}"}))
    if control("push", "GET"):
        break
print(json.dumps(found))
"""
)
ONCE = (
    LOADS
    + """
print(json.dumps(attempt(loads, sys.argv[1], json.loads(sys.argv[2]))))
"""
)


def set_values(model, version):
    with torch.no_grad():
        for value in [*model.parameters(), *model.buffers()]:
            if value.is_floating_point():
                value.fill_(version)
    return model


@pytest.fixture
def repositories(hub, tmp_path):
    """Two commits of each repository, in which every number says which one it is; "main" is the first."""
    commits = {}
    for version in VERSIONS:
        place = tmp_path / str(version)
        base = set_values(tiny_llava("llava"), version)
        base.save_pretrained(place / "base", max_shard_size="200KB")
        model = tiny_sound_llava("llava", sound={"token_budget": version})
        model.config.sound_config.audio_config.init_std = version / 10
        model.model.audio_tower.config.init_std = version / 10
        set_values(model, version)
        model.save_pretrained(place / "full", max_shard_size="200KB")
        processor = tiny_sound_processor("llava")
        processor.sound_top_k, processor.chat_template = version, "x" * version
        processor.save_pretrained(place / "full")
        model.model.audio_tower.save_pretrained(place / "encoder")
        model.config.base_model_name_or_path = "org/base"
        model.config.audio_encoder_name_or_path = "org/encoder"
        model.save_pretrained(place / "ears", adapter_only=True)
        # The ears of one commit must fit the base of the other.
        config = json.loads((place / "ears" / "config.json").read_text())
        (place / "ears" / "config.json").write_text(json.dumps({**config, "vision_fingerprint": None}))
        SoundClipModel.from_pretrained(place / "full").save_pretrained(place / "own", max_shard_size="200KB")
        for name in ("base", "full", "encoder", "ears", "own"):
            commits.setdefault(f"org/{name}", []).append(hub.commit(f"org/{name}", place / name, f"v{version}"))
    hub.pushes = {repo: tuple(found) for repo, found in commits.items()}
    hub.move(0)
    return commits


@pytest.mark.parametrize("name", ["llava", "dual", "full", "by_name", "processor", "tuning"])
def test_a_push_between_two_requests(name, hub, ask, repositories):
    found = ask(MOMENTS, name)
    assert len(found) > 3  # one request each, before which the push came
    for parts in found:
        for part, versions in parts.items():
            assert len(set(versions)) == 1, (part, found)
    assert {version for parts in found for versions in parts.values() for version in versions} == set(VERSIONS)


@pytest.mark.slow  # twenty processes
@pytest.mark.parametrize("name", ["llava", "encoder"])
def test_revisions_by_every_name(name, hub, ask, repositories):
    """Branch, tag and commit; again from the cache, without network; in a private repository, with a token."""

    def versions(options, **where):
        parts = ask(ONCE, name, options, **where)
        assert isinstance(parts, dict), parts
        part = parts.get("ears") or parts["all"]
        assert len(set(part)) == 1
        return part[0]

    repo = {"llava": "org/ears"}.get(name, f"org/{name}")
    hub.move(1)
    for settings in hub.settings.values():
        settings.private = True
    first, second = repositories[repo]
    cases = [
        ("{}", 2),
        ('{"revision": "v1"}', 1),
        (f'{{"revision": "{first}"}}', 1),
        (f'{{"revision": "{second}"}}', 2),
    ]
    for options, version in cases:
        assert versions(options, home="shared") == version
    hub.requests.clear()
    for options, version in cases:
        assert versions(options, home="shared", offline=True) == version
    assert not hub.requests
    assert "not a valid model identifier" in ask(ONCE, name, "{}", token="hf_bob")


@pytest.mark.parametrize(("name", "most"), [("llava", 23), ("dual", 17), ("full", 20), ("own", 13), ("encoder", 7)])
def test_requests(name, most, hub, ask, repositories):
    """Each repository is asked once which commit it is at."""
    hub.requests.clear()
    ask(ONCE, name, "{}")
    asked = [path for method, path in hub.requests if method == "GET" and path.startswith("api/models/")]
    assert len(asked) == len(set(asked)) > 0
    assert len(hub.requests) <= most
