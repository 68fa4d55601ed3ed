"""Two processes on CPUs train as one process with a batch of twice the size, also where one of them has no sound."""

import json
import os
import subprocess
import sys

import pytest
import torch
from media_files import pcm_wav
from safetensors.torch import load_file
from tiny_models import tiny_sound_llava
from tiny_processors import picture, sound, tiny_sound_processor

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model without dropout, and rows; of each four, the last two have neither sound nor picture."""
    root = tmp_path_factory.mktemp("distributed")
    model = tiny_sound_llava("llava")
    model.config.sound_config.projector_dropout = 0.0
    model.save_pretrained(root / "base")
    tiny_sound_processor("llava").save_pretrained(root / "base")
    picture().save(root / "a.png")
    rows = []
    for index in range(24):
        (root / f"{index}.wav").write_bytes(pcm_wav(sound(seed=index)[:, None], 16_000))
        media = {"image": "a.png", "audio": f"{index}.wav"} if index % 4 < 2 else {"image": None, "audio": None}
        rows.append({"question": f"What is {index}?", "answer": f"It is {index}.", **media})
    (root / "rows.json").write_text(json.dumps(rows))
    return root


def train(
    folder,
    out,
    *more,
    processes=1,
):
    command = [sys.executable, "-m", "soundclip_hf.training.finetuning"]
    if processes > 1:
        # On CPUs, it is this option that makes accelerate start several processes; with --cpu it starts one.
        launch = [sys.executable, "-m", "accelerate.commands.launch", "--num_machines", "1", "--multi_gpu"]
        launch += ["--num_processes", str(processes), "--main_process_port", "0", "--mixed_precision", "no"]
        command = [*launch, "-m", "soundclip_hf.training.finetuning"]
    values = {
        "model": folder / "base",
        "dataset": folder / "rows.json",
        "output_dir": out,
        "train_sampling_strategy": "sequential",
        "eval_rows": 2,
        "eval_answers": 0,
        "max_steps": 4,
        "save_steps": 2,
        "eval_strategy": "no",
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "lora_dropout": 0.0,
        "disable_tqdm": True,
        "use_cpu": True,
    }
    words = [str(word) for name, value in values.items() for word in (f"--{name}", value)]
    done = subprocess.run(
        [*command, *words, *map(str, more)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return [entry["loss"] for entry in json.loads((out / "curve.json").read_text()) if "loss" in entry]


@pytest.mark.parametrize("preset", ["projector", "lora+projector"])
def test_two_processes_give_the_losses_and_weights_of_one(folder, tmp_path, preset):
    options = ("--preset", preset)
    one = train(folder, tmp_path / "one", *options, "--per_device_train_batch_size", 4)
    two = train(folder, tmp_path / "two", *options, "--per_device_train_batch_size", 2, processes=2)
    assert one == pytest.approx(two, rel=1e-4)
    first, second = (load_file(tmp_path / name / "checkpoint-4" / "model.safetensors") for name in ("one", "two"))
    assert first.keys() == second.keys()
    for key, value in first.items():
        torch.testing.assert_close(value, second[key], rtol=1e-3, atol=1e-4)
