"""A clip, and a server of the folder that it is in."""

from __future__ import annotations

import http.server
import threading
from pathlib import Path

import pytest
from media_files import write_media

from soundclip_hf.media import limits


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("media")


@pytest.fixture(scope="module")
def mp4(folder: Path) -> Path:
    """75 numbered frames, two groups of pictures with B-frames, and a 440 Hz tone."""
    options = {"g": "40", "bf": "3"}
    return write_media(folder / "clip.mp4", video="libx264", audio="aac", video_options=options)


@pytest.fixture(scope="module")
def site(folder: Path):
    """Serves `folder`; /slow never answers."""
    release = threading.Event()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, directory=str(folder), **kwargs)

        def do_GET(self):
            if self.path == "/slow":
                release.wait(10)
                return
            super().do_GET()

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    allowed, limits.ALLOW_PRIVATE_ADDRESSES = limits.ALLOW_PRIVATE_ADDRESSES, True
    yield f"http://127.0.0.1:{server.server_port}"
    limits.ALLOW_PRIVATE_ADDRESSES = allowed
    release.set()
    server.shutdown()
    server.server_close()
