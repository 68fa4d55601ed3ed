"""Where the shared reference data lies: golden vectors, real clips, real Whisper weights."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared"


def shared_path(name: str) -> Path:
    """A file of the shared reference data; the test is skipped, naming the file, where it is absent."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"reference data shared/{name} is not here")
    return path
