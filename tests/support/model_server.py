"""`soundclip serve` in a process of its own, and a server of a folder for the URLs of its requests."""

from __future__ import annotations

import http.server
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# As the console script starts.
SERVE = [sys.executable, "-c", "from soundclip_command import main; main()", "serve"]
SECONDS = 120


class ModelServer:
    """A server on a free port; `url` is what an OpenAI client calls its base."""

    def __init__(self, *arguments: object, private_addresses: bool = True) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        environment["SOUNDCLIP_ALLOW_PRIVATE_ADDRESSES"] = str(int(private_addresses))
        # A file and not a pipe, which would be full at some time.
        self.log = tempfile.NamedTemporaryFile("w+", suffix=".log")  # noqa: SIM115
        command = [*SERVE, *map(str, arguments), "--port", "0"]
        # A shell lets jobs in its background ignore Ctrl-C.
        self.process = subprocess.Popen(
            command, stdout=self.log, stderr=self.log, env=environment, preexec_fn=_heed_interrupts
        )
        self.url = self._address()

    def _address(self) -> str:
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            for line in self.text().splitlines():
                if " answers at " in line:
                    return line.partition(" answers at ")[2].split()[0]
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        self.process.kill()
        raise RuntimeError(f"no server: {self.text()}")

    def text(self) -> str:
        """What it printed."""
        return Path(self.log.name).read_text()

    def interrupt(self) -> int:
        """Ctrl-C; returns the exit code."""
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(SECONDS)
        finally:
            self.process.kill()


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def file_server(folder: Path) -> Iterator[str]:
    """Serves `folder` on this machine; yields the address."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, directory=str(folder), **kwargs)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


__all__ = ["SERVE", "ModelServer", "file_server"]
