"""Whether two sound adapters have the same audio encoder, so that one copy of it serves both."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.utils import CONFIG_NAME, cached_file, extract_commit_hash

from ..checkpoint_names import checkpoint_name
from ..checkpoints.base_sample import Sample, is_unchanged, take_sample

# What a configuration says beside the architecture: how it was saved or loaded.
_NOT_ARCHITECTURE = {"_name_or_path", "architectures", "dtype", "transformers_version"}
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class EncoderOrigin:
    """
    Where the weights of an audio encoder came from.

    Attributes:
        name: The repository, or the real path of the folder.
        revision: The commit; of a folder, names, sizes and times of its files.
    """

    name: str
    revision: Any

    @property
    def commit(self) -> str | None:
        """The commit of a repository; None of a folder."""
        return self.revision if isinstance(self.revision, str) else None


@dataclass
class KnownEncoder:
    """
    An audio encoder as it was loaded.

    Attributes:
        origin: Where from.
        sample: Some of its values then.
    """

    origin: EncoderOrigin
    sample: Sample

    @classmethod
    def of(cls, tower: nn.Module, origin: EncoderOrigin | None) -> "KnownEncoder | None":
        return None if origin is None else cls(origin, take_sample(tower))

    def is_still(self, tower: nn.Module) -> bool:
        """Whether `tower` has the values that it was loaded with: it was not trained, nor put in another's place."""
        return is_unchanged(tower, self.sample)


def find_origin(
    name: str | os.PathLike, revision: str | None, hub: Mapping[str, Any], *, cached: bool = False
) -> EncoderOrigin | None:
    """
    Which weights the id of an audio encoder means now.

    Args:
        name: Repository or folder.
        revision: Branch, tag or commit.
        hub: `token`, `cache_dir`, … of `cached_file`.
        cached: Ask the cache alone, and not the Hub.

    Returns:
        None if the revision is not known, as with `cached` for a repository that is not in the cache.

    Raises:
        OSError: Without `cached`, if there is no such repository or revision.
    """
    name, revision = checkpoint_name(name, revision)
    if os.path.isdir(name):
        files = [entry for entry in os.scandir(os.fspath(name)) if entry.name.endswith((".json", ".safetensors"))]
        stats = sorted((entry.name, entry.stat().st_size, entry.stat().st_mtime_ns) for entry in files)
        return EncoderOrigin(os.path.realpath(name), tuple(stats))
    commit = revision if revision is not None and _COMMIT.fullmatch(revision) else None
    commit = commit or find_commit(name, CONFIG_NAME, {**hub, "revision": revision or "main"}, cached=cached)
    return None if commit is None else EncoderOrigin(str(name), commit)


def find_commit(name: str | os.PathLike, file: str, hub: Mapping[str, Any], *, cached: bool) -> str | None:
    """The commit that a file of a repository is read at; None of a folder, or if the cache does not tell."""
    options = {**hub, "local_files_only": True, "force_download": False} if cached else dict(hub)
    try:
        path = cached_file(name, file, **options)
    except OSError:
        if not cached:
            raise
        return None
    return extract_commit_hash(path, None)


def same_architecture(one: Any, other: Any) -> bool:
    """Whether two configurations of audio encoders describe the same computation."""
    return type(one) is type(other) and _architecture(one) == _architecture(other)


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    """Whether two encoders have equal weights, bit for bit, of one dtype; False for what is offloaded."""
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(_equal(tensor, theirs[key]) for key, tensor in ours.items())


def is_frozen(tower: nn.Module) -> bool:
    return not any(parameter.requires_grad for parameter in tower.parameters())


def _architecture(config: Any) -> dict[str, Any]:
    return {key: value for key, value in config.to_dict().items() if key not in _NOT_ARCHITECTURE}


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.is_meta or other.is_meta or one.dtype != other.dtype or one.shape != other.shape:
        return False
    return torch.equal(one, other.to(one.device))


__all__ = [
    "EncoderOrigin",
    "KnownEncoder",
    "find_commit",
    "find_origin",
    "is_frozen",
    "same_architecture",
    "same_weights",
]
