"""Fixtures: tiny random models of both LLaVA variants, a tokenizer made on the spot, and the shared reference data."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from pathlib import Path

import pytest
import torch

SHARED = Path(__file__).resolve().parents[1].parent / "shared"


def shared_path(name: str) -> Path:
    """A file of the shared reference data; the test is skipped, naming the file, where it is absent."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"reference data shared/{name} is not here")
    return path


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
