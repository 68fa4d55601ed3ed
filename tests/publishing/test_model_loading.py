"""Published models in another process with an empty cache: a card's code, revisions, tokens, no network, no import."""

import re

import pytest
from hub_models import BASE, ENCODER, adapter_model, logits, write_adapter, write_parts
from huggingface_hub import ModelCard

PUSH = """
from soundclip_hf.publishing.model_push import push_model
pairs = zip(sys.argv[1::2], sys.argv[2::2])
print(json.dumps([push_model(folder, **json.loads(options)).commit for folder, options in pairs]))
"""
LOAD = """
import soundclip_hf
from hub_models import logits
from soundclip_hf import SoundLlava
repo, options = sys.argv[1], json.loads(sys.argv[2])
print(json.dumps(attempt(lambda: logits(SoundLlava.from_pretrained(repo, **options)))))
"""
NONE = "{}"


def assert_close(found, expected):
    assert isinstance(found, list), found
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-5, abs=1e-6)


@pytest.fixture
def parts(hub, tmp_path):
    return write_parts(hub, tmp_path)


def push(ask, *arguments):
    return ask(PUSH, *arguments)


def test_the_code_of_a_card_runs_as_printed(hub, ask, parts, tmp_path):
    push(ask, write_adapter(tmp_path / "out"), '{"repo": "org/ears", "revision": "trial", "license": "mit"}')
    text = hub.files("org/ears", "trial")["README.md"].read().decode()
    quickstart, retrieval = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert 'repo, revision="trial"' in quickstart
    assert len([line for line in quickstart.splitlines() if line.strip()]) <= 9
    printed = ask(f"{quickstart}\nprint(json.dumps('done'))", token=None)
    assert printed == "done"
    said = ask(f"import torch\n{retrieval}\nprint(json.dumps('done'))", token=None)
    assert said == "done"
    about = ModelCard(text).data
    assert about.library_name == "soundclip-hf"
    assert about.base_model == [BASE, ENCODER]
    assert about.datasets == ["org/clips"]
    assert about.pipeline_tag == "any-to-any"
    assert about.license == "mit"
    (measured,) = [one for one in about.eval_results if one.metric_type == "projected_a2v.t1"]
    assert measured.metric_value == 45.25
    assert measured.metric_args == {"n": 500, "seed": 3, "interval_95": [40.5, 50.0]}
    assert (measured.task_type, measured.dataset_type) == ("retrieval", "org/clips")
    assert "best_epoch" not in text
    assert "40.5 – 50" in text
    assert f"at `{parts[BASE]}`" in text
    # The Hub's own check of the metadata, which a push asks for too.
    said = ask("from huggingface_hub import ModelCard\nModelCard(sys.argv[1]).validate()\nprint(1)", text)
    assert said == 1
    assert ("POST", "api/validate-yaml") in hub.requests


def test_several_adapters_share_one_base_and_work_without_network(hub, ask, parts, tmp_path):
    one, two = write_adapter(tmp_path / "one"), write_adapter(tmp_path / "two", bias=2.0)
    first, second, _ = push(
        ask,
        *(one, '{"repo": "org/ears", "tag": "v1"}'),
        *(two, '{"repo": "org/ears", "tag": "v2"}'),
        *(two, '{"repo": "org/other"}'),
    )
    assert first != second
    hub.requests.clear()
    expected = {"v1": logits(adapter_model()), "v2": logits(adapter_model(2.0))}
    assert_close(ask(LOAD, "org/ears", '{"revision": "v1"}', home="shared"), expected["v1"])
    weights = [path for repo in (BASE, ENCODER) for path in hub.read_paths(repo) if path.endswith(".safetensors")]
    assert len(weights) == len(set(weights)) > 2
    assert_close(ask(LOAD, "org/ears", NONE, home="shared"), expected["v2"])
    assert_close(ask(LOAD, "org/other", NONE, home="shared"), expected["v2"])
    again = [path for repo in (BASE, ENCODER) for path in hub.read_paths(repo) if path.endswith(".safetensors")]
    assert again == weights
    adapters = [path for path in hub.read_paths("org/ears") if path.endswith(".safetensors")]
    assert len(adapters) == 2
    hub.requests.clear()
    for repo, options, version in (("org/ears", '{"revision": "v1"}', "v1"), ("org/other", NONE, "v2")):
        assert_close(ask(LOAD, repo, options, home="shared", offline=True), expected[version])
    assert not hub.requests
    assert "OSError" in ask(LOAD, "org/ears", NONE, offline=True)  # an empty cache has nothing


def test_private_and_gated(hub, ask, parts, tmp_path):
    push(ask, write_adapter(tmp_path / "out"), '{"repo": "org/ears", "private": true}')
    expected = logits(adapter_model())
    for token in (None, "hf_bob"):
        said = ask(LOAD, "org/ears", NONE, token=token)
        assert "org/ears is not a local folder and is not a valid model identifier" in said, said
    assert_close(ask(LOAD, "org/ears", NONE, token="hf_reader"), expected)
    assert_close(ask(LOAD, "org/ears", '{"token": "hf_reader"}', token=None), expected)
    hub.settings["org/ears"].private = False
    hub.settings["org/ears"].gated = "manual"
    assert "gated repo" in ask(LOAD, "org/ears", NONE, token="hf_bob")
    hub.settings["org/ears"].granted.add("bob")
    assert_close(ask(LOAD, "org/ears", NONE, token="hf_bob"), expected)


