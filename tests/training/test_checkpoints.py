"""The folder of a run: who may write to it, also after a process was killed whose children live on."""

import logging
import os
import shutil
import signal
import subprocess
import sys

import pytest

from soundclip_hf.files import InUseError
from soundclip_hf.training.checkpoints import only_run

HOLD = """
import os, signal, sys, time
from pathlib import Path
from soundclip_hf.training.checkpoints import only_run
with only_run(Path(sys.argv[1])):
    child = os.fork()  # as a process that loads batches
    if child == 0:
        time.sleep(300)
    print(child, flush=True)
    signal.pause()
"""


def test_a_child_of_a_killed_run_does_not_keep_its_folder(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "out")], stdout=subprocess.PIPE, text=True)
    child = int(process.stdout.readline())
    try:
        with pytest.raises(InUseError), only_run(tmp_path / "out"):
            pass
        process.kill()
        process.wait()
        os.kill(child, 0)  # it is still there
        with only_run(tmp_path / "out"):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        process.stdout.close()


def test_a_run_that_goes_on_says_from_where(run, tmp_path, caplog):
    logging.getLogger("transformers").propagate = True
    words = ("--save_strategy", "epoch")
    with caplog.at_level(logging.WARNING, "transformers.soundclip_hf.training"):
        run(*words)
        assert "going on" not in caplog.text
        shutil.rmtree(tmp_path / "out" / "checkpoint-6")
        run(*words)
    said = [record.getMessage() for record in caplog.records if "going on" in record.getMessage()]
    assert said == [f"going on from checkpoint-3 (step 3 of 6) in {tmp_path / 'out'}"]
