"""The folder of a fine-tuning, published with what was trained and the answers before and after; loaded elsewhere."""

import json

import pytest
import torch
from hub_models import write_adapter, write_parts
from huggingface_hub import ModelCard
from tiny_models import tiny_sound_llava
from tiny_processors import tiny_sound_processor

from soundclip_hf.evaluation.results import EvalResult
from soundclip_hf.publishing.finetuning_card import after_training, answers_table, finetuning_settings, is_finetuning
from soundclip_hf.publishing.model_card import public_result

START = """
import torch
import soundclip_hf
from hub_models import SAMPLES
from soundclip_hf import SoundLlava
from soundclip_hf.publishing.model_push import push_model
from soundclip_hf.training.finetuning.arguments import read_arguments
from soundclip_hf.training.finetuning.run import finetune
from tiny_inputs import build_inputs

def logits(model):
    with torch.no_grad():
        return model(**build_inputs(model, SAMPLES)).logits[:, -1].tolist()

def tune(model, out, *more):
    values = {"model": model, "dataset": "synthetic", "output_dir": out, "eval_rows": 12, "eval_answers": 3}
    values |= {"max_new_tokens": 3, "per_device_train_batch_size": 3, "max_steps": 4, "save_steps": 2}
    values |= {"eval_strategy": "no", "learning_rate": 0.01, "logging_steps": 4, "disable_tqdm": True, "use_cpu": True}
    words = [word for name, value in values.items() for word in (f"--{name}", str(value))]
    finetune(*read_arguments([*words, *more]))
"""
RUN = (
    START
    + """
from contextlib import redirect_stdout
ears, whole, out = sys.argv[1:]
with redirect_stdout(sys.stderr):
    push_model(ears, "org/ears")
    tune("org/ears", out + "/lora", "--lora_r", "4", "--push_to_hub", "true", "--hub_model_id", "org/lora")
    tune("org/ears", out + "/full", "--preset", "full-lm", "--eval_alignments", "projected,raw")
    push_model(out + "/full", "org/full", license="mit")
    again = push_model(out + "/lora", "org/lora")
    options = ["--push_to_hub", "true", "--hub_model_id", "org/own", "--hub_token", "hf_reader"]
    own = attempt(tune, "org/ears", out + "/own", *options)
    refused = attempt(tune, whole, out + "/local", "--push_to_hub", "true", "--hub_model_id", "org/local")
expected = {name: logits(SoundLlava.from_pretrained(f"{out}/{name}").eval()) for name in ("lora", "full")}
print(json.dumps([expected, again.sent, own, refused]))
"""
)
LOAD = (
    START
    + """
from transformers import AutoModelForMultimodalLM, AutoProcessor
out = {}
for name in ("lora", "full", "ears"):
    AutoProcessor.from_pretrained(f"org/{name}")
    out[name] = logits(AutoModelForMultimodalLM.from_pretrained(f"org/{name}"))
print(json.dumps(out))
"""
)
WEIGHTS = {
    "lora": {"soundclip_adapter.safetensors", "peft/adapter_model.safetensors"},
    "full": {"model.safetensors"},
}
STAYS = {"before.json", "finetuning.json", "curve.json", "training_args.bin"}


def test_a_finetuning_is_published(hub, ask, tmp_path):
    pytest.importorskip("peft")
    write_parts(hub, tmp_path)
    whole = tmp_path / "whole"
    tiny_sound_llava("llava").save_pretrained(whole)
    tiny_sound_processor("llava").save_pretrained(whole)
    expected, again, own, refused = ask(RUN, write_adapter(tmp_path / "ears", measured=False), whole, tmp_path)
    found = ask(LOAD, token=None)
    for name in WEIGHTS:
        assert torch.allclose(torch.tensor(found[name]), torch.tensor(expected[name]), atol=1e-5), name
        # The training has changed the model, and what it has changed is there.
        assert not torch.allclose(torch.tensor(found[name]), torch.tensor(found["ears"]), atol=1e-3), name
    assert again == {}  # the folder is what --push_to_hub has published
    assert own.startswith("HubAccessError: org/own: the token may not write")
    assert "is a folder of this machine, and the adapter could be loaded nowhere else" in refused
    for name in ("own", "local"):
        assert not (tmp_path / name / "before.json").exists()  # said before anything is measured or trained

    for name, own in WEIGHTS.items():
        files = hub.files(f"org/{name}")
        assert set(files) >= {"config.json", "processor_config.json", "tokenizer.json", "README.md", "answers.json"}
        assert {path for path in files if path.endswith(".safetensors")} == own
        # What stays on this machine is in no commit, the earlier ones included.
        sha = hub.revisions[f"org/{name}"]["main"]
        while sha is not None:
            pushed = set(hub.commits[sha].files)
            assert not pushed & STAYS
            assert not [path for path in pushed if "checkpoint" in path]
            sha = hub.commits[sha].parent
        for path, content in files.items():
            assert str(tmp_path).encode() not in content.read(), (name, path)

    card = hub.files("org/lora")["README.md"].read().decode()
    assert "from [org/ears](https://huggingface.co/org/ears), preset `lora+projector`: it trains LoRA layers in" in card
    for row in ("| dataset | synthetic |", "| steps | 4 |", "| learning_rate | 0.01 |", "| lora_r | 4 |"):
        assert f"\n{row}\n" in card
    assert "does not say what the weights" not in card
    assert "was not trained with sounds" not in card
    measured = EvalResult.load(tmp_path / "lora" / "answers.json")
    assert f"\n| exact (projected) | {cell(measured, 'before')} | {cell(measured, 'after')} |\n" in card
    scores = {one.metric_type: one for one in ModelCard(card).data.eval_results}
    assert set(scores) == {f"projected.{name}" for name in measured.metrics["after"]["projected"]}
    assert scores["projected.exact"].metric_value == measured.metrics["after"]["projected"]["exact"]
    assert scores["projected.exact"].metric_args["n"] == 3

    card = hub.files("org/full")["README.md"].read().decode()
    assert "it trains every weight of the language model, and nothing else" in card
    assert "was not trained with sounds" not in card
    assert "lora_r" not in card
    assert {one.metric_type for one in ModelCard(card).data.eval_results} >= {"projected.exact", "raw.exact"}


