"""Aligns an audio encoder with a LLaVA's visual space: trains the projector and measures retrieval.

`accelerate launch -m soundclip_hf.training.alignment --config align/whisperclip …` runs it on several devices.
"""

import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm
from transformers import set_seed

from ..evaluation.results import EvalResult
from ..files import write_text
from .aligner import Aligner, load_aligner
from .arguments import AlignmentArguments, AlignmentTrainingArguments, ArgumentsError, check_extra, read_arguments
from .checkpoints import claim, last_checkpoint
from .collators import PairCollator, collate_cached
from .embedding_cache import INDEX_NAME, CachedPairs, build_cache, cache_folder, finish_cache
from .pairs import PairRows, PairStream, open_pairs
from .trainer import AlignmentTrainer, PairEncoder, readable

RESULT_NAME, CURVE_NAME = "retrieval.json", "curve.json"
# Settings that do not change what a run computes.
_WITHOUT_EFFECT = ("overwrite", "cache_embeddings", "cache_shard_rows", "cache_batch_size", "max_bad_rows")
_OF_THE_RECIPE = (
    "learning_rate",
    "num_train_epochs",
    "max_steps",
    "optim",
    "weight_decay",
    "lr_scheduler_type",
    "lr_scheduler_kwargs",
    "max_grad_norm",
    "seed",
    "data_seed",
    "warmup_steps",
    "gradient_accumulation_steps",
)


def align(settings: AlignmentArguments, training: AlignmentTrainingArguments) -> EvalResult:
    """
    Train a projector and write the adapter to `training.output_dir`. A run that was stopped there is resumed.

    The folder then holds what `SoundLlava.from_pretrained` and `SoundClipModel.from_pretrained` read, `retrieval.json`
    (the result, an [`EvalResult`]) and `curve.json` (what was logged during training).

    Raises:
        NotInstalledError: If the extra `train` is missing; nothing has been written then.
        ArgumentsError: If a setting is missing or does not fit; nothing has been written then.
        CacheError, TrainingError: If the run cannot continue; the message names the step and the rows.
    """
    check_extra()
    settings.check_complete()
    if settings.streaming and settings.cache_embeddings is None and training.max_steps <= 0:
        raise ArgumentsError("a stream has no length: give --max_steps, or --cache_embeddings, which reads it once")
    set_seed(training.seed)
    aligner = load_aligner(settings)
    train: Any
    validation: Any
    train, validation = open_pairs(settings, training.seed)
    recipe = recipe_of(settings, training)
    folder = Path(str(training.output_dir))
    if training.process_index == 0:
        claim(folder, recipe, settings.overwrite)
    encoder = PairEncoder(aligner.model)
    collator: Any = PairCollator(aligner.pair_processor, _frame(settings.frame))
    if settings.cache_embeddings is not None:
        train, validation = _cached(settings, training, aligner, encoder, collator, train, validation)
        collator = collate_cached
    _check_sizes(train, validation, training)
    trainer = AlignmentTrainer(
        encoder, settings, args=training, train_dataset=train, eval_dataset=validation, data_collator=collator
    )
    checkpoint: Any = training.resume_from_checkpoint or last_checkpoint(folder, training.world_size)
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    history = list(trainer.state.log_history)
    result = _measured(trainer, settings, training, recipe, validation)
    if training.process_index == 0:
        aligner.save(folder)
        result.save(folder / RESULT_NAME)
        write_text(folder / CURVE_NAME, json.dumps(history, indent=1) + "\n")
    trainer.accelerator.wait_for_everyone()
    return result


def _cached(
    settings: AlignmentArguments,
    training: AlignmentTrainingArguments,
    aligner: Aligner,
    encoder: PairEncoder,
    collator: PairCollator,
    train: PairRows | PairStream,
    validation: PairRows | PairStream,
) -> tuple[CachedPairs, CachedPairs]:
    from accelerate import PartialState

    encoder.to(training.device).eval()
    bar: Any = None
    widths = (aligner.model.config.audio_embedding_dim, aligner.model.config.vision_hidden_size)

    @torch.no_grad()
    def embed(batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, int]:
        rows, bad = batch.pop("rows"), len(batch.pop("bad"))
        bar.update(len(rows) + bad)
        if not len(rows):
            return rows, torch.empty(0, widths[0]), torch.empty(0, widths[1]), bad
        batch = {name: values.to(training.device) for name, values in batch.items()}
        vision = encoder.embed_vision(batch.pop("pixel_values"))
        return rows, encoder.embed_audio(**batch).float().cpu(), vision.float().cpu(), bad

    towers = aligner.describe()

    def cached(rows: PairRows | PairStream, split: str) -> Path:
        nonlocal bar
        key = {
            **towers,
            "frame": settings.frame,
            "dataset": [settings.dataset, settings.dataset_config, settings.dataset_revision, split],
            "columns": rows.columns,
            "shard_rows": settings.cache_shard_rows,
            "rows": rows.identity(),
        }
        folder = cache_folder(str(settings.cache_embeddings), key)
        if (folder / INDEX_NAME).is_file():
            return folder
        silent = bool(training.disable_tqdm) or training.process_index > 0
        with tqdm(desc=f"embedding {split}", unit="row", disable=silent) as bar:
            build_cache(
                rows,
                folder,
                key,
                collator,
                embed,
                shard_rows=settings.cache_shard_rows,
                batch_size=settings.cache_batch_size,
                max_bad_rows=settings.max_bad_rows,
                workers=training.dataloader_num_workers,
                part=training.process_index,
                parts=training.world_size,
            )
        PartialState().wait_for_everyone()
        if training.process_index == 0:
            finish_cache(folder)
        PartialState().wait_for_everyone()
        return folder

    if isinstance(train, PairRows) and isinstance(validation, PairRows) and train.rows is validation.rows:
        # One cache for both: another seed holds out other rows, but the embeddings stay the same.
        folder = cached(PairRows(train.rows, train.columns), settings.train_split)
        return CachedPairs(folder, train.marks()), CachedPairs(folder, validation.marks())
    return (
        CachedPairs(cached(train, settings.train_split)),
        CachedPairs(cached(validation, settings.eval_split or f"head of {settings.train_split}")),
    )


