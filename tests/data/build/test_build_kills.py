"""kill -9 at every moment that matters, in every stage: nothing is lost, nothing is mixed, nothing is asked twice."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml
from ave2_build import Answering, long_videos, settings, values
from chat_server import chat_server
from processes import process_of_its_own

from soundclip_hf.data.ave2.tables import read_rows
from soundclip_hf.data.build.folder import BuildFolder
from soundclip_hf.data.build.local import prepare
from soundclip_hf.data.build.perform import is_done, perform, shards_of

pytest.importorskip("httpx")
MODULES = ("soundclip_hf.data.build.perform", "soundclip_hf.data.build.local")
STAGES = ("segment", "annotate", "judge", "subset", "shard")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    return folder, long_videos(folder, count=2, scenes=2)


def finish(config, stage):
    for shard in shards_of(config, stage):
        perform(shard, config, stage)


def result(out):
    return sorted(read_rows(out / "upload" / "data"), key=lambda row: row["sample_id"])


@pytest.fixture(scope="module")
def whole(world, tmp_path_factory):
    """What comes out if nobody is killed, and how often the server was asked."""
    folder, videos = world
    out = tmp_path_factory.mktemp("whole")
    with chat_server(Answering(videos)) as asked:
        config = settings(folder, out, asked.url)
        for stage in prepare(config, STAGES):
            finish(config, stage)
    return result(out), len(asked.bodies)


def die_at_rename(number, after, config, stage, shard):
    """In a process of its own: make a shard, and kill this process at the n-th file that gets its name."""
    rename, seen = os.replace, 0

    def replace(source, target, **options):
        nonlocal seen
        seen += 1
        if after and seen == number:
            rename(source, target, **options)
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)
        rename(source, target, **options)

    os.replace = replace
    perform(shard, config, stage)


def in_process(function, *arguments):
    child = process_of_its_own(function, *arguments, preload=MODULES)
    child.start()
    child.join(120)
    return child.exitcode


@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_every_rename(world, whole, tmp_path, stage):
    """A rename is what makes a file count, so these are all the states that a kill can leave behind."""
    folder, videos = world
    with chat_server(Answering(videos)) as asked:
        config = settings(folder, tmp_path, asked.url)
        for before in prepare(config, STAGES):
            if before == stage:
                break
            finish(config, before)
        kills = 0
        (shard, *_) = shards_of(config, stage)
        for number in range(1, 40):
            codes = [in_process(die_at_rename, number, after, config, stage, shard) for after in (False, True)]
            assert set(codes) <= {0, -signal.SIGKILL}
            kills += codes.count(-signal.SIGKILL)
            if codes == [0, 0]:
                break
            # What was killed made no shard that counts but is not whole.
            if (done := is_done(config, stage, shard)) is not None:
                assert number > 1
                assert BuildFolder(tmp_path).manifest(stage, shard) == done
            BuildFolder(tmp_path).forget(stage, shard)
        assert kills >= 4
        for after in STAGES[STAGES.index(stage) :]:
            finish(config, after)
        assert result(tmp_path) == whole[0]
        # Answers are kept outside of the shards: however often a stage dies, they are asked for once.
        assert len(asked.bodies) == whole[1]
    assert not list(tmp_path.rglob("*.begun"))


@pytest.mark.parametrize("stage", ["annotate", "judge"])
def test_killed_while_asking(world, whole, tmp_path, stage):
    """At most the questions that were under way are asked again."""
    folder, videos = world
    answering, victims = Answering(videos), []

    def reply(number, body):
        if victims and number == victims[0][1]:
            os.kill(victims[0][0].pid, signal.SIGKILL)
        return answering(number, body)

    with chat_server(reply) as asked:
        config = settings(folder, tmp_path, asked.url, videos_per_shard=2)
        for before in prepare(config, STAGES):
            if before == stage:
                break
            finish(config, before)
        child = process_of_its_own(perform, "00000", config, stage, preload=MODULES)
        victims.append((child, len(asked.bodies) + 3))
        child.start()
        child.join(60)
        assert child.exitcode == -signal.SIGKILL
        assert is_done(config, stage, "00000") is None
        for after in STAGES[STAGES.index(stage) :]:
            finish(config, after)
    assert result(tmp_path) == whole[0]
    under_way = 2 * 2  # connections to each of two servers
    assert whole[1] <= len(asked.bodies) <= whole[1] + under_way


def wait_for(condition, process, seconds=240.0):
    deadline = time.monotonic() + seconds
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    return process.poll() is None


def begun(out, stage):
    """Whether a worker is at a stage, by what it leaves while it works."""
    if stage == "segment":
        return any((out / "clips").glob(".*.begun"))
    if stage in ("annotate", "judge"):
        return (out / "answers" / f"{stage}.sqlite").exists()
    if stage == "subset":
        return any((out / "manifests" / "subset").glob("0*.json"))
    return (out / "upload").exists()


def workers_of(process):
    """The processes below the one that makes workers."""
    psutil = pytest.importorskip("psutil")
    family = psutil.Process(process.pid).children(recursive=True)
    makers = {child.pid for child in family if "forkserver" in " ".join(child.cmdline())}
    return [child for child in family if child.ppid() in makers]


def start(config):
    command = [
        sys.executable,
        "-c",
        "from soundclip_command import main; main()",
        "ave2",
        "build",
        "--config",
        str(config),
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def command(world, tmp_path):
    folder, videos = world
    answering = Answering(videos)

    def slowly(number, body):
        time.sleep(0.1)
        return answering(number, body)

    with chat_server(slowly) as asked:
        config = tmp_path / "build.yaml"
        config.write_text(yaml.safe_dump(values(folder, tmp_path / "out", asked.url)))
        yield config, asked


@pytest.mark.slow
def test_the_command_survives_the_kill_of_a_worker_in_every_stage(command, whole, tmp_path):
    config, asked = command
    process, killed = start(config), []
    for stage in STAGES:
        if not wait_for(lambda stage=stage: begun(tmp_path / "out", stage), process):
            break
        for worker in workers_of(process):
            worker.kill()
            killed.append(stage)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert {"segment", "annotate", "judge"} <= {*killed}
    assert result(tmp_path / "out") == whole[0]
    assert len(asked.bodies) <= whole[1] + 2 * 4


@pytest.mark.slow
def test_the_command_goes_on_after_its_own_kill_in_every_stage(command, whole, tmp_path):
    config, asked = command
    for stage in STAGES:
        process = start(config)
        if wait_for(lambda stage=stage: begun(tmp_path / "out", stage), process):
            workers = workers_of(process)
            process.kill()
            process.wait()
            deadline = time.monotonic() + 20
            while any(Path(f"/proc/{one.pid}").exists() for one in workers) and time.monotonic() < deadline:
                time.sleep(0.05)
        process.communicate()
    process = start(config)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert result(tmp_path / "out") == whole[0]
    assert len(asked.bodies) <= whole[1] + 2 * 4
    names = Counter(path.name.split(".")[-1] for path in (tmp_path / "out").rglob(".*") if path.is_file())
    assert names["partial"] == 0
