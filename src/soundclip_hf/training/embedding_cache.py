"""Computes the embeddings of pairs or sounds once; stores them in safetensors shards, which are memory-mapped."""

import errno
import hashlib
import json
import logging
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset
from tqdm.auto import tqdm
from transformers import TrainingArguments

from ..files import expand_user, replacing, write_text
from ..modeling.checkpoints.fingerprint import fingerprint
from .checkpoints import only_run
from .run_arguments import Progress

AUDIO, VISION = "audio_embeddings", "vision_embeddings"
KEY_NAME, INDEX_NAME = "key.json", "index.json"

logger = logging.getLogger("transformers.soundclip_hf.training")

# A collated batch to `(rows (b,), *embeddings (b, width) each, number of rows left out)`. The embeddings of a pair are
# `z_a` and `c`, that of a sound is `z_a`.
Embed = Callable[[Any], tuple[Any, ...]]


class CacheError(RuntimeError):
    """The cache cannot be written or read; the message says what to do."""


class CachedPairs(Dataset):
    """
    Embeddings of pairs or of sounds, memory-mapped: only those that are indexed are read.

    `dataset[i]` and `dataset.__getitems__(indices)` give batches: `rows` `(b,)` int64, `audio_embeddings` `(b, d_a)`
    and, of pairs, `vision_embeddings` `(b, D)`, float32.

    Args:
        folder: That of a complete cache.
        keep: `(rows of the dataset,)` bool; pairs of the other rows are left out. A row beyond its end is kept.

    Raises:
        CacheError: If the cache is not complete, or a shard cannot be read.
    """

    def __init__(self, folder: str | Path, keep: Tensor | None = None) -> None:
        self.folder = Path(folder)
        if not (self.folder / INDEX_NAME).is_file():
            raise CacheError(f"{self.folder}: this cache is not complete; run again to complete it")
        self.index = json.loads((self.folder / INDEX_NAME).read_text(encoding="utf-8"))
        self.shards = [_open(self.folder / name) for name in self.index["shards"]]
        self.ends = torch.tensor([len(shard["rows"]) for shard in self.shards]).cumsum(0)
        self.kept = None
        if keep is not None:
            rows = torch.cat([shard["rows"] for shard in self.shards])
            marks = torch.ones(max(int(rows.max()) + 1, len(keep)) if len(rows) else 1, dtype=torch.bool)
            marks[: len(keep)] = keep
            self.kept = marks[rows].nonzero()[:, 0]

    def __len__(self) -> int:
        return int(self.ends[-1]) if self.kept is None else len(self.kept)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        places = torch.as_tensor(indices) if self.kept is None else self.kept[torch.as_tensor(indices)]
        if len(self.shards) == 1:
            (shard,) = self.shards
            return {name: values[places] for name, values in shard.items()}
        numbers = torch.bucketize(places, self.ends, right=True)
        batch = {name: values.new_empty(len(places), *values.shape[1:]) for name, values in self.shards[0].items()}
        for number in numbers.unique().tolist():
            here = numbers == number
            start = int(self.ends[number - 1]) if number else 0
            for name, values in self.shards[number].items():
                batch[name][here] = values[places[here] - start]
        return batch


def cache_folder(root: str | Path, key: dict[str, Any]) -> Path:
    """
    The folder of one cache: everything that changes an embedding is in `key`, whose hash is in the folder's name.

    Args:
        key: Plain values; `key["encoder"]` is also in the name.
    """
    text = json.dumps(key, sort_keys=True, default=str)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", str(key["encoder"])).strip("-.")[-60:]
    return expand_user(root) / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def encoder_key(config: Any, encoder: Any, feature_extractor: Any) -> dict[str, Any]:
    """
    What changes the embedding of a sound, for the key of a cache.

    Args:
        config: A `SoundLlavaConfig`, which says where the encoder comes from.
        encoder: The audio tower.
        feature_extractor: That of the processor.
    """
    audio_config = encoder.config.to_dict()
    for name in ("_name_or_path", "transformers_version", "dtype", "architectures"):
        audio_config.pop(name, None)
    return {
        "encoder": config.audio_encoder_name_or_path or config.base_model_name_or_path,
        "encoder_revision": config.audio_encoder_revision or config.base_model_revision,
        "encoder_config": audio_config,
        # The name of a folder does not change with its weights.
        "encoder_sample": fingerprint(encoder, 0)["values"],
        "feature_extractor": part_settings(feature_extractor),
    }


