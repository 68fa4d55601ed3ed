"""Embeds samples with a dual encoder: each sound once, raw and projected, and CLIP's `[CLS]` of its picture."""

import logging
import time
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..retrieval.embedding import FLUSH_FILES, FLUSH_SECONDS, READERS, Dual, embed_pictures, embed_sounds
from .embedded_samples import EmbeddedSamples, EmbeddingCache, Entry
from .samples import Media, Sample, Samples, read_sample

log = logging.getLogger("soundclip_hf.evaluation")

_Read = tuple[Entry, Media]
_Vectors = tuple[Tensor, Tensor, Tensor]


def embedding_settings(dual: Dual, samples: Samples, frame: str | float, frames: int) -> dict[str, Any]:
    """Everything that the embeddings of samples depend on, for [`EmbeddingCache`]; JSON values."""
    # Both alignments are kept, whichever the model's own is.
    made = {key: value for key, value in dual.settings.items() if key not in ("alignment", "alpha")}
    dtype = str(dual.model.dtype).removeprefix("torch.")
    return {**made, "dtype": dtype, "frame": frame, "frames": frames, "data": samples.name}


def embed_samples(
    samples: Samples, dual: Dual, cache: EmbeddingCache, *, batch_size: int = 8
) -> Generator[tuple[str, str | None], None, None]:
    """
    Embed the samples that are not in the cache, reading ahead, and add them to it every few seconds.

    Args:
        samples: Each has a sound and a picture.
        cache: Its settings name the frames: see [`embedding_settings`].

    Yields:
        For each of these samples its id, and why it could not be embedded, or None. One that fails does not affect the
        others.
    """
    indices, identities = cache.missing(samples)
    ids, groups = samples.ids, samples.groups
    left = list(zip(indices, identities))
    batches = deque(left[start : start + batch_size] for start in range(0, len(left), batch_size))
    held: list[tuple[Entry, _Vectors]] = []
    last = time.monotonic()
    pool = ThreadPoolExecutor(READERS)
    try:
        reading: deque[list[tuple[Entry, Future[Media]]]] = deque()
        while batches or reading:
            while batches and len(reading) < 2:
                reading.append([])
                for index, identity in batches.popleft():
                    entry, future = Entry(ids[index], groups[index], identity), Future[Media]()
                    try:
                        sample = samples[index]
                        entry = replace(entry, labels=labels_of(sample.row))
                        future = pool.submit(_read, sample, dual.rate, cache.settings)
                    except Exception as error:
                        future.set_exception(error)
                    reading[-1].append((entry, future))
            batch, errors = reading.popleft(), dict[str, str]()
            read: list[_Read] = []
            for entry, future in batch:
                try:
                    read.append((entry, future.result()))
                except Exception as error:
                    log.debug("%s", entry.id, exc_info=True)
                    errors[entry.id] = _naming(entry.id, error)
            for entry, outcome in _embed_batch(read, dual):
                if isinstance(outcome, str):
                    errors[entry.id] = outcome
                else:
                    held.append((entry, outcome))
            if held and (len(held) >= FLUSH_FILES or time.monotonic() - last > FLUSH_SECONDS):
                cache.add(_part(held, cache.settings))
                held, last = [], time.monotonic()
            yield from ((entry.id, errors.get(entry.id)) for entry, _ in batch)
    finally:
        pool.shutdown(cancel_futures=True)
        if held:
            cache.add(_part(held, cache.settings))


def labels_of(row: Mapping[str, Any]) -> dict[str, str]:
    """The labels of a row with AVE-2's columns, as in [`Entry`]; without those that it does not have."""
    sources = [*(row.get("visible_active_sources") or []), *(row.get("invisible_active_sources") or [])]
    found = {"source": sources[0] if sources else None, "audio_visual_label": row.get("audio_visual_label")}
    return {name: str(value).strip() for name, value in found.items() if value is not None and str(value).strip()}


def _read(sample: Sample, rate: int, settings: Mapping[str, Any]) -> Media:
    media = read_sample(sample, sampling_rate=rate, frame=settings["frame"], frames=settings["frames"])
    if media.sound is None or not media.pictures:
        raise ValueError(f"{sample.id}: has no {'sound' if media.sound is None else 'picture'}")
    return media


def _embed_batch(read: Sequence[_Read], dual: Dual) -> list[tuple[Entry, _Vectors | str]]:
    if not read:
        return []
    try:
        media = [one for _, one in read]
        encoded = torch.stack(embed_sounds([one.sound for one in media if one.sound is not None], dual, _encoder(dual)))
        with torch.inference_mode():
            projected = dual.model.align_sounds(encoded.to(dual.model.device), "projected", 0.0).float().cpu()
        pictures = torch.empty_like(projected)
        for count in {len(one.pictures) for one in media}:
            rows = [row for row, one in enumerate(media) if len(one.pictures) == count]
            pictures[rows] = torch.stack(embed_pictures([media[row].pictures for row in rows], dual))
    except Exception as error:
        log.debug("%s", ", ".join(entry.id for entry, _ in read), exc_info=True)
        if len(read) == 1:
            return [(read[0][0], _naming(read[0][0].id, error))]
        # One of them fails, or all of them together need too much memory.
        return [done for one in read for done in _embed_batch([one], dual)]
    return [(entry, vectors) for (entry, _), vectors in zip(read, zip(encoded, projected, pictures))]


def _encoder(dual: Dual) -> Any:
    tower = dual.model.audio_tower

    def encode(input_features: Tensor, input_features_mask: Tensor | None = None) -> Any:
        if input_features.is_floating_point():
            input_features = input_features.to(tower.dtype)
        return tower(input_features, input_features_mask=input_features_mask)

    return encode


def _part(held: Sequence[tuple[Entry, _Vectors]], settings: dict[str, Any]) -> EmbeddedSamples:
    encoded, projected, pictures = (torch.stack(vectors) for vectors in zip(*(vectors for _, vectors in held)))
    return EmbeddedSamples([entry for entry, _ in held], encoded, projected, pictures, settings)


def _naming(name: str, error: Exception) -> str:
    text = " ".join(str(error).split())
    if not (isinstance(error, ValueError | OSError) and text):
        text = f"{type(error).__name__}: {text}"
    return text if name in text else f"{name}: {text}"


__all__ = ["embed_samples", "embedding_settings", "labels_of"]
