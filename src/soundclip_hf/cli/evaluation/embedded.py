"""Opens the samples and the model that the options of a command name, and embeds what is not embedded yet."""

import hashlib
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...evaluation.embedded_samples import EmbeddedSamples, EmbeddingCache
from ...evaluation.embedding import embed_samples, embedding_settings
from ...evaluation.samples import open_samples
from ...evaluation.samples.opening import SYNTHETIC
from ..dual_encoder import load_dual
from ..loading import ModelChoice
from ..options import check_place
from ..output import CliError, UsageError, warn, with_progress
from .running import warn_left_out


@dataclass(frozen=True)
class Measured:
    """
    What was embedded, and how results describe it.

    Attributes:
        fields: `model`, `revision`, `dataset` and `dataset_revision` of a result.
        config: The part of its `config` about model and data.
    """

    samples: EmbeddedSamples
    fields: dict[str, Any]
    config: dict[str, Any]


def check_files(out: Path, cache: Path | None) -> None:
    """
    Check what can be checked of `--out` and `--cache` before anything is loaded.

    Raises:
        UsageError: If one is a folder, or both are one file.
        CliError: If one cannot be written.
    """
    check_place(out)
    check_place(cache, "--cache")
    if cache is not None and cache.absolute() == out.absolute():
        raise UsageError(f"--cache {cache}: is the file of --out, too; name another")


def embed(
    choice: ModelChoice,
    data: str,
    *,
    split: str | None,
    media: Path | None,
    frame: str | float,
    frames: int,
    unique_video: bool,
    limit: int | None,
    cache: Path | None,
    batch_size: int,
) -> Measured:
    """
    Embed samples, and name those that cannot be read on stderr.

    Args:
        choice: Its seed also draws the sample of each video, with `unique_video`.
        limit: How many samples to take, after that.

    Raises:
        CliError: If the model cannot be loaded.
        ValueError: If the data cannot be opened, or no sample can be embedded.
    """
    # Synthetic scenes have no end; of others, the first samples may be of one video.
    opened = open_samples(data, split=split, media=media, limit=limit if data == SYNTHETIC else None)
    chosen = (opened.unique_groups(choice.seed) if unique_video else opened).take(limit)
    warn_left_out(opened)
    dual = load_dual(choice)
    if choice.encoder is not None:
        warn(f"no projector was trained for {choice.encoder}: what is called projected is a random projection")
    settings = embedding_settings(dual, opened, frame, frames)
    store = EmbeddingCache(cache, settings)
    failed = 0
    try:
        left = len(store.missing(chosen)[0])
        outcomes = embed_samples(chosen, dual, store, batch_size=batch_size)
        with closing(outcomes):
            for _, error in with_progress(outcomes, left, "embedding"):
                if error is not None:
                    failed += 1
                    warn(error)
        samples = store.select(chosen.ids)
        store.finish()
    finally:
        store.close()
    if failed:
        warn(f"{failed} of {len(chosen)} samples cannot be used; the result is about the {len(samples)} others")
    lost = {"failed": failed, "left_out": len(opened.left_out)}
    return _described(samples, opened.revision, {"unique_video": unique_video, "limit": limit, **lost})


def kept(cache: Path, *, unique_video: bool, limit: int | None, seed: int) -> Measured:
    """
    The samples of a file that an earlier run has made with `--cache`.

    Raises:
        CliError: If there is no such file.
        ValueError: If it is another file.
    """
    if not cache.is_file():
        raise CliError(f"--cache {cache}: no such file; give --data, and an earlier run or this one writes it")
    samples = EmbeddedSamples.load(cache)
    if unique_video:
        samples = samples.unique_groups(seed)
    if limit is not None:
        samples = samples.select(range(min(limit, len(samples))))
    return _described(samples, None, {"unique_video": unique_video, "limit": limit})


def _described(samples: EmbeddedSamples, dataset_revision: str | None, config: dict[str, Any]) -> Measured:
    settings = samples.settings
    fields = {
        "model": settings["model"],
        "revision": settings["revision"],
        "dataset": settings["data"],
        "dataset_revision": dataset_revision,
    }
    made = {key: settings[key] for key in ("encoder", "weights", "dtype", "frame", "frames")}
    return Measured(samples, fields, {**made, **config, "ids_sha256": ids_hash(samples.ids)})


def ids_hash(ids: list[str]) -> str:
    """By which two results can be told to be about the same samples."""
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()


__all__ = ["Measured", "check_files", "embed", "ids_hash", "kept"]
