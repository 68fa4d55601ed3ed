"""Every form of a model, pushed and then loaded by another process with an empty cache: the logits are the same."""

import json

import pytest
import torch
from hub_models import BASE, adapter_model, logits, write_adapter, write_parts
from huggingface_hub import ModelCard

PEFT = {"peft/adapter_config.json", "peft/adapter_model.safetensors"}
START = """
import peft, torch
import soundclip_hf
from hub_models import SAMPLES, adapter_model
from soundclip_hf import SoundLlava
from tiny_inputs import build_inputs
from tiny_models import tiny_llava, tiny_sound_llava
from tiny_processors import tiny_sound_processor
from transformers import AutoModelForMultimodalLM, AutoProcessor

def logits(model):
    with torch.no_grad():
        return model(**build_inputs(model, SAMPLES, dtype=model.dtype)).logits[:, -1].float().tolist()

def with_lora(model, **options):
    settings = {"r": 2, "target_modules": r".*language_model.*[.](q|v)_proj", "init_lora_weights": False, **options}
    wrapped = peft.get_peft_model(model, peft.LoraConfig(**settings)).eval()
    return wrapped.get_base_model()

def with_trained_ears(model):
    with torch.no_grad():
        for part in (model.model.audio_tower, model.model.audio_projection):
            for parameter in part.parameters():
                parameter.add_(0.03)
    model.model.audio_tower.requires_grad_(True)
    return model

def next_variant(model):
    model = tiny_sound_llava("llava_next")
    tiny_llava("llava_next").push_to_hub("org/base-next")
    model.config.base_model_name_or_path = "org/base-next"
    return model
"""
# Name -> (the model, made of the adapter's; arguments of push_to_hub; arguments of from_pretrained).
FORMS = {
    "adapter": ("model", {"adapter_only": True}, {}),
    "adapter with its encoder": ("with_trained_ears(model)", {"adapter_only": True}, {}),
    "adapter, LLaVA-1.6": ("next_variant(model)", {"adapter_only": True}, {}),
    "whole": ("model", {"adapter_only": False}, {}),
    "whole, LLaVA-1.6": ("tiny_sound_llava('llava_next')", {}, {}),
    "sharded": ("model", {"adapter_only": False, "max_shard_size": "60KB"}, {}),
    "whole in bfloat16": ("tiny_sound_llava('llava', dtype=torch.bfloat16)", {}, {"dtype": "auto"}),
    "whole in float16": ("tiny_sound_llava('llava', dtype=torch.float16)", {}, {"dtype": "auto"}),
    "LoRA": ("with_lora(model)", {}, {}),
    "LoRA and projector": ("with_lora(model, modules_to_save=['audio_projection'])", {}, {}),
}
PUSH = (
    START
    + """
out = {}
for name, (code, pushing, _) in json.loads(sys.argv[1]).items():
    repo = "org/" + name
    made = eval(code, globals() | {"model": adapter_model()})
    tiny_sound_processor(made.config.llava_variant).push_to_hub(repo)
    made.push_to_hub(repo, **pushing)
    out[name] = logits(made)
print(json.dumps(out))
"""
)
LOAD = (
    START
    + """
out = {}
for name, (_, _, loading) in json.loads(sys.argv[1]).items():
    model = AutoModelForMultimodalLM.from_pretrained("org/" + name, **loading)
    AutoProcessor.from_pretrained("org/" + name)
    out[name] = logits(model)
print(json.dumps(out))
"""
)


@pytest.fixture
def parts(hub, tmp_path):
    return write_parts(hub, tmp_path)


def difference(one, other):
    # Where a tensor lies in memory decides the last bits of a product.
    return (torch.tensor(one) - torch.tensor(other)).abs().max().item()


