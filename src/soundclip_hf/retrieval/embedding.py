"""Embeds media files with a dual encoder: one vector per sound and per picture, in the order of the files."""

import logging
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..media import shown, without_password
from ..modeling.audio_encoders.feature_extraction_base import silence_is_told
from ..modeling.finite import NotFiniteError, weight_that_is_not_finite, why_not_finite
from ..modeling.modeling_soundclip import SoundClipModel
from ..modeling.processing_soundclip import SoundClipProcessor
from .embedding_store import Block, EmbeddingStore, Entry
from .reading import Read, Reading, Source, read_source

READERS = 2
# A batch of sounds is padded to the longest of them, so that its length is limited.
SECONDS_AT_A_TIME = 1200
# A run that is killed loses what it has embedded since its last flush.
FLUSH_FILES, FLUSH_SECONDS = 256, 5.0

log = logging.getLogger("soundclip_hf.retrieval")


@dataclass(frozen=True)
class Dual:
    """
    A dual encoder with its processor.

    Attributes:
        settings: Everything that the embeddings depend on, by name; JSON values.
    """

    model: SoundClipModel
    processor: SoundClipProcessor
    settings: dict[str, Any]

    @property
    def rate(self) -> int:
        """Sampling rate of the sounds, in Hz."""
        return self.processor.feature_extractor.sampling_rate

    @cached_property
    def weight_that_is_not_finite(self) -> str | None:
        """The name of a weight that holds NaN or Inf, or None; looked for once, where an embedding is not finite."""
        return weight_that_is_not_finite(self.model)


@dataclass(frozen=True)
class Embedded:
    """The result of one file: its entry and its vectors, `(dim,)`, fp32, on the CPU; or an error."""

    source: Source
    entry: Entry | None = None
    audio: Tensor | None = None
    image: Tensor | None = None
    error: str | None = None


def embed_files(
    sources: Sequence[Source], dual: Dual, how: Reading, batch_size: int, normalize: bool
) -> Iterator[Embedded]:
    """Embed files in batches, reading ahead. A file that fails does not affect the others."""
    batches = deque(sources[start : start + batch_size] for start in range(0, len(sources), batch_size))
    with ThreadPoolExecutor(READERS) as pool:
        reading: deque[Any] = deque()
        while batches or reading:
            while batches and len(reading) < 2:
                batch = batches.popleft()
                reading.append([(source, pool.submit(read_source, source, how, dual.rate)) for source in batch])
            outcomes: dict[str, Embedded] = {}
            read: list[Read] = []
            batch = reading.popleft()
            for source, future in batch:
                try:
                    read.append(future.result())
                except Exception as error:
                    log.debug("%s", source.name, exc_info=True)
                    outcomes[source.name] = Embedded(source, error=_naming(source, error))
            outcomes |= {done.source.name: done for done in _embed_batch(read, dual, normalize)}
            yield from (outcomes[source.name] for source, _ in batch)


def store_all(
    rows: Iterable[Embedded], store: EmbeddingStore, settings: dict[str, Any]
) -> Generator[Embedded, None, None]:
    """Pass on the rows, and write them to disk every few seconds."""
    held: list[Embedded] = []
    last = time.monotonic()
    try:
        for row in rows:
            if row.error is None:
                held.append(row)
            if held and (len(held) >= FLUSH_FILES or time.monotonic() - last > FLUSH_SECONDS):
                store.add(_block(held, settings))
                held, last = [], time.monotonic()
            yield row
    finally:
        if held:
            store.add(_block(held, settings))


