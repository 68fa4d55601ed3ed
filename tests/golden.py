"""Loads the reference outputs of ../shared/golden: arrays, key list and the generated weights they belong to."""

import importlib.util
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from shared_data import shared_path


@dataclass(frozen=True)
class Golden:
    """One encoder's reference: `arrays[name]`, `spec` (its key list) and `salt`."""

    name: str
    arrays: Any
    spec: dict[str, Any]
    salt: str

    def __getitem__(self, key: str) -> torch.Tensor:
        return torch.from_numpy(self.arrays[key])

    @cached_property
    def state_dict(self) -> dict[str, torch.Tensor]:
        """The generated weights under their original names; formula-fixed entries included where they are stored."""
        state = {key: torch.from_numpy(value) for key, value in fill().state_dict(self.spec, self.salt).items()}
        stored = [key for key in self.arrays.files if key.startswith("const/")]
        return {**state, **{key.removeprefix("const/"): torch.from_numpy(self.arrays[key]) for key in stored}}

    def salted(self, salt: str) -> dict[str, torch.Tensor]:
        """The same entries filled with another salt (no reference outputs belong to it)."""
        values = fill().state_dict(self.spec, salt, check=False)
        return {key: torch.from_numpy(value) for key, value in values.items()}

    def sounds(self, key: str = "audio_pcm") -> list[np.ndarray]:
        """A stored int16 array `(items, samples)` as floats in [-1, 1]."""
        return list(self.arrays[key].astype(np.float32) / 32768)


def fill() -> ModuleType:
    """The folder's own `fill.py`."""
    path = shared_path("golden/fill.py")
    spec = importlib.util.spec_from_file_location("golden_fill", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_golden(name: str) -> Golden:
    """Read NAME.npz and NAME.keys.json; skips the test, naming the file, where one is absent."""
    arrays = np.load(shared_path(f"golden/{name}.npz"))
    spec = json.loads(Path(shared_path(f"golden/{name}.keys.json")).read_text())
    salt = json.loads(Path(shared_path("golden/meta.json")).read_text())["salt"]
    return Golden(name, arrays, spec, salt)


def assert_close(actual: torch.Tensor, expected: torch.Tensor, atol: float, what: str) -> None:
    """Shapes equal and the largest difference at most `atol`; the message has the figure."""
    assert actual.shape == expected.shape, f"{what}: shape {tuple(actual.shape)}, expected {tuple(expected.shape)}"
    difference = float((actual.detach().float() - expected.detach().float()).abs().max())
    assert difference <= atol, f"{what}: max difference {difference:.2e} > {atol:.0e}"
