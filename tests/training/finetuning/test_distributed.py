"""
Two processes on CPUs train as one process with a batch of twice the size, also where one of them has no sound: with a
copy of the model in each (DDP), and with the model sharded over them (FSDP 2).
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from media_files import pcm_wav
from safetensors.torch import load_file
from tiny_inputs import MIXED, build_inputs
from tiny_models import tiny_sound_llava
from tiny_processors import picture, sound, tiny_sound_processor
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

from soundclip_hf import SoundLlava
from soundclip_hf.training.finetuning.presets import LoraSettings, apply_preset

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]


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


def options(folder, out, *more):
    values = {
        "model": folder / "base",
        "dataset": folder / "rows.json",
        "output_dir": out,
        "train_sampling_strategy": "sequential",
        "eval_rows": 2,
        "eval_answers": 1,
        "max_new_tokens": 2,
        "max_steps": 4,
        "save_steps": 2,
        "eval_strategy": "no",
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "lora_dropout": 0.0,
        "disable_tqdm": True,
        "use_cpu": True,
    }
    return [str(word) for name, value in values.items() for word in (f"--{name}", value)] + [str(one) for one in more]


def start(command):
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("ACCELERATE_", "MASTER_"))}
    return subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        env={**environment, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        timeout=500,
    )


COMMAND = ("-m", "soundclip_hf.training.finetuning")
LAUNCH = ("-m", "accelerate.commands.launch", "--num_processes", 2, "--main_process_port", 0, "--mixed_precision", "no")
# On CPUs, it is this option that makes accelerate start several processes; with --cpu it starts one.
DDP = (*LAUNCH, "--num_machines", 1, "--multi_gpu", *COMMAND)
FSDP = (*LAUNCH, "--config_file", ROOT / "configs" / "accelerate" / "fsdp2.yaml")
ON_CPUS = ROOT / "tests" / "support" / "cpu_fsdp.py"


def train(folder, out, *more, command=COMMAND):
    done = start([*command, *options(folder, out, *more)])
    assert done.returncode == 0, done.stderr[-4000:]
    if ON_CPUS in command:
        assert "sharded: Embedding Linear LlamaDecoderLayer SoundLlavaForConditionalGeneration" in done.stderr
    return [entry["loss"] for entry in json.loads((out / "curve.json").read_text()) if "loss" in entry]


@pytest.fixture(scope="module")
def one_process(folder, tmp_path_factory):
    """The losses and the folder of a run in one process, with all rows of a step in one batch."""
    done = {}

    def run(preset):
        if preset not in done:
            out = tmp_path_factory.mktemp("one")
            done[preset] = train(folder, out, "--preset", preset, "--per_device_train_batch_size", 4), out
        return done[preset]

    return run


@pytest.mark.parametrize("preset", ["projector", "lora+projector"])
def test_two_processes_give_the_losses_and_weights_of_one(folder, tmp_path, one_process, preset):
    one, single = one_process(preset)
    two = train(folder, tmp_path, "--preset", preset, "--per_device_train_batch_size", 2, command=DDP)
    assert one == pytest.approx(two, rel=1e-4)
    first, second = (load_file(out / "checkpoint-4" / "model.safetensors") for out in (single, tmp_path))
    assert first.keys() == second.keys()
    for key, value in first.items():
        torch.testing.assert_close(value, second[key], rtol=1e-3, atol=1e-4)


def logits(out):
    model = SoundLlava.from_pretrained(out).eval()
    with torch.no_grad():
        return model(**build_inputs(model, MIXED[:3])).logits


@pytest.mark.parametrize("preset", ["lora+projector", "projector+mm_projector", "full-lm"])
def test_a_sharded_run_gives_the_losses_of_one_process_and_what_it_saves_loads_in_one(
    folder, tmp_path, one_process, preset
):
    one, single = one_process(preset)
    more = ("--preset", preset, "--per_device_train_batch_size", 2)
    two = train(folder, tmp_path, *more, command=(*FSDP, ON_CPUS))
    assert one == pytest.approx(two, rel=1e-4)
    torch.testing.assert_close(logits(tmp_path), logits(single), rtol=0, atol=1e-3)
    for out in (single, tmp_path):
        architectures = json.loads((out / "config.json").read_text())["architectures"]
        assert architectures == ["SoundLlavaForConditionalGeneration"]
    kept = load_file(tmp_path / "checkpoint-4" / "model.safetensors")
    assert kept.keys() == load_file(single / "checkpoint-4" / "model.safetensors").keys()


def test_a_checkpoint_in_shards_is_resumed_and_read_in_one_process(folder, tmp_path):
    command = (*FSDP, "--fsdp_state_dict_type", "SHARDED_STATE_DICT", ON_CPUS)
    more = ("--preset", "lora+projector", "--per_device_train_batch_size", 2)
    train(folder, tmp_path, *more, command=command)
    whole = logits(tmp_path)
    last = tmp_path / "checkpoint-4"
    dcp_to_torch_save(last / "pytorch_model_fsdp_0", tmp_path / "whole.pt")
    state = torch.load(tmp_path / "whole.pt")["model"]
    model = SoundLlava.from_pretrained(folder / "base")
    apply_preset(model, "lora+projector", LoraSettings(dropout=0.0))
    model.load_state_dict(state)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(**build_inputs(model, MIXED[:3])).logits, whole, rtol=0, atol=1e-5)

    shutil.rmtree(last)
    path = tmp_path / "checkpoint-2" / "trainer_state.json"
    history = json.loads(path.read_text())
    history["log_history"][0]["loss"] = 99.0  # a mark: this is what the run goes on from
    path.write_text(json.dumps(history))
    assert train(folder, tmp_path, *more, command=command)[0] == 99
    torch.testing.assert_close(logits(tmp_path), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        # On CPUs accelerate would train as DDP does.
        ((*FSDP, *COMMAND), "error: FSDP: accelerate shards a model over GPUs alone"),
        # It starts one process.
        ((*FSDP, "--cpu", *COMMAND), "error: accelerate launch: was asked for several processes and started one"),
    ],
)
def test_less_than_was_asked_for_is_refused(folder, tmp_path, command, message):
    done = start([*command, *options(folder, tmp_path / "out")])
    assert done.returncode
    assert message in done.stderr
    assert not (tmp_path / "out").exists()
