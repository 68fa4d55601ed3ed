"""Aligns an audio encoder with a LLaVA's visual space: trains the projector and measures retrieval.

`accelerate launch -m soundclip_hf.training.alignment --config align/whisperclip …` runs it on several devices.
"""

import json
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import set_seed

from ..evaluation.results import EvalResult
from ..evaluation.retrieval import retrieval_metrics
from ..files import write_text
from ..hub_access import explained
from ..modeling.checkpoint_names import bundled_name
from ..modeling.pushing.publishers import check_publishable
from .aligner import Aligner, load_aligner
from .arguments import AlignmentArguments, AlignmentTrainingArguments, ArgumentsError, check_extra, read_arguments
from .checkpoints import claim, last_checkpoint, only_run, train_from
from .collators import PairCollator, collate_cached
from .curve import BestEpoch, best_epoch, draw_curve
from .embedding_cache import CachedPairs, cache_folder, fill_cache
from .log_lines import print_lines
from .pairs import PairRows, PairStream, open_pairs
from .run_arguments import Progress, check_launch, run_command
from .settings_parser import parse_frame
from .trainer import AlignmentTrainer, PairEncoder, StepProgress, TrainingError, readable

logger = logging.getLogger("transformers.soundclip_hf.training")

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


def align(
    settings: AlignmentArguments, training: AlignmentTrainingArguments, progress: Progress | None = None
) -> EvalResult:
    """
    Train a projector and write the adapter to `training.output_dir`. A run that was stopped there is resumed.

    With `training.push_to_hub`, the adapter is published, too; what the Hub or a licence stands against is said before
    anything is trained.

    The folder then holds what `SoundLlava.from_pretrained` and `SoundClipModel.from_pretrained` read, `retrieval.json`
    (the result, an [`EvalResult`]), `curve.json` (what was logged during training) and, where matplotlib is installed,
    `curve.png`.

    Args:
        progress: Shows how far the embedding of the dataset is and, if `training.disable_tqdm` is set, the training:
            called with what is done, the number of steps (None: unknown), and the number that was done before, it gives
            a context whose value is called with the number of new steps. By default, `tqdm` shows the embedding.

    Raises:
        InUseError: If another process trains in this folder.
        NotInstalledError: If the extra `train` is missing; nothing has been written then.
        ArgumentsError: If a setting is missing or does not fit; nothing has been written then.
        CacheError, TrainingError: If the run cannot continue; the message names the step and the rows. The last also if
            the finished adapter cannot be published.
        ValueError: If the adapter must not, or cannot be published.
    """
    check_extra()
    check_launch(training)
    settings.check_complete()
    if settings.streaming and settings.cache_embeddings is None and training.max_steps <= 0:
        raise ArgumentsError("a stream has no length: give --max_steps, or --cache_embeddings, which reads it once")
    folder = Path(str(training.output_dir))
    first = training.process_index == 0
    with ExitStack() as stack:
        # A second run in the folder is refused before the models are loaded. Without a folder there is no other run.
        locked = first and folder.is_dir()
        if locked:
            stack.enter_context(only_run(folder))
        set_seed(training.seed)
        aligner = load_aligner(settings)
        train: Any
        validation: Any
        if training.push_to_hub and first:
            repo = training.hub_model_id or folder.absolute().name
            check_publishable(aligner.config, repo, license=training.hub_license, token=training.hub_token)
        train, validation = open_pairs(settings, training.seed)
        recipe = recipe_of(settings, training)
        if first:
            if not locked:
                stack.enter_context(only_run(folder))
            claim(folder, recipe, settings.overwrite)
        encoder = PairEncoder(aligner.model)
        collator: Any = PairCollator(aligner.pair_processor, parse_frame(settings.frame))
        if settings.cache_embeddings is not None:
            train, validation = _cached(settings, training, aligner, encoder, collator, train, validation, progress)
            collator = collate_cached
        _check_sizes(train, validation, training)
        repo = training.hub_model_id or folder.absolute().name
        with explained(repo, training.hub_revision, writing=True, kind="model"):
            trainer = AlignmentTrainer(
                encoder,
                settings,
                aligner.save,
                args=training,
                train_dataset=train,
                eval_dataset=validation,
                data_collator=collator,
            )
        print_lines(trainer)
        if training.disable_tqdm and progress is not None and first:
            trainer.add_callback(StepProgress(progress, stack))
        checkpoint: Any = training.resume_from_checkpoint or last_checkpoint(folder, training.world_size)
        train_from(trainer, checkpoint)
        history = list(trainer.state.log_history)
        result = _measured(trainer, settings, training, recipe, validation)
        result.metrics["rows_left_out"] = trainer.count_left_out()
        best = best_epoch(history, training.metric_for_best_model, training.greater_is_better)
        if best is not None:
            last = max(float(entry["epoch"]) for entry in history if "epoch" in entry)
            kept = best.epoch if training.load_best_model_at_end else last
            result.metrics["best_epoch"] = {
                "epoch": best.epoch,
                best.metric: best.value,
                "last_epoch": last,
                "epoch_of_the_adapter": kept,
            }
        if first:
            aligner.save(folder)
            result.save(folder / RESULT_NAME)
            write_text(folder / CURVE_NAME, json.dumps(history, indent=1) + "\n")
            _draw(history, best, (folder / CURVE_NAME).with_suffix(".png"))
            if training.push_to_hub:
                _push(trainer, folder)
        trainer.accelerator.wait_for_everyone()
    return result


