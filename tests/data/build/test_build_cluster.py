"""The stages through datatrove: its local executor, Slurm's script as Slurm would run it, and Ray."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ave2_build import Answering, long_videos, settings
from chat_server import chat_server

from soundclip_hf.data.ave2.tables import read_rows
from soundclip_hf.data.build.folder import BuildError, BuildFolder
from soundclip_hf.data.build.local import build, prepare

pytest.importorskip("httpx")
pytest.importorskip("datatrove")

from soundclip_hf.data.build.cluster import run_on_cluster
from soundclip_hf.data.build.datatrove_step import StageStep
from soundclip_hf.data.build.perform import is_done


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    return folder, long_videos(folder, count=2, scenes=1)


def test_datatrove_makes_what_the_local_runner_makes(world, tmp_path):
    folder, videos = world
    with chat_server(Answering(videos)) as asked:
        runs = {name: {"executor": name} for name in ("local", "datatrove")}
        configs = {name: settings(folder, tmp_path / name, asked.url, run=run) for name, run in runs.items()}
        list(build(configs["local"]))
        done = dict(run_on_cluster(configs["datatrove"]))
        assert [*done] == ["segment", "annotate", "judge", "subset", "shard"]
        count = len(asked.bodies)
        list(run_on_cluster(configs["datatrove"]))
        assert len(asked.bodies) == count
    tables = [list(read_rows(tmp_path / name / "upload" / "data")) for name in configs]
    assert tables[0] == tables[1]
    assert len(tables[0]) == 2


def test_tasks_share_the_shards(world, tmp_path):
    folder, _ = world
    config = settings(folder, tmp_path, "http://127.0.0.1:9/v1")
    prepare(config, ["segment"])
    assert list(StageStep(config, "segment").run(rank=1, world_size=2)) == []
    assert [is_done(config, "segment", name) is not None for name in ("00000", "00001")] == [False, True]


def stand_in_for_slurm(folder, monkeypatch):
    """`sbatch` says yes, and notes what it was asked."""
    programs = folder / "bin"
    programs.mkdir()
    queue = f'echo "$@" >> {folder}/submitted; echo Submitted batch job 77'
    for name, says in {"sbatch": queue, "scontrol": "echo localhost"}.items():
        (programs / name).write_text(f"#!/bin/sh\n{says}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")


def test_slurm_scripts(world, tmp_path, monkeypatch):
    """Slurm's programs are stand-ins that say yes; the scripts are real, and what they start is run as array tasks."""
    folder, _ = world
    stand_in_for_slurm(tmp_path, monkeypatch)
    options = {"partition": "cpu", "time": "1:00:00", "cpus_per_task": 3, "venv_path": "env/bin/activate"}
    run = {"executor": "slurm", "tasks": 8, "options": options}
    config = settings(folder, tmp_path / "out", "http://127.0.0.1:9/v1", run=run)
    queued = dict(run_on_cluster(config))
    assert [*queued] == ["segment", "annotate", "judge", "subset", "shard"]
    script = Path(queued["judge"]["script"]).read_text()
    for line in ("partition=cpu", "time=1:00:00", "cpus-per-task=3", "array=0-1", "job-name=ave2-judge"):
        assert f"#SBATCH --{line}\n" in script
    assert "source env/bin/activate" in script
    # Each stage waits for the one before it; the first waits for none.
    assert len(re.findall("afterok:77", (tmp_path / "submitted").read_text())) == 4
    (command,) = re.findall(r"launch_pickled_pipeline (.*)", Path(queued["segment"]["script"]).read_text())
    environment = {**os.environ, "SLURM_ARRAY_TASK_ID": "1", "SLURM_NODELIST": "localhost"}
    launcher = Path(sys.executable).with_name("launch_pickled_pipeline")
    subprocess.run([launcher, command], env=environment, cwd=tmp_path, check=True, capture_output=True)
    assert [row["youtube_id"] for row in read_rows(tmp_path / "out" / "segment")] == ["long1"]


@pytest.mark.slow
def test_the_launch_script_queues_all_stages(world, tmp_path, monkeypatch):
    stand_in_for_slurm(tmp_path, monkeypatch)
    script = Path(__file__).resolve().parents[3] / "scripts" / "slurm" / "build_ave2.sh"
    monkeypatch.setenv("VENV", str(Path(sys.executable).parents[1]))
    monkeypatch.setenv("TASKS", "2")
    command = ["bash", str(script), f"videos={world[0]}", f"out={tmp_path}/out", "videos_per_shard=1"]
    refused = subprocess.run(command, capture_output=True, text=True)
    assert "name a partition" in refused.stderr
    monkeypatch.setenv("PARTITION", "cpu")
    subprocess.run(command, check=True, capture_output=True)
    queued = (tmp_path / "out" / "logs" / "annotate" / "launch_script.slurm").read_text()
    for line in ("partition=cpu", "time=24:00:00", "array=0-1", "mem-per-cpu=2G"):
        assert f"#SBATCH --{line}\n" in queued
    assert len(re.findall("afterok:77", (tmp_path / "submitted").read_text())) == 4


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ({"executor": "slurm", "options": {}}, "Slurm needs partition and time"),
        ({"executor": "slurm", "options": {"partition": "a", "time": "1"}}, "there is no sbatch"),
        ({"executor": "datatrove", "options": {"partitions": 1}}, "partitions"),
    ],
)
def test_clusters_that_cannot_be_used(world, tmp_path, monkeypatch, run, words):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BuildError, match=words):
        list(run_on_cluster(settings(world[0], tmp_path, "http://127.0.0.1:9/v1", run=run)))


def test_a_failed_task_is_an_error(world, tmp_path):
    folder, videos = world
    with chat_server(Answering(videos)) as asked:
        config = settings(folder, tmp_path, asked.url, run={"executor": "datatrove"})
        list(run_on_cluster(config, stages=["segment"]))
        BuildFolder(tmp_path).forget("segment", "00001")
        with pytest.raises(BuildError, match="segment/00001 is missing"):
            list(run_on_cluster(config, stages=["annotate"]))


@pytest.mark.slow
def test_ray_runs_a_stage_with_two_workers(world, tmp_path):
    ray = pytest.importorskip("ray")
    folder, _ = world
    run = {"executor": "ray", "tasks": 2, "options": {"workers": 2, "mem_per_cpu_gb": 0.5}}
    config = settings(folder, tmp_path, "http://127.0.0.1:9/v1", run=run)
    try:
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        assert dict(run_on_cluster(config, stages=["segment"]))["segment"]["shards"] == 2
        assert len(list(read_rows(tmp_path / "segment"))) == 2
        assert len(list((tmp_path / "logs" / "segment" / "completions").iterdir())) == 2
    finally:
        ray.shutdown()