def cell(result, side):
    value, pair = result.numbers()[f"{side}.projected.exact"], result.interval(f"{side}.projected.exact")
    return f"{value:.4g}" + (f" ({pair[0]:.4g} – {pair[1]:.4g})" if pair else "")


RESULT = {
    "task": "question answering",
    "model": "out",
    "dataset": "data/rows.jsonl, held-out rows of train",
    "n": 64,
    "seed": 0,
    "metrics": {
        "before": {"projected": {"exact": 0.125, "rouge_l": 0.25}},
        "after": {"projected": {"exact": 0.5}, "raw": {"exact": 0.0}, "audit": {"audit_hears": 0.75}},
        "rows_left_out": 2,
        "steps": 10,
        "eval_loss": float("nan"),
    },
    "error_bars": {
        "before": {"projected": {"exact": [0.0625, 0.1875]}},
        "after": {"projected": {"exact": [0.25, 0.75]}},
    },
    "config": {
        **{"preset": "projector", "model": "/home/me/ears", "media_folder": "../media", "dataset": "data/rows.jsonl"},
        **{"lora_r": 16, "max_steps": 10, "num_train_epochs": 1.0, "streaming": False, "quantization": "none"},
    },
}


def test_answers_before_and_after():
    result = EvalResult(**RESULT)
    assert is_finetuning(result)
    assert answers_table(result) == [
        {"name": "exact (projected)", "before": "0.125 (0.0625 – 0.1875)", "after": "0.5 (0.25 – 0.75)"},
        {"name": "rouge_l (projected)", "before": "0.25", "after": "–"},
        {"name": "exact (raw)", "before": "–", "after": "0"},
        {"name": "audit_hears", "before": "–", "after": "0.75"},
    ]
    (model,) = after_training(result).to_model_index()  # a loss that is no number does not matter there
    metrics = {one["name"]: (one["value"], one["args"].get("interval_95")) for one in model["results"][0]["metrics"]}
    assert metrics == {"projected.exact": (0.5, [0.25, 0.75]), "raw.exact": (0.0, None)}


def test_settings_without_paths_of_this_machine():
    result = public_result(EvalResult(**RESULT), "org/ears")
    assert (result.config["model"], result.config["media_folder"]) == ("ears", "media")
    assert result.dataset == "rows.jsonl, held-out rows of train"
    about = finetuning_settings(result)
    assert about["meaning"] == "the sound's projector"
    assert not about["trains_llm"]
    # No LoRA, no epochs beside steps, nothing that is off.
    assert about["rows"] == {
        "dataset": "rows.jsonl",
        "steps": "10",
        "loss on held-out rows": "–",
        "rows that could not be used": "2",
    }


@pytest.mark.parametrize("metrics", [{"before": 1.0, "after": {}}, {"after": {}}])
def test_other_results_are_no_finetunings(metrics):
    assert not is_finetuning(EvalResult(**{**RESULT, "metrics": metrics}))


def test_settings_of_others_stay_text():
    config = {**RESULT["config"], "preset": "a`|[b](c)", "optim": "<script>"}
    about = finetuning_settings(EvalResult(**{**RESULT, "config": config}))
    assert about["preset"] == "a'&#124;&#91;b](c)"
    assert about["meaning"] is None
    assert "<" not in json.dumps(about)