OTHER_WAYS = """
import soundclip_hf
import torch
from hub_models import logits
from soundclip_hf import SoundClipModel, SoundClipProcessor
from soundclip_hf.bundled import CLIP
from transformers import AutoModelForImageTextToText, pipeline
out = {"image-text-to-text": logits(AutoModelForImageTextToText.from_pretrained("org/full"))}
model, processor = SoundClipModel.from_pretrained("org/full"), SoundClipProcessor.from_pretrained("org/full")
with torch.no_grad():
    out["dual"] = list(model(**processor(videos=[CLIP], return_tensors="pt")).logits_per_audio.shape)
chat = [{"role": "user", "content": [{"type": "video", "path": str(CLIP)}, {"type": "text", "text": "What?"}]}]
for task in ("any-to-any", "image-text-to-text"):
    for repo in ("org/full", "org/ears"):
        asked = pipeline(task, model=repo)
        out[f"{task} {repo}"] = len(asked(text=chat, return_full_text=False, max_new_tokens=3))
print(json.dumps(out))
"""


def test_a_full_model_and_the_other_ways_to_load(hub, ask, parts, tmp_path):
    from tiny_processors import tiny_sound_processor

    adapter_model().save_pretrained(tmp_path / "full", max_shard_size="60KB")
    tiny_sound_processor("llava").save_pretrained(tmp_path / "full")
    push(ask, tmp_path / "full", '{"repo": "org/full"}', write_adapter(tmp_path / "out"), '{"repo": "org/ears"}')
    found = ask(OTHER_WAYS, token=None)
    assert_close(found.pop("image-text-to-text"), logits(adapter_model()))
    assert found.pop("dual") == [1, 1]
    assert set(found.values()) == {1}
    assert len(found) == 4


TRAINER = """
import torch
from hub_models import SAMPLES, adapter_model, logits
from tiny_inputs import build_inputs
from transformers import Trainer, TrainingArguments
model = adapter_model()
model.requires_grad_(False)
model.model.audio_projection.requires_grad_(True)
row = build_inputs(model, SAMPLES[:1])
row["labels"] = row["input_ids"]
settings = {"max_steps": 2, "save_steps": 1, "use_cpu": True, "report_to": "none", "remove_unused_columns": False}
settings |= {"push_to_hub": True, "hub_model_id": "org/ears", "per_device_train_batch_size": 1, "learning_rate": 0.01}
arguments = TrainingArguments(sys.argv[1], **settings)
trainer = Trainer(model, arguments, train_dataset=[row] * 2, data_collator=lambda rows: rows[0])
trainer.train()
trainer.push_to_hub()
print(json.dumps(logits(model)))
"""


def test_a_stock_trainer_pushes_the_adapter_of_a_frozen_base(hub, ask, parts, tmp_path):
    expected = ask(TRAINER, tmp_path / "run")
    files = {path for path in hub.files("org/ears") if "safetensors" in path}
    assert files == {"soundclip_adapter.safetensors", "model.safetensors.index.json"}
    assert_close(ask(LOAD, "org/ears", NONE), expected)


REMOTE = """
from transformers import AutoModelForMultimodalLM, AutoProcessor
repo, first = sys.argv[1:]
assert "soundclip_hf" not in sys.modules
def load(kind):
    return kind.from_pretrained(repo, trust_remote_code=True)
if first == "processor":
    processor = load(AutoProcessor)
model, processor = load(AutoModelForMultimodalLM), load(AutoProcessor)
import soundclip_hf
assert type(model) is soundclip_hf.SoundLlava
assert type(processor) is soundclip_hf.SoundLlavaProcessor
# No code is copied into what is saved next.
place = os.environ["HF_HOME"] + "/saved"
model.save_pretrained(place)
processor.save_pretrained(place)
assert not [name for name in os.listdir(place) if name.endswith(".py")], os.listdir(place)
from hub_models import logits
print(json.dumps(logits(model)))
"""
MISSING = """
sys.modules["soundclip_hf"] = None
from transformers import AutoModelForMultimodalLM, AutoProcessor
print(json.dumps([
    attempt(AutoModelForMultimodalLM.from_pretrained, "org/ears", trust_remote_code=True),
    attempt(AutoProcessor.from_pretrained, "org/ears", trust_remote_code=True),
    attempt(AutoModelForMultimodalLM.from_pretrained, "org/ears", trust_remote_code=False),
]))
"""


def test_remote_code_needs_no_import(hub, ask, parts, tmp_path):
    push(ask, write_adapter(tmp_path / "out"), '{"repo": "org/ears"}')
    for first in ("model", "processor"):
        assert_close(ask(REMOTE, "org/ears", first, token=None), logits(adapter_model()))
    model, processor, untrusted = ask(MISSING, token=None)
    for said in (model, processor):
        assert "pip install soundclip-hf" in said
    assert "trust_remote_code=True" in untrusted
