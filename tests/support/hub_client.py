"""Code in, what it prints as JSON out: run as a client of a Hub, in a process and with a home of its own."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

# huggingface_hub reads its variables when it is imported, so each client is a new process. What takes long to import,
# and does not import huggingface_hub, is imported once, in a process from which the clients are forked.
MOTHER = """
import json, os, sys, traceback
import av, numpy, pandas, PIL.Image, pyarrow.dataset, pyarrow.parquet, soxr, torch, torch._dynamo
assert "huggingface_hub" not in sys.modules
for line in sys.stdin:
    asked = json.loads(line)
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(asked[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        os.environ.clear()
        os.environ.update(asked["environment"])
        sys.argv = ["-c", *asked["arguments"]]
        failed = 1
        try:
            exec(compile(asked["code"], "<client>", "exec"), {"__name__": "__main__"})
            failed = 0
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(failed)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def client(
    hub_url: str,
    home: Path,
    code: str,
    *arguments: object,
    token: str | None = "hf_alice",
    xet: bool = False,
    offline: bool = False,
) -> Any:
    """Run `code` with a Hub and a home of its own; what it prints last is JSON, and the result."""
    environment = {**os.environ, "HF_ENDPOINT": hub_url, "HF_HOME": str(home), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_XET"):
        environment.pop(name, None)
    if offline:
        environment["HF_HUB_OFFLINE"] = "1"
    if token is not None:
        environment["HF_TOKEN"] = token
    if not xet:
        environment["HF_HUB_DISABLE_XET"] = "1"
    home.mkdir(parents=True, exist_ok=True)
    stdout, stderr = home / "stdout.txt", home / "stderr.txt"
    asked = {"environment": environment, "code": code, "arguments": [*map(str, arguments)]}
    mother = _mother()
    assert mother.stdin is not None
    assert mother.stdout is not None
    mother.stdin.write(json.dumps(asked | {"stdout": str(stdout), "stderr": str(stderr)}) + "\n")
    mother.stdin.flush()
    assert mother.stdout.readline() == "0\n", stderr.read_text()[-4000:]
    return json.loads(stdout.read_text().splitlines()[-1])


@functools.cache
def _mother() -> subprocess.Popen[str]:
    """It ends with this process, when its input does."""
    return subprocess.Popen([sys.executable, "-c", MOTHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


__all__ = ["client"]