def _push(trainer: AlignmentTrainer, folder: Path) -> None:
    try:
        trainer.push_to_hub(folder=folder)
    except ValueError as error:
        raise TrainingError(
            f"{error}; the adapter is in {folder}: publish it with `soundclip push {folder} {trainer.hub_model_id}`"
        ) from error


def _draw(history: Sequence[dict[str, Any]], best: BestEpoch | None, path: Path) -> None:
    try:
        draw_curve(history, best, path)
    except Exception as error:  # the adapter is there, and a picture is not worth losing the result
        logger.warning("%s is not drawn: %s", path, " ".join(str(error).split()))


def _cached(
    settings: AlignmentArguments,
    training: AlignmentTrainingArguments,
    aligner: Aligner,
    encoder: PairEncoder,
    collator: PairCollator,
    train: PairRows | PairStream,
    validation: PairRows | PairStream,
    progress: Progress | None,
) -> tuple[CachedPairs, CachedPairs]:
    encoder.to(training.device).eval()
    widths = (aligner.model.config.audio_embedding_dim, aligner.model.config.vision_hidden_size)

    @torch.no_grad()
    def embed(batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, int]:
        rows, bad = batch.pop("rows"), len(batch.pop("bad"))
        if not len(rows):
            return rows, torch.empty(0, widths[0]), torch.empty(0, widths[1]), bad
        batch = {name: values.to(training.device) for name, values in batch.items()}
        vision = encoder.embed_vision(batch.pop("pixel_values"))
        return rows, encoder.embed_audio(**batch).float().cpu(), vision.float().cpu(), bad

    towers = aligner.describe()

    def cached(rows: PairRows | PairStream, split: str) -> Path:
        key = {
            **towers,
            "frame": settings.frame,
            "dataset": [settings.dataset, settings.dataset_config, settings.dataset_revision, split],
            "columns": rows.columns,
            "shard_rows": settings.cache_shard_rows,
            "rows": rows.identity(),
        }
        folder = cache_folder(str(settings.cache_embeddings), key)
        fill_cache(
            rows,
            folder,
            key,
            collator,
            embed,
            training,
            progress,
            label=f"embedding {split}",
            shard_rows=settings.cache_shard_rows,
            batch_size=settings.cache_batch_size,
            max_bad_rows=settings.max_bad_rows,
        )
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
    projected, raw = (trainer.retrieval(audio, vision) for audio in sounds)
    numbers, error_bars = retrieval_metrics(projected, raw)
    return EvalResult(
        task="retrieval",
        model=str(training.output_dir),
        dataset=f"{settings.dataset}, {settings.eval_split or 'validation rows of ' + settings.train_split}",
        n=len(vision),
        seed=training.seed,
        metrics=numbers,
        error_bars=error_bars,
        config={**recipe, **{key: getattr(projected, key) for key in ("pool", "sample", "repeats")}},
        # A folder has none, whatever was asked for.
        dataset_revision=None if Path(str(settings.dataset)).exists() else settings.dataset_revision,
    )


def recipe_of(settings: AlignmentArguments, training: AlignmentTrainingArguments) -> dict[str, Any]:
    """The settings that decide what a run computes, as plain values."""
    values = {name: value for name, value in asdict(settings).items() if name not in _WITHOUT_EFFECT}
    values |= {name: getattr(training, name) for name in _OF_THE_RECIPE}
    # Not the path of this installation.
    values["base_model"] = None if settings.base_model is None else bundled_name(settings.base_model)
    values["batch_size"] = training.per_device_train_batch_size * training.world_size
    return json.loads(json.dumps(values, default=lambda value: getattr(value, "value", str(value))))


def main(options: Sequence[str] | None = None) -> None:
    """The command line of `python -m soundclip_hf.training.alignment`."""
    run_command(read_arguments, align, options)


if __name__ == "__main__":
    main()
