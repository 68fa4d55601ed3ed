"""Some modules of a checkpoint in: of a sharded one, only the files that hold them are fetched and opened."""

import os
from collections.abc import Sequence
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file

from ..checkpoint_files import read_weight_map, with_variant


def read_modules(
    name: str | os.PathLike,
    modules: Sequence[str],
    revision: str | None = None,
    variant: str | None = None,
    other: str | None = None,
    **hub: Any,
) -> dict[str, Tensor]:
    """
    Read the tensors of some modules.

    Args:
        name: Repository or folder with `model.safetensors`, or with an index and shards.
        modules: Names such as "vision_tower", wherever the checkpoint's layout has them: at its top (the official
            LLaVA checkpoints) or in `model.` (transformers 5).
        revision: Branch, tag or commit.
        variant: Of the files' names, such as "fp16" for `model.fp16.safetensors`.
        other: A file that the caller would have taken in place of a checkpoint, for the message.
        **hub: `token`, `cache_dir`, … of `cached_file`.

    Returns:
        Tensors on the CPU in the checkpoint's dtype, by their names without `model.`.

    Raises:
        OSError: If there is no such repository, or it has no safetensors checkpoint, or one of its shards is missing.
        ValueError: If a file or the index is not readable, the index names a file outside its folder, or a tensor is
            not in the shard that the index names.
    """
    hub["revision"] = revision

    def fetch(file: str, needed: bool) -> str | None:
        return cached_file(name, file, _raise_exceptions_for_missing_entries=needed, **hub)

    whole, parts = (with_variant(file, variant) for file in (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME))
    single = fetch(whole, False)
    if single is not None:
        return _read(single, None, modules)
    index = fetch(parts, False)
    if index is None:
        raise no_weights(name, *([] if other is None else [other]), whole, parts)
    weight_map = read_weight_map(index)
    files: dict[str, set[str]] = {}
    for key, shard in weight_map.items():
        if _within(key, modules):
            files.setdefault(shard, set()).add(key)
    tensors: dict[str, Tensor] = {}
    for shard, keys in sorted(files.items()):
        tensors |= _read(str(fetch(shard, True)), keys, modules)
    return tensors


def no_weights(name: str | os.PathLike, *files: str) -> OSError:
    """The error for a repository or folder that has none of `files`."""
    return OSError(
        f"{str(name)!r} has neither {' nor '.join(files)}: only safetensors files are read. Get the file that is "
        "missing, or save the model again with save_pretrained."
    )


def _within(key: str, modules: Sequence[str]) -> bool:
    return key.removeprefix("model.").partition(".")[0] in modules


def _read(path: str, expected: set[str] | None, modules: Sequence[str]) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            keys = {key for key in file.keys() if _within(key, modules)}  # noqa: SIM118  not a mapping
            if expected is not None and expected - keys:
                raise ValueError(f"{path} lacks {sorted(expected - keys)[0]!r}, which the index says it holds.")
            return {key.removeprefix("model."): file.get_tensor(key) for key in sorted(keys)}
    except SafetensorError as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from error


__all__ = ["no_weights", "read_modules"]