def _check_sizes(train: Any, validation: Any, training: AlignmentTrainingArguments) -> None:
    each, devices = training.per_device_train_batch_size, training.world_size
    # The pairs of one loss: those of all devices. Accumulation sums the gradients of several such batches; an epoch
    # with fewer batches than that still ends with a step.
    batch = each * devices
    if batch < 2:
        raise ArgumentsError(f"per_device_train_batch_size={each}: a contrastive loss needs at least 2 pairs")
    if hasattr(train, "__len__") and len(train) < batch:
        raise ArgumentsError(
            f"{len(train)} training pairs do not fill one batch of {batch} (per_device_train_batch_size={each}, "
            f"{devices} device{'s' * (devices > 1)}): lower per_device_train_batch_size"
        )
    if hasattr(validation, "__len__") and len(validation) < 2:
        raise ArgumentsError(f"{len(validation)} validation pair(s): retrieval needs at least 2")


def _measured(
    trainer: AlignmentTrainer,
    settings: AlignmentArguments,
    training: AlignmentTrainingArguments,
    recipe: dict[str, Any],
    validation: Any,
) -> EvalResult:
    """Retrieval on the validation rows, with projected and with raw embeddings, and its intervals."""
    kept: list[Any] = []

    def keep(prediction: Any) -> dict[str, float]:
        kept.append(prediction)
        return {}

    metrics = trainer.compute_metrics
    trainer.compute_metrics = keep
    try:
        trainer.evaluate(validation)
    finally:
        trainer.compute_metrics = metrics
    (prediction,) = kept
    *sounds, vision = readable(prediction)
    projected, raw = (trainer.retrieval(audio, vision).to_dict() for audio in sounds)
    numbers: dict[str, Any] = {"chance": projected["chance"]}
    error_bars: dict[str, Any] = {}
    for name, found in (("projected", projected), ("raw", raw)):
        for way in ("a2v", "v2a"):
            values = dict(found[way])
            error_bars[f"{name}_{way}"] = {
                "interval_95": values.pop("intervals"),
                "sd": {key: values.pop(f"{key}_sd") for key in ("mean_rank", "t1", "t3", "t10")},
            }
            numbers[f"{name}_{way}"] = values
    return EvalResult(
        task="retrieval",
        model=str(training.output_dir),
        dataset=f"{settings.dataset}, {settings.eval_split or 'validation rows of ' + settings.train_split}",
        n=len(vision),
        seed=training.seed,
        metrics=numbers,
        error_bars=error_bars,
        config={**recipe, **{key: projected[key] for key in ("pool", "sample", "repeats")}},
        # A folder has none, whatever was asked for.
        dataset_revision=None if Path(str(settings.dataset)).exists() else settings.dataset_revision,
    )


def recipe_of(settings: AlignmentArguments, training: AlignmentTrainingArguments) -> dict[str, Any]:
    """The settings that decide what a run computes, as plain values."""
    values = {name: value for name, value in asdict(settings).items() if name not in _WITHOUT_EFFECT}
    values |= {name: getattr(training, name) for name in _OF_THE_RECIPE}
    values["batch_size"] = training.per_device_train_batch_size * training.world_size
    return json.loads(json.dumps(values, default=lambda value: getattr(value, "value", str(value))))


def _frame(text: str) -> str | float:
    if text in ("middle", "first"):
        return text
    try:
        return float(text)
    except ValueError:
        raise ArgumentsError(f"frame={text!r}: give middle, first or a number of seconds") from None


def main(options: Sequence[str] | None = None) -> None:
    """The command line of `python -m soundclip_hf.training.alignment`."""
    try:
        settings, training = read_arguments(sys.argv[1:] if options is None else options)
        with redirect_stdout(sys.stderr):  # the trainer prints its logs to stdout
            result = align(settings, training)
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        if "--debug" in sys.argv:
            raise
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ArgumentsError) else 1)
    if training.process_index == 0:
        print(json.dumps(result.metrics))


if __name__ == "__main__":
    main()
