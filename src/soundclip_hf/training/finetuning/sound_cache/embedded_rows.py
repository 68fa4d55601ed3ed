"""Rows that bring the embeddings of their sounds, which are computed once."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor
from torch.utils.data import Dataset

from ....modeling.modeling_soundllava import SoundLlavaForConditionalGeneration
from ...embedding_cache import AUDIO, CachedPairs, cache_folder, encoder_key, fill_cache, progress_bar
from ...run_arguments import Progress
from ...settings_parser import ArgumentsError
from ...trainer import TrainingError
from ..arguments import FinetuningArguments, FinetuningTrainingArguments
from ..collator import SOUND_EMBEDS, SoundLlavaCollator
from ..rows import Rows
from .distinct_sounds import DistinctSounds
from .reading import SoundReader

logger = logging.getLogger("transformers.soundclip_hf.training")


class CachedSounds:
    """
    Embeddings of sounds by their numbers, memory-mapped.

    Args:
        folder: Of a complete cache.

    Raises:
        CacheError: If it is not complete, or cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.cache = CachedPairs(folder)
        numbers = torch.cat([shard["rows"] for shard in self.cache.shards])
        self.places = torch.full((int(numbers.max()) + 1 if len(numbers) else 0,), -1)
        self.places[numbers] = torch.arange(len(numbers))

    def __call__(self, numbers: Tensor) -> Tensor | None:
        """`z_a` `(n, d_a)` float32 of the sounds with these `numbers`; None if one of them could not be read."""
        if (numbers >= len(self.places)).any() or (self.places[numbers] < 0).any():
            return None
        return self.cache.__getitems__(self.places[numbers].tolist())[AUDIO]


class EmbeddedRows(Dataset):
    """
    Rows with `sound_embeds`, `(sounds, d_a)` float32, for the collator to take in place of their sounds. A row has none
    if it has no sound, or if one of its sounds could not be read.

    Args:
        rows: Of a data set.
        sounds: Of at least these rows.
        cache: Their embeddings.
    """

    def __init__(self, rows: Rows, sounds: DistinctSounds, cache: CachedSounds) -> None:
        self.rows, self.cache = rows, cache
        self.starts, self.numbers = sounds.of(rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.rows[index]
        own = self.numbers[self.starts[row["row"]] : self.starts[row["row"] + 1]]
        embeddings = self.cache(own) if len(own) else None
        return row if embeddings is None else {**row, SOUND_EMBEDS: embeddings}


def embedded_rows(
    parts: Sequence[Rows],
    collator: SoundLlavaCollator,
    model: SoundLlavaForConditionalGeneration,
    settings: FinetuningArguments,
    training: FinetuningTrainingArguments,
    progress: Progress | None = None,
) -> list[EmbeddedRows]:
    """
    The same rows with the embeddings of their sounds, which are computed unless `settings.cache_embeddings` has them.
    Every process of a run calls this; each computes its share.

    Args:
        parts: Training and held-out rows.
        collator: Of these rows.
        model: After [`apply_preset`].
        progress: See [`fill_cache`].

    Raises:
        ArgumentsError: If the audio encoder is to be trained, or no row has a sound.
        CacheError: If the cache cannot be filled.
        TrainingError: If the processes do not have the same encoder and sounds.
    """
    tower = model.base_model.audio_tower
    if any(parameter.requires_grad for parameter in tower.parameters()):
        raise ArgumentsError(
            "cache_embeddings: the audio encoder is to be trained, and what it hears changes with every step: leave "
            "cache_embeddings out, or freeze the encoder (audio_tower.requires_grad_(False))"
        )
    if any(parameter.is_meta or not parameter.numel() for parameter in tower.parameters()):
        raise TrainingError(
            "cache_embeddings: this process holds no weights of the audio encoder, which are sharded or loaded by "
            "another process: leave cache_embeddings out, or start the run without fsdp_cpu_ram_efficient_loading and "
            "zero3_init_flag"
        )
    with progress_bar("listing sounds", sum(map(len, parts)), 0, training, progress) as advance:
        sounds = DistinctSounds(parts, collator, advance)
    if not len(sounds):
        raise ArgumentsError(f"cache_embeddings: no row of {settings.dataset} has a sound; leave cache_embeddings out")
    extractor = collator.processor.feature_extractor
    key = encoder_key(model.config, tower, extractor)
    if key["encoder"] is None:  # a checkpoint that holds its encoder itself
        key |= {"encoder": settings.model, "encoder_revision": settings.model_revision}
    key |= {"dtype": str(tower.dtype), "shard_rows": settings.cache_shard_rows, "sounds": sounds.identity()}
    folder = cache_folder(str(settings.cache_embeddings), key)
    if len(set(gather_object([folder.name]))) > 1:
        raise TrainingError(
            "cache_embeddings: the processes of this run have other weights of the audio encoder or other files of "
            "sounds; give all of them the same model and data set, whose files have the same sizes and times"
        )
    tower.to(training.device)

    @torch.no_grad()
    def embed(batch: dict[str, Any]) -> tuple[Tensor, Tensor, int]:
        numbers, bad = batch.pop("numbers"), batch.pop("bad")
        if not len(numbers):
            return numbers, torch.empty(0, model.config.sound_config.audio_embedding_dim), bad
        batch = {name: values.to(tower.device) for name, values in batch.items()}
        features = batch.pop("input_features")
        if features.is_floating_point():
            features = features.to(tower.dtype)
        return numbers, tower(features, **batch).pooler_output.float().cpu(), bad

    fill_cache(
        sounds,
        folder,
        key,
        SoundReader(extractor),
        embed,
        training,
        progress,
        label="embedding sounds",
        shard_rows=settings.cache_shard_rows,
        batch_size=settings.cache_batch_size,
        max_bad_rows=settings.max_bad_rows,
        unit="sound",
    )
    cache = CachedSounds(folder)
    logger.info("%d distinct sounds, embedded in %s", len(sounds), folder)
    return [EmbeddedRows(part, sounds, cache) for part in parts]


__all__ = ["CachedSounds", "EmbeddedRows", "embedded_rows"]