def test_what_is_pushed_is_what_is_loaded(hub, ask, parts):
    pytest.importorskip("peft")
    forms = json.dumps({f"form-{number}": form for number, form in enumerate(FORMS.values())})
    expected, found = ask(PUSH, forms), ask(LOAD, forms, token=None)
    assert found.keys() == expected.keys()
    plain = expected["form-0"]
    for (name, _), number in zip(FORMS.items(), expected, strict=True):
        half = "16" in name
        assert difference(found[number], expected[number]) < (1e-2 if half else 1e-5), name
        other = difference(expected[number], plain)
        assert other == 0 if name in ("adapter", "whole", "sharded") else half or other > 1e-3, name
    for number, (name, _) in enumerate(FORMS.items()):
        files = set(hub.files(f"org/form-{number}"))
        assert (files >= PEFT) == ("LoRA" in name), name
    assert {path for path in hub.files("org/form-5") if path.startswith("model-")}
    about = json.loads(hub.files("org/form-8")["peft/adapter_config.json"].read())
    assert (about["base_model_name_or_path"], about["revision"]) == (BASE, parts[BASE])
    card = hub.files("org/form-8")["README.md"].read().decode()
    assert "pip install soundclip-hf peft" in card
    assert "| PEFT adapter | LORA of rank 2, " in card
    assert "not trained with sounds" not in card
    assert "not trained with sounds" in hub.files("org/form-0")["README.md"].read().decode()
    assert ModelCard(card).data.base_model == [BASE, "org/encoder"]


OVER = (
    START
    + """
out = {}
model = adapter_model()
def weights():
    from huggingface_hub import HfApi
    return sorted(name for name in HfApi().list_repo_files("org/one") if "safetensors" in name or "adapter" in name)
whole = {"adapter_only": False}
for name, pushing in (("whole", whole), ("sharded", whole | {"max_shard_size": "60KB"}), ("whole again", whole)):
    model.push_to_hub("org/one", **pushing)
    out[name] = weights()
lora = with_lora(adapter_model())
lora.push_to_hub("org/one")
out["LoRA"] = weights()
model.push_to_hub("org/one", adapter_only=True)
out["adapter"] = weights()
print(json.dumps(out))
"""
)


def test_weights_of_another_form_go_in_the_same_commit(hub, ask, parts):
    pytest.importorskip("peft")
    out = ask(OVER)
    assert out["whole"] == out["whole again"] == ["model.safetensors"]
    assert len(out["sharded"]) > 3
    assert "model.safetensors" not in out["sharded"]
    assert out["LoRA"] == [*sorted(PEFT), "soundclip_adapter.safetensors"]
    assert out["adapter"] == ["soundclip_adapter.safetensors"]
    head, pushes = hub.revisions["org/one"]["main"], 0
    while (head := hub.commits[head].parent) is not None:
        pushes += 1
    assert pushes == 5  # one commit each, on the one that made the repository


COMMAND = """
from typer.testing import CliRunner
from soundclip_hf.cli import app
def push(*words):
    done = CliRunner().invoke(app, ["push", *map(str, words)])
    return [done.exit_code, done.stdout, done.stderr]
print(json.dumps([push(*words) for words in json.loads(sys.argv[1])]))
"""


def test_files_of_peft_at_the_top_are_moved(hub, ask, parts, tmp_path):
    """As PEFT's own save_pretrained leaves them beside the ears."""
    peft = pytest.importorskip("peft")
    folder = write_adapter(tmp_path / "out")
    model = adapter_model()
    settings = peft.LoraConfig(
        r=2, target_modules=r".*language_model.*\.(q|v)_proj", init_lora_weights=False, base_model_name_or_path="/x/y"
    )
    peft.get_peft_model(model, settings).eval().save_pretrained(folder)
    (folder / "README.md").unlink()  # PEFT's own card
    peft.PeftModel(adapter_model(), settings).save_pretrained(tmp_path / "lora")
    alone, planned, done = ask(
        COMMAND,
        json.dumps(
            [
                [str(tmp_path / "lora"), "org/ears"],
                [str(folder), "org/ears", "--dry-run"],
                [str(folder), "org/ears"],
            ]
        ),
    )
    assert alone[0] == 1
    assert "holds a PEFT adapter (LoRA) without the ears that it belongs to" in alone[2]
    assert (planned[0], done[0]) == (0, 0), (planned, done)
    assert "send    peft/adapter_model.safetensors (0." in planned[1]
    assert "optimizer" not in planned[1]
    files = hub.files("org/ears")
    assert set(files) >= PEFT
    assert not {"adapter_config.json", "adapter_model.safetensors", "optimizer.pt"} & set(files)
    assert json.loads(files["peft/adapter_config.json"].read())["base_model_name_or_path"] == BASE
    forms = json.dumps({"ears": [None, None, {}]})
    assert difference(ask(LOAD, forms, token=None)["ears"], logits(model)) < 1e-5