def part_settings(part: Any) -> dict[str, Any]:
    """The settings of a part of a processor that change what it computes."""
    return {key: value for key, value in part.to_dict().items() if key not in ("processor_class", "mel_filters")}


def fill_cache(
    rows: Any,
    folder: Path,
    key: dict[str, Any],
    collate: Callable[[list[Any]], Any],
    embed: Embed,
    training: TrainingArguments,
    progress: Progress | None,
    *,
    label: str,
    shard_rows: int,
    batch_size: int,
    max_bad_rows: int,
    unit: str = "row",
) -> None:
    """
    Complete the cache in `folder`, unless it is complete. Every process of a run calls this with the same arguments,
    and writes its share. A progress bar shows that of the first process.

    Args:
        rows, folder, key, collate, embed, shard_rows, batch_size, max_bad_rows, unit: See [`build_cache`].
        training: Says which process this is, and how many workers read media.
        progress: Shows what is done, in place of `tqdm`.
        label: Of the bar.

    Raises:
        InUseError: If another run writes to the folder.
        CacheError: See [`build_cache`] and [`finish_cache`].
    """
    if (folder / INDEX_NAME).is_file():
        return
    first, parts = training.process_index == 0, training.world_size
    with ExitStack() as stack:
        if first:
            stack.enter_context(only_run(folder))
        count = -(-len(rows) // parts) if hasattr(rows, "__len__") else None
        shards = len(list(folder.glob("shard-*.safetensors"))) // parts
        done = min(shards * shard_rows, count) if count else 0
        advance = stack.enter_context(progress_bar(label, count, done, training, progress, unit))
        build_cache(
            rows,
            folder,
            key,
            collate,
            embed,
            shard_rows=shard_rows,
            batch_size=batch_size,
            max_bad_rows=max_bad_rows,
            workers=training.dataloader_num_workers,
            part=training.process_index,
            parts=parts,
            unit=unit,
            advance=advance,
        )
    PartialState().wait_for_everyone()
    if first:
        finish_cache(folder)
    PartialState().wait_for_everyone()


@contextmanager
def progress_bar(
    label: str,
    count: int | None,
    done: int,
    training: TrainingArguments,
    progress: Progress | None,
    unit: str = "row",
) -> Iterator[Callable[[int], Any]]:
    """
    Show what the first process of a run does before it trains.

    Args:
        count, done: Number of steps (None: unknown), and of those that were done before.
        progress: Shows it in place of `tqdm`.

    Yields:
        A function that is called with the number of new steps.
    """
    first = training.process_index == 0
    if progress is not None and first:
        with progress(label, count, done) as advance:
            yield advance
        return
    silent = bool(training.disable_tqdm) or not first
    with tqdm(desc=label, unit=unit, total=count, initial=done, disable=silent) as bar:
        yield bar.update


def build_cache(
    rows: Any,
    folder: Path,
    key: dict[str, Any],
    collate: Callable[[list[Any]], Any],
    embed: Embed,
    *,
    shard_rows: int = 4096,
    batch_size: int = 32,
    max_bad_rows: int = 100,
    workers: int = 0,
    part: int = 0,
    parts: int = 1,
    unit: str = "row",
    advance: Callable[[int], Any] | None = None,
) -> None:
    """
    Write the shards that are missing. A shard is written completely or not at all, so that a stopped run can be
    resumed.

    Args:
        rows: A `PairRows`, a `PairStream`, or another data set of what is embedded.
        folder: From [`cache_folder`].
        key: The settings that the embeddings depend on; stored beside the shards.
        collate: Reads the media of some rows.
        embed: Embeds the result of `collate`. Embeddings that are not finite are left out, like unreadable rows.
        shard_rows, batch_size: Number of rows of the dataset in a shard, and in one call of `embed`.
        max_bad_rows: The run ends with an error if more rows than this are left out.
        workers: Number of processes that read media in advance; not used for a stream.
        part, parts: The index of this process and the number of processes. Each writes every `parts`-th shard; call
            [`finish_cache`] after all of them.
        unit: What a row is, for messages.
        advance: Called with the number of new rows.

    Raises:
        CacheError: If the disk is full, or too many rows were left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / KEY_NAME, json.dumps(key, indent=2, sort_keys=True, default=str))
    bad = sum(_count_bad(path) for path in folder.glob("shard-*.safetensors"))
    for number, chunk in _missing(rows, folder, shard_rows, part, parts):
        found: list[list[Tensor]] = []
        left_out = 0
        for batch in _batches(chunk, batch_size, collate, workers):
            places, *embeddings, unread = embed(batch)
            finite = torch.stack([torch.isfinite(values).all(1) for values in embeddings]).all(0)
            for row in places[~finite].tolist():
                logger.warning("%s %d is left out: its embedding is not finite", unit, row)
            left_out += unread + int((~finite).sum())
            found.append([places[finite], *(values[finite].float() for values in embeddings)])
            if advance is not None:
                advance(len(places) + unread)
            if bad + left_out > max_bad_rows:
                raise CacheError(
                    f"{bad + left_out} {unit}s cannot be used, more than max_bad_rows={max_bad_rows}, and this is only "
                    f"shard {number}; repair the dataset, or raise max_bad_rows"
                )
        bad += left_out
        tensors = dict(zip(("rows", AUDIO, VISION), map(torch.cat, zip(*found))))
        _save(tensors, folder / _name(number), left_out)


def finish_cache(folder: Path) -> None:
    """
    Write the index of all shards. The cache can be read after that.

    Raises:
        CacheError: If the cache has no pair.
    """
    names = sorted(path.name for path in folder.glob("shard-*.safetensors"))
    shards = [_open(folder / name) for name in names]
    pairs = sum(len(shard["rows"]) for shard in shards)
    bad = sum(_count_bad(folder / name) for name in names)
    if not pairs:
        raise CacheError(f"no row of the dataset could be used ({bad} were left out)")
    _write(folder / INDEX_NAME, json.dumps({"pairs": pairs, "left_out": bad, "shards": names}, indent=2))


def _missing(rows: Any, folder: Path, shard_rows: int, part: int, parts: int) -> Iterator[tuple[int, Any]]:
    """The numbers and the rows of the shards that this process has to write."""
    if hasattr(rows, "__len__"):
        for number in range(part, -(-len(rows) // shard_rows), parts):
            if not (folder / _name(number)).is_file():
                start = number * shard_rows
                yield number, Subset(rows, range(start, min(start + shard_rows, len(rows))))
    elif part == 0:  # a stream is read once, by one process
        number = 0
        while (folder / _name(number)).is_file():
            number += 1
        iterator = iter(rows.from_row(rows.start + number * shard_rows))
        while (first := next(iterator, None)) is not None:
            yield number, _chain(first, islice(iterator, shard_rows - 1))
            number += 1


def _batches(chunk: Iterable[Any], batch_size: int, collate: Callable[[list[Any]], Any], workers: int) -> Iterable[Any]:
    if isinstance(chunk, Dataset):
        yield from DataLoader(chunk, batch_size=batch_size, collate_fn=collate, num_workers=workers)
        return
    iterator = iter(chunk)
    while batch := list(islice(iterator, batch_size)):
        yield collate(batch)


def _chain(first: Any, rest: Iterable[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _name(number: int) -> str:
    return f"shard-{number:06d}.safetensors"


def _save(tensors: dict[str, Tensor], path: Path, left_out: int) -> None:
    # Left by a run that was killed; no other process writes this shard.
    for stale in path.parent.glob(f".{path.name}.*"):
        stale.unlink()
    needed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    try:
        if (free := shutil.disk_usage(path.parent).free) < needed + 2**20:
            raise OSError(errno.ENOSPC, f"{free >> 20} MiB are free, {needed >> 20} MiB are needed")
        with replacing(path) as partial:
            save_file(tensors, partial, metadata={"left_out": str(left_out)})
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CacheError(
            f"the cache cannot be written to {path}: {reason}. Free some space and run again: the existing "
            "shards are kept"
        ) from error


def _write(path: Path, text: str) -> None:
    try:
        write_text(path, text + "\n")
    except OSError as error:
        raise CacheError(f"the cache cannot be written to {path}: {error.strerror}") from error


def _open(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            held = [name for name in (AUDIO, VISION) if name in file.keys()]  # noqa: SIM118  not a mapping
            return {name: file.get_tensor(name) for name in ("rows", *held)}
    except (OSError, SafetensorError) as error:
        raise CacheError(f"{path}: cannot be read ({error}); delete it and run again") from error


def _count_bad(path: Path) -> int:
    with safe_open(path, framework="pt") as file:
        return int((file.metadata() or {}).get("left_out", 0))


__all__ = [
    "AUDIO",
    "CacheError",
    "CachedPairs",
    "build_cache",
    "cache_folder",
    "encoder_key",
    "fill_cache",
    "finish_cache",
    "part_settings",
    "progress_bar",
]
