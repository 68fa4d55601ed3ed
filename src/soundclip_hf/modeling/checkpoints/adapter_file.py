"""Writes and reads `soundclip_adapter.safetensors`, whose metadata says what its tensors were when they were saved."""

import hashlib
import json
import os
import struct
from collections.abc import Mapping

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..finite import check_finite

DIGEST = "soundclip_sha256"


def write_adapter_file(tensors: Mapping[str, Tensor], path: str | os.PathLike) -> None:
    """Write contiguous tensors on the CPU, with their SHA-256 in the file's metadata; equal ones give equal files."""
    save_file(dict(tensors), path, metadata={"format": "pt", DIGEST: digest(tensors)})
    # safetensors writes the metadata in any order, and a file with other bytes would be pushed again.
    with open(path, "r+b") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= size:
            file.seek(8)
            file.write(text.ljust(size))


def read_adapter_file(path: str | os.PathLike) -> dict[str, Tensor]:
    """
    Read the tensors of an adapter's file.

    Raises:
        ValueError: If the file is not readable, its tensors are not those that were saved, or one of them holds NaN or
            Inf. A file without a digest, as earlier versions and other programs write it, is not compared.
    """
    try:
        with safe_open(path, framework="pt") as file:
            saved = (file.metadata() or {}).get(DIGEST)
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  not a mapping
    except SafetensorError as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from error
    if saved is not None and saved != (found := digest(tensors)):
        raise ValueError(
            f"{path} was changed or damaged after it was saved: its tensors have the SHA-256 {found[:12]}…, and its "
            f"metadata says {saved[:12]}…. Get the file again (of a Hub: force_download=True). If it was changed on "
            "purpose, load its tensors and write them anew with safetensors, without this metadata."
        )
    check_finite(tensors, path)
    return tensors


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of the names, dtypes, shapes and values of contiguous tensors on the CPU, in the order of their names."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


__all__ = ["digest", "read_adapter_file", "write_adapter_file"]