def _embed_batch(read: Sequence[Read], dual: Dual, normalize: bool) -> list[Embedded]:
    if not read:
        return []
    try:
        sounds = [one for one in read if one.sound is not None]
        with silence_is_told():
            vectors = embed_sounds([one.sound for one in sounds if one.sound is not None], dual)
        heard = dict(zip((one.source.name for one in sounds), vectors))
        seen: dict[str, Tensor] = {}
        for count in {len(one.pictures) for one in read} - {0}:
            shown = [one for one in read if len(one.pictures) == count]
            vectors = embed_pictures([one.pictures for one in shown], dual)
            seen |= dict(zip((one.source.name for one in shown), vectors))
    except Exception as error:
        log.debug("%s", ", ".join(one.source.name for one in read), exc_info=True)
        if len(read) == 1:
            return [Embedded(read[0].source, error=_naming(read[0].source, error))]
        # One of them fails, or all of them together need too much memory.
        return [done for one in read for done in _embed_batch([one], dual, normalize)]
    if normalize:
        heard, seen = ({name: F.normalize(vector, dim=-1) for name, vector in found.items()} for found in (heard, seen))
    return [Embedded(one.source, one.entry, heard.get(one.source.name), seen.get(one.source.name)) for one in read]


def embed_sounds(sounds: Sequence[np.ndarray], dual: Dual, compute: Callable[..., Any] | None = None) -> list[Tensor]:
    """
    Embed sounds in batches of a limited length.

    Args:
        sounds: `(samples,)` float32 each, at `dual.rate`.
        compute: Takes the processor's output and gives an output with a `pooler_output`; by default the model's
            `get_audio_features`.

    Returns:
        For each sound `(dim,)` fp32, on the CPU, not normalised.

    Raises:
        ValueError: If a sound cannot be used, or an embedding is not finite (`NotFiniteError`).
    """
    groups: list[list[np.ndarray]] = []
    for sound in sounds:
        longest = max([len(sound), *map(len, groups[-1])]) if groups else 0
        if groups and longest * (len(groups[-1]) + 1) <= SECONDS_AT_A_TIME * dual.rate:
            groups[-1].append(sound)
        else:
            groups.append([sound])
    vectors: list[Tensor] = []
    for group in groups:
        inputs = dual.processor(audio=group, sampling_rate=dual.rate, return_tensors="pt").to(dual.model.device)
        vectors += _features(dual, compute or dual.model.get_audio_features, inputs)
    return vectors


def embed_pictures(pictures: Sequence[Sequence[Image.Image]], dual: Dual) -> list[Tensor]:
    """
    Embed pictures in one batch.

    Args:
        pictures: For each item its one picture, or its frames, whose features are averaged; all have equally many.

    Returns:
        For each item `(dim,)` fp32, on the CPU, not normalised.

    Raises:
        NotFiniteError: If an embedding is not finite.
    """
    given = [list(one) if len(one) > 1 else one[0] for one in pictures]
    inputs = dual.processor(images=given, return_tensors="pt").to(dual.model.device)
    return _features(dual, dual.model.get_image_features, inputs)


def _features(dual: Dual, compute: Callable[..., Any], inputs: Mapping[str, Any]) -> list[Tensor]:
    try:
        with torch.inference_mode():
            features = compute(**inputs).pooler_output.float()
        if not torch.isfinite(features).all():
            raise NotFiniteError("the embedding is NaN or infinite")
    except NotFiniteError as error:
        reason = why_not_finite(inputs, dual.weight_that_is_not_finite, dual.model.dtype)
        raise NotFiniteError(f"cannot be embedded: {reason}") from error
    return list(features.cpu())


def _block(rows: Sequence[Embedded], settings: dict[str, Any]) -> Block:
    width = next(len(vector) for row in rows for vector in (row.audio, row.image) if vector is not None)
    sounds = [row.audio for row in rows if row.audio is not None]
    pictures = [row.image for row in rows if row.image is not None]
    vectors = [torch.stack(held) if held else torch.empty(0, width) for held in (sounds, pictures)]
    return Block([row.entry for row in rows if row.entry is not None], vectors[0], vectors[1], settings)


def _naming(source: Source, error: Exception) -> str:
    text = " ".join(str(error).split())
    if not (isinstance(error, (ValueError, OSError)) and text):
        text = f"{type(error).__name__}: {text}"
    names = {shown(without_password(name)) for name in (source.name, source.path)}
    return text if any(name in text for name in names) else f"{shown(without_password(source.name))}: {text}"


__all__ = ["Dual", "Embedded", "embed_files", "embed_pictures", "embed_sounds", "store_all"]
