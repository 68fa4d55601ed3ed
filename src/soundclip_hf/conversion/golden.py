"""Reads golden vectors: an encoder's generated weights and its reference outputs, to compare with."""

import importlib.util
import json
import math
import os
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

# Which files hold vectors of which encoder of `ORIGINS`. For `msclap` there are none.
GOLDEN: dict[str, tuple[str, ...]] = {
    "imagebind": ("imagebind",),
    "audioclip": ("audioclip",),
    "wav2clip": ("wav2clip",),
    "clap": ("clap_htsat_unfused", "clap_larger_general"),
    "whisper": ("whisper",),
}
# Two that were made from one recording store it once.
_SOUNDS_OF = {"clap_larger_general": "clap_htsat_unfused"}


@dataclass(frozen=True)
class Comparison:
    """
    What became of one reference array.

    Attributes:
        golden: Name of the files.
        array: Name of the array, with the part of it that was compared where that is not all.
        difference: The largest absolute one; infinite for another shape, NaN for values that are none.
        atol: What is allowed: `atol + rtol * |expected|`.
        remark: What a reader must know to judge the tolerance.
    """

    golden: str
    array: str
    difference: float
    atol: float
    rtol: float
    ok: bool
    remark: str = ""

    @property
    def tolerance(self) -> str:
        return f"{self.atol:.0e}" + (f" + {self.rtol:.0e}|x|" if self.rtol else "")

    def __str__(self) -> str:
        text = f"{self.golden} {self.array}: max difference {self.difference:.2e}, tolerance {self.tolerance}"
        return f"{text} ({self.remark})" if self.remark else text

    def to_dict(self) -> dict[str, Any]:
        """For JSON, which has no number for what is not finite."""
        return {**asdict(self), "difference": self.difference if math.isfinite(self.difference) else None}


@dataclass(frozen=True)
class Golden:
    """One encoder's reference: `arrays[name]`, `spec` (its key list) and `salt`."""

    name: str
    folder: Path
    arrays: Any
    spec: dict[str, Any]
    salt: str

    def __getitem__(self, key: str) -> Tensor:
        return torch.from_numpy(self.arrays[key])

    def __contains__(self, key: str) -> bool:
        return key in self.arrays

    @cached_property
    def state_dict(self) -> dict[str, Tensor]:
        """The generated weights under their original names; formula-fixed entries included where they are stored."""
        state = {k: torch.from_numpy(v) for k, v in read_fill(self.folder).state_dict(self.spec, self.salt).items()}
        stored = [key for key in self.arrays.files if key.startswith("const/")]
        return {**state, **{key.removeprefix("const/"): torch.from_numpy(self.arrays[key]) for key in stored}}

    def salted(self, salt: str) -> dict[str, Tensor]:
        """The same entries filled with another salt (no reference outputs belong to it)."""
        values = read_fill(self.folder).state_dict(self.spec, salt, check=False)
        return {key: torch.from_numpy(value) for key, value in values.items()}

    def sounds(self, key: str = "audio_pcm") -> list[np.ndarray]:
        """A stored int16 array `(items, samples)` as floats in [-1, 1]."""
        arrays = np.load(self.folder / f"{_SOUNDS_OF[self.name]}.npz") if self.name in _SOUNDS_OF else self.arrays
        return list(arrays[key].astype(np.float32) / 32768)

    def compare(
        self,
        array: str,
        actual: Tensor,
        atol: float,
        *,
        rtol: float = 0.0,
        expected: Tensor | None = None,
        part: str = "",
        remark: str = "",
    ) -> Comparison:
        """Compare with the array, or with `expected` where only a `part` of it is meant."""
        expected = (self[array] if expected is None else expected).double()
        label = f"{array} {part}".rstrip()
        if actual.shape != expected.shape:
            remark = f"shape {tuple(actual.shape)}, expected {tuple(expected.shape)}"
            return Comparison(self.name, label, math.inf, atol, rtol, False, remark)
        difference = (actual.detach().cpu().double() - expected).abs()
        # Not written as "none is larger": NaN is neither larger nor within.
        ok = bool((difference <= atol + rtol * expected.abs()).all())
        largest = float(difference.max()) if difference.numel() else 0.0
        return Comparison(self.name, label, largest, atol, rtol, ok, remark)


def read_fill(folder: str | os.PathLike) -> ModuleType:
    """The folder's own `fill.py`, which is run: it makes the weights that the vectors belong to."""
    spec = importlib.util.spec_from_file_location("golden_fill", Path(folder) / "fill.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_golden(folder: str | os.PathLike, name: str) -> Golden:
    """
    Read NAME.npz, NAME.keys.json and meta.json of a folder.

    Raises:
        FileNotFoundError: If one of them, or fill.py, is not there.
    """
    folder = Path(folder)
    for needed in (f"{name}.npz", f"{name}.keys.json", "meta.json", "fill.py"):
        if not (folder / needed).is_file():
            raise FileNotFoundError(f"{folder}: no folder of golden vectors of {name}, {needed} is not there.")
    spec = json.loads((folder / f"{name}.keys.json").read_text(encoding="utf-8"))
    salt = json.loads((folder / "meta.json").read_text(encoding="utf-8"))["salt"]
    return Golden(name, folder, np.load(folder / f"{name}.npz"), spec, salt)


__all__ = ["GOLDEN", "Comparison", "Golden", "read_fill", "read_golden"]
