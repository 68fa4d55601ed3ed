"""scripts/slurm/finetune.sh: what it asks of Slurm, and what it starts; Slurm's programs are stand-ins."""

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_models import tiny_sound_llava
from tiny_processors import tiny_sound_processor

from soundclip_hf import SoundLlava

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "slurm" / "finetune.sh"


def programs(folder, srun="exit 1"):
    """An environment in which Slurm's programs are stand-ins that note what they are asked."""
    (folder / "bin").mkdir()
    texts = {
        "sbatch": f'printf "%s\\n" "$@" > {folder}/sbatch',
        "scontrol": f'echo "$@" >> {folder}/scontrol; [[ $1 != show ]] || printf "localhost\\nother\\n"',
        "srun": srun.format(folder=folder),
    }
    for name, text in texts.items():
        (folder / "bin" / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / "bin" / name).chmod(0o755)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "ACCELERATE_"))}
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {**kept, "PATH": path, "VENV": str(Path(sys.executable).parents[1])}


def job(environment, **more):
    """The environment inside a job."""
    return {**environment, "SLURM_JOB_ID": "77", "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_JOB_NUM_NODES": "2", **more}


def test_bash_reads_it():
    subprocess.run(["bash", "-n", SCRIPT], check=True)


def test_it_queues_itself(tmp_path):
    environment = programs(tmp_path)
    command = ["bash", SCRIPT, "--config", "finetune/llava-1.5-7b-full", "--run_name", "two words"]
    refused = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert refused.returncode
    assert "name a partition" in refused.stderr
    asked = {**environment, "PARTITION": "gpu", "NODES": "2", "GPUS": "4", "CPUS": "10", "TIME": "2:00:00"}
    subprocess.run(command, check=True, cwd=tmp_path, env=asked)
    words = (tmp_path / "sbatch").read_text().splitlines()
    for option in ("partition=gpu", "nodes=2", "ntasks-per-node=1", "gpus-per-node=4", "cpus-per-task=40"):
        assert f"--{option}" in words
    assert {"--requeue", "--open-mode=append", "--time=2:00:00", "--signal=B:USR1@300"} <= set(words)
    assert words[-5:] == [str(SCRIPT), *command[2:]]
    assert (tmp_path / "logs").is_dir()  # Slurm does not make the folder of --output


def test_each_node_is_told_its_place(tmp_path):
    environment = programs(tmp_path, 'while [[ "$1" == --* ]]; do shift; done\nSLURM_NODEID=1 exec "$@"')
    (tmp_path / "bin" / "python").write_text(f'#!/bin/bash\nprintf "%s\\n" "$@" > {tmp_path}/launched\n')
    (tmp_path / "bin" / "python").chmod(0o755)
    subprocess.run(
        ["bash", SCRIPT, "--run_name", "two words"], check=True, env=job(environment, VENV=str(tmp_path), GPUS="4")
    )
    words = (tmp_path / "launched").read_text().splitlines()
    told = dict(itertools.pairwise(words))
    assert told["--config_file"] == str(SCRIPT.parents[2] / "configs" / "accelerate" / "fsdp2.yaml")
    assert (told["--num_machines"], told["--num_processes"], told["--machine_rank"]) == ("2", "8", "1")
    assert (told["--main_process_ip"], told["--main_process_port"]) == ("localhost", "20077")
    assert words[-2:] == ["--run_name", "two words"]


@pytest.mark.slow
def test_two_nodes_train_together(tmp_path):
    tiny_sound_llava("llava").save_pretrained(tmp_path / "base")
    tiny_sound_processor("llava").save_pretrained(tmp_path / "base")
    both = (
        'while [[ "$1" == --* ]]; do shift; done\n'
        'SLURM_NODEID=1 "$@" & other="$!"\nSLURM_NODEID=0 "$@" && wait "$other"'
    )
    values = {
        "model": tmp_path / "base",
        "dataset": "synthetic",
        "output_dir": tmp_path / "out",
        "eval_rows": 4,
        "eval_answers": 0,
        "eval_strategy": "no",
        "max_steps": 2,
        "per_device_train_batch_size": 2,
        "use_cpu": "true",
    }
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    done = subprocess.run(
        ["bash", SCRIPT, *(str(word) for name, value in values.items() for word in (f"--{name}", value))],
        capture_output=True,
        text=True,
        env=job(
            programs(tmp_path, both),
            GPUS="1",  # one process in each node
            ACCELERATE_CONFIG=str(SCRIPT.parents[2] / "configs" / "accelerate" / "ddp.yaml"),
            MAIN_PORT=str(port),
            OMP_NUM_THREADS="1",
        ),
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "2 process(es), 2 row(s) of each in a step" in done.stderr
    assert json.loads((tmp_path / "out" / "finetuning.json").read_text())["batch_size"] == 4
    SoundLlava.from_pretrained(tmp_path / "out")


def test_before_the_time_is_up_it_is_queued_again(tmp_path):
    environment = programs(tmp_path, "touch {folder}/started; exec sleep 60")
    process = subprocess.Popen(["bash", SCRIPT], env=job(environment), start_new_session=True)
    try:
        while not (tmp_path / "started").exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGUSR1)
        process.wait(timeout=30)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
    assert (tmp_path / "scontrol").read_text().splitlines()[-1] == "requeue 77"


def test_a_training_that_fails_fails_the_job(tmp_path):
    environment = programs(tmp_path, "exit 3")
    assert subprocess.run(["bash", SCRIPT], env=job(environment)).returncode == 3
