"""kill -9 of a fine-tuning, at its steps and within its files: the same command goes on to the same weights."""

import json
import os
import subprocess
import sys

import pytest
from safetensors.torch import load_file
from tiny_models import tiny_sound_llava
from tiny_processors import tiny_sound_processor

# Each run is the command line in a process of its own, which is forked from one that has imported everything.
DRIVER = """
import json, os, signal, sys
from pathlib import Path
import torch
from soundclip_hf.cli import app
from soundclip_hf.training.finetuning import run, trainer
from transformers.trainer_callback import TrainerState

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def killed_in(owner, name, which, moment, path_of):
    # At the call of this number: before it, after it, or with half of its file on the disk.
    stock, seen = getattr(owner, name), 0
    def counted(*given, **options):
        nonlocal seen
        seen += 1
        if (seen, moment) == (which, "before"):
            die()
        answer = stock(*given, **options)
        if seen == which:
            if moment == "half":
                path = path_of(*given)
                os.truncate(path, os.path.getsize(path) // 2)
            die()
        return answer
    setattr(owner, name, counted)

PLACES = {
    "step": (trainer.FinetuningTrainer, "training_step", None),
    "weights": (trainer, "save_file", lambda tensors, path: path),
    "torch": (torch, "save", lambda values, path, *_: path),
    "state": (TrainerState, "save_to_json", lambda state, path: path),
    "measured": (run, "write_text", None),
    "replace": (os, "replace", None),
}

def child(options, place=None, which=0, moment=None):
    number = os.fork()
    if number == 0:
        try:
            if place is not None:
                owner, name, path_of = PLACES[place]
                killed_in(owner, name, which, moment, path_of)
            app(["finetune", *options], standalone_mode=False)
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])

found = []
for kills, options in json.loads(sys.argv[1]):
    codes = [child(options, *kill) for kill in kills]
    found.append([*codes, child(options)])
print(json.dumps(found))
"""
# torch.save writes four files of a checkpoint: the settings, the optimizer, the scheduler and the random numbers.
OPTIMIZER, RANDOM = 2, 4
CASES = {"in a checkpoint": [("torch", 4 + OPTIMIZER, "half")]}
MORE = {
    "in a step after a checkpoint": [("step", 4, "after")],
    "in what comes out": [("replace", 3, "before")],
    "before the first checkpoint": [("step", 2, "before")],
    "in the first measurement": [("measured", 1, "before")],
    "in the first checkpoint": [("torch", OPTIMIZER, "half")],
    "in the weights": [("weights", 2, "half")],
    "after the weights": [("weights", 2, "after")],
    "in the random numbers": [("torch", 4 + RANDOM, "half")],
    "before the state": [("state", 2, "before")],
    "in the state": [("state", 2, "half")],
    "after a checkpoint": [("state", 2, "after")],
    "in the model that comes out": [("replace", 4, "after")],
    "again and again": [("step", 2, "before"), ("weights", 1, "half"), ("step", 4, "before"), ("state", 1, "before")],
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    tiny_sound_llava("llava").save_pretrained(folder)
    tiny_sound_processor("llava").save_pretrained(folder)
    return folder


def options(base, out):
    """Dropout, shuffled rows and a process that loads them: everything that draws random numbers."""
    values = {
        "model": base,
        "dataset": "synthetic",
        "output_dir": out,
        "eval_rows": 6,
        "eval_answers": 2,
        "eval_audit": 2,
        "max_new_tokens": 2,
        "per_device_train_batch_size": 2,
        "per_device_eval_batch_size": 6,
        "max_steps": 5,
        "save_steps": 2,
        "eval_steps": 3,
        "learning_rate": 1e-2,
        "lora_dropout": 0.3,
        "logging_steps": 1,
        "dataloader_num_workers": 1,
        "use_cpu": True,
    }
    return [str(word) for name, value in values.items() for word in (f"--{name}", value)]


def results(folder):
    """The trained weights, of the last checkpoint and as they came out, and the losses."""
    checkpoint = load_file(folder / "checkpoint-5" / "model.safetensors")
    files = {
        name: (folder / name).read_bytes()
        for name in ("soundclip_adapter.safetensors", "peft/adapter_model.safetensors")
    }
    history = json.loads((folder / "curve.json").read_text())
    losses = [(entry["step"], entry["loss"]) for entry in history if "loss" in entry]
    assert [step for step, _ in losses] == [1, 2, 3, 4, 5]
    scores = json.loads((folder / "answers.json").read_text())["metrics"]
    return {key: value.numpy().tobytes() for key, value in checkpoint.items()}, files, losses, scores


def check(base, tmp_path, cases):
    runs = [([], options(base, tmp_path / "whole"))]
    runs += [(kills, options(base, tmp_path / name.replace(" ", "-"))) for name, kills in cases.items()]
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps(runs)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    codes = json.loads(done.stdout.splitlines()[-1])
    assert codes[0] == [0], done.stderr[-4000:]
    expected = results(tmp_path / "whole")
    for (name, kills), found in zip(cases.items(), codes[1:], strict=True):
        assert found == [-9] * len(kills) + [0], (name, done.stderr[-4000:])
        assert results(tmp_path / name.replace(" ", "-")) == expected, name


def test_a_run_that_is_killed_goes_on_to_the_same_weights(base, tmp_path):
    check(base, tmp_path, CASES)


@pytest.mark.slow
def test_killed_at_more_moments(base, tmp_path):
    check(base, tmp_path, MORE)
