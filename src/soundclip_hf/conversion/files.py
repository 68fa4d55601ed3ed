"""Reads the files of original checkpoints as state dicts; no code in a file is run."""

import os
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

# Under which training scripts put the weights beside other things.
_WRAPPERS = ("state_dict", "model")


def read_original(path: str | os.PathLike) -> dict[str, Any]:
    """
    Read a `.pth`, `.pt` or `.bin` file of torch (with `weights_only=True`) or a safetensors file, on the CPU.

    Returns:
        `dict[str, torch.Tensor]`: The weights, also where the file has them in an entry `state_dict` or `model`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read as weights alone, or holds none.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file.")
    try:
        loaded = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except pickle.UnpicklingError as error:
        # torch's own message explains how to load the file unsafely.
        raise ValueError(
            f"{path} cannot be read as a file of weights alone: it is damaged, or holds Python objects whose loading "
            "could run code."
        ) from error
    except Exception as error:  # of a damaged file, the readers raise whatever comes to them, such as a KeyError
        reason = (str(error).strip().splitlines() or [""])[0]
        if not reason or isinstance(error, LookupError):
            reason = f"{type(error).__name__} {reason}".strip()
        raise ValueError(f"{path} cannot be read as a file of weights alone: {reason}") from error
    for name in _WRAPPERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(name), dict):
            loaded = loaded[name]
    if not isinstance(loaded, dict) or not any(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise ValueError(f"{path} holds no state dict (names and tensors), but a {type(loaded).__name__}.")
    return loaded


__all__ = ["read_original"]
