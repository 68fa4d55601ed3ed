"""Jobs survive workers that are killed, and workers do not survive their parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from soundclip_hf.data.pool import Crashed, run


def square(number):
    return number * number


def dies_once(marker):
    """Kill the worker the first time, and whenever the marker says so."""
    path = Path(marker)
    if path.name.startswith("always"):
        os.kill(os.getpid(), signal.SIGKILL)
    if path.name.startswith("once") and not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return path.name


def noted(path):
    """Leave a line for each call; the worker of "dies" is killed the first time, while "long" is running."""
    path = Path(path)
    with path.open("a") as file:
        file.write("called\n")
    while path.name == "dies" and not path.with_name("long").exists():
        time.sleep(0.01)
    if path.name == "dies" and len(path.read_text().splitlines()) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    while path.name == "long" and not path.with_name("after").exists():
        time.sleep(0.01)


def fails(number):
    raise ValueError(f"job {number}")


def test_all_jobs_are_done_once():
    assert sorted(run(square, range(20), 2)) == [(number, number**2) for number in range(20)]
    assert list(run(square, [], 2)) == []


def test_a_killed_worker_costs_nothing(tmp_path):
    jobs = [str(tmp_path / name) for name in ("a", "once1", "b", "c", "once2", "d")]
    assert sorted(run(dies_once, jobs, 2)) == sorted((job, Path(job).name) for job in jobs)


def test_a_killed_worker_costs_its_own_job_alone(tmp_path):
    jobs = [str(tmp_path / name) for name in ("long", "dies", "after", "more")]
    done = [Path(job).name for job, _ in run(noted, jobs, 2)]
    assert len(done) == 4
    assert done[-1] == "dies"
    calls = {path.name: len(path.read_text().splitlines()) for path in tmp_path.iterdir()}
    assert calls == {"long": 1, "dies": 2, "after": 1, "more": 1}


def test_a_job_that_always_kills_its_worker_is_given_up_alone(tmp_path):
    jobs = [str(tmp_path / name) for name in ("a", "always", "b", "c")]
    done = dict(run(dies_once, jobs, 2))
    assert isinstance(done.pop(jobs[1]), Crashed)
    assert done == {job: Path(job).name for job in jobs if job != jobs[1]}


def test_an_exception_reaches_the_caller():
    with pytest.raises(ValueError, match="job 0"):
        list(run(fails, range(3), 1))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent(tmp_path, number):
    """With a signal that reaches the parent alone, and in the middle of long jobs."""
    code = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_pool import sleeper
from soundclip_hf.data.pool import run
list(run(sleeper, [{str(tmp_path)!r}] * 2, 2))
"""
    parent = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 300
    while len(pids := [int(path.name) for path in tmp_path.iterdir()]) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    parent.send_signal(number)
    parent.wait(50)  # the jobs take 600 s
    assert len(pids) == 2
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


SLOW_MODULE = """
import os, time
from pathlib import Path
here = Path(__file__).parent
if "SERVER" in os.environ:  # in the server, which the parent starts after it has imported this module itself
    (here / "importing").touch()
    time.sleep(60)
def job(number):
    pass
"""
SLOW_PARENT = """
import os, sys
sys.path[:0] = [{folder!r}, {tests!r}]
import slow_module, test_pool
from soundclip_hf.data.pool import run
try:
    if {importing}:
        os.environ["SERVER"] = "1"
        list(run(slow_module.job, [0, 1], 2))
    else:
        list(run(test_pool.sleeper, [{folder!r}] * 2, 2))
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("importing", [True, False], ids=["while the server imports", "while workers work"])
@pytest.mark.parametrize("whole_group", [True, False], ids=["of the terminal", "of the parent alone"])
def test_ctrl_c_says_nothing_and_ends_all_processes(tmp_path, importing, whole_group):
    """As a terminal sends it, to every process of the group: no worker may write a traceback over the error."""
    (tmp_path / "slow_module.py").write_text(SLOW_MODULE)
    code = SLOW_PARENT.format(folder=str(tmp_path), tests=str(Path(__file__).parent), importing=importing)
    # The server does not take over the path of its parent.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    parent = subprocess.Popen(
        [sys.executable, "-c", "import soundclip_command\n" + code],
        stderr=subprocess.PIPE,
        start_new_session=True,
        env=environment,
    )
    deadline = time.monotonic() + 120
    begun = (lambda path: path.name == "importing") if importing else (lambda path: path.name.isdigit())
    while sum(map(begun, tmp_path.iterdir())) < (1 if importing else 2) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)
    (os.killpg if whole_group else os.kill)(parent.pid, signal.SIGINT)
    # It ends when the last process has closed it: those that import or work would hold it for a minute and more.
    _, said = parent.communicate(timeout=45)
    assert (parent.returncode, said) == (130, b"")


def sleeper(folder):
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(600)
