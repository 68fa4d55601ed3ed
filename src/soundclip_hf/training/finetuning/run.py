"""A fine-tuning run: data and settings are checked, then the model is loaded, trained, measured and saved."""

import copy
import json
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from transformers import set_seed

from ...evaluation.generation.answering import AnsweringModel, AnswerSettings
from ...evaluation.results import EvalResult
from ...evaluation.text_metrics.scores import MetricScore
from ...extras import require
from ...files import expand_user, write_text
from ...hub_access import explained
from ...modeling.checkpoint_names import bundled_name, commit_of
from ...modeling.modeling_soundllava import SoundLlavaForConditionalGeneration
from ...modeling.pushing.publishers import check_publishable, publish
from ..checkpoints import claim, last_checkpoint, only_run, train_from
from ..log_lines import print_lines
from ..run_arguments import Progress, check_launch
from ..settings_parser import ArgumentsError, check_extra
from ..trainer import StepProgress, TrainingError
from .arguments import FinetuningArguments, FinetuningTrainingArguments
from .collator import SOUND_EMBEDS, SoundLlavaCollator
from .conversations import RowError
from .evaluation import answer_questions, audit_rows, readable
from .memory import DecoderLayer, MemoryEstimate, estimate_memory
from .opening import open_collator, open_model, open_processor, weights_dtype
from .presets import PartRow, apply_preset, find_preset, parameter_table, table_text
from .questions import SoundKind, find_swaps, read_questions
from .rows import Rows, RowStream, answer_with_sound, check_rows, open_rows
from .sound_cache import embedded_rows
from .trainer import FinetuningTrainer

logger = logging.getLogger("transformers.soundclip_hf.training")

SETTINGS_NAME, RESULT_NAME, CURVE_NAME, BEFORE_NAME = "finetuning.json", "answers.json", "curve.json", "before.json"
# Settings that do not change what a run computes.
_WITHOUT_EFFECT = (
    *("overwrite", "max_bad_rows", "eval_answers", "eval_alignments", "eval_sounds", "eval_audit", "max_new_tokens"),
    *("cache_embeddings", "cache_shard_rows", "cache_batch_size"),
)
_OF_THE_RECIPE = (
    *("learning_rate", "num_train_epochs", "max_steps", "optim", "weight_decay", "lr_scheduler_type", "warmup_steps"),
    *("max_grad_norm", "seed", "data_seed", "gradient_accumulation_steps", "bf16", "fp16"),
)


def finetune(
    settings: FinetuningArguments, training: FinetuningTrainingArguments, progress: Progress | None = None
) -> EvalResult:
    """
    Train a SoundLlava on conversations, and write what came out to `training.output_dir`. A run that was stopped there
    is resumed from its last checkpoint.

    The folder then holds what `SoundLlava.from_pretrained` reads: the adapter, LoRA layers and the processor, or the
    whole model for presets that train the base; `answers.json`, the held-out questions answered before and after the
    training (an [`EvalResult`]); and `curve.json`, what was logged.

    Args:
        progress: Shows how far the embedding of the sounds is and, if `training.disable_tqdm` is set, the training;
            see [`align`]. By default, `tqdm` shows the embedding.

    Raises:
        InUseError: If another process trains in this folder.
        NotInstalledError: If an optional package is missing; nothing has been written then.
        ArgumentsError: If a setting, the model or the data do not fit; nothing has been loaded then.
        CacheError: If `settings.cache_embeddings` is set, and the cache cannot be filled.
        TrainingError: If the run cannot continue; the message names the step.
        ValueError: If the model must not, or cannot be published.
    """
    check_launch(training)
    prepared = Prepared(settings, training)
    folder = Path(str(training.output_dir))
    first = training.process_index == 0
    with ExitStack() as stack:
        if first:
            stack.enter_context(only_run(folder))
            claim(folder, prepared.recipe, settings.overwrite, SETTINGS_NAME)
            if settings.overwrite:
                (folder / BEFORE_NAME).unlink(missing_ok=True)
        repo = training.hub_model_id or folder.absolute().name
        set_seed(training.seed)
        model = open_model(settings, training, prepared.config, prepared.revision)
        if training.push_to_hub and first:
            _check_publishable(model, repo, settings, training)
        apply_preset(model, settings.preset, settings.lora)
        if first:
            # A launcher that starts one process in place of several does not say so.
            each = training.per_device_train_batch_size * training.gradient_accumulation_steps
            logger.warning(
                "%d process(es), %d row(s) of each in a step; preset %s trains:\n%s",
                training.world_size,
                each,
                settings.preset,
                table_text(parameter_table(model)),
            )
        held_out = prepared.held_out_rows()
        train, validation = _with_embeddings(prepared, model, settings, training, progress)
        measuring = Measuring(settings, training, model, prepared, held_out)
        with explained(repo, training.hub_revision, writing=True, kind="model"):  # makes the repository
            trainer = FinetuningTrainer(
                model,
                measuring.in_the_loop if settings.eval_answers or settings.eval_audit else None,
                args=training,
                train_dataset=train,
                eval_dataset=validation,
                data_collator=prepared.collator,
            )
        print_lines(trainer)
        if training.disable_tqdm and progress is not None and first:
            trainer.add_callback(StepProgress(progress, stack))
        before = _before(folder, measuring, trainer)
        set_seed(training.seed)  # a run that goes on has not measured this
        checkpoint: Any = training.resume_from_checkpoint or last_checkpoint(folder, training.world_size)
        try:
            train_from(trainer, checkpoint)
        except RowError as error:
            raise TrainingError(f"step {trainer.state.global_step + 1}: {error}") from error
        with trainer.compute_loss_context_manager():
            result = measuring.result(before, prepared.recipe, trainer)
        state = None if not trainer.is_fsdp_enabled else trainer.accelerator.get_state_dict(trainer.model)
        if first:
            model.save_pretrained(folder, state_dict=state)
            prepared.processor.save_pretrained(folder)
            result.save(folder / RESULT_NAME)
            write_text(folder / CURVE_NAME, json.dumps(trainer.state.log_history, indent=1) + "\n")
            if training.push_to_hub:
                _push(folder, repo, training)
        trainer.accelerator.wait_for_everyone()
    return result


class Prepared:
    """Everything about a run that is known before weights are loaded: rows, processor, collator, and a first batch."""

    def __init__(self, settings: FinetuningArguments, training: FinetuningTrainingArguments) -> None:
        check_extra()
        settings.check_complete()
        if find_preset(settings.preset).lora:
            require("peft", what="a preset with LoRA", extra="train")
        if settings.streaming and training.max_steps <= 0:
            raise ArgumentsError("a stream has no length: give --max_steps")
        self.settings = settings
        self.train: Rows | RowStream
        self.held_out: Rows | RowStream
        self.train, self.held_out = open_rows(settings.source, training.seed)
        check_rows(self.train, str(settings.dataset))
        self.config, self.processor, self.revision = open_processor(settings, _known_commit(settings, training))
        self.recipe = {**recipe_of(settings, training), "model_commit": commit_of(self.revision)}
        if self.config.sound_config.alignment == "raw" and "audio_projection" in find_preset(settings.preset).parts:
            raise ArgumentsError(
                f"preset={settings.preset!r}: trains the sound's projector, which {settings.model} does not use "
                "(alignment 'raw'); give --sound_alignment projected, or the preset lora"
            )
        self.media_folder = _media_folder(settings)
        self.collator: SoundLlavaCollator = open_collator(settings, self.config, self.processor, self.media_folder)
        size = training.per_device_train_batch_size
        strict = open_collator(settings, self.config, self.processor, self.media_folder)
        strict.max_bad_rows = size - 1  # one good row is enough to see that the data fit the model
        try:
            self.first_batch: dict[str, Any] = strict(list(_first(self.train, size)))
        except (RowError, OSError) as error:
            raise ArgumentsError(f"dataset {settings.dataset}: {error}") from error

    def held_out_rows(self) -> list[dict[str, Any]]:
        """Those that are answered and audited."""
        return list(_first(self.held_out, max(self.settings.eval_answers, 4 * self.settings.eval_audit)))


class DryRun:
    """
    What a run would train, and the memory that it would take: of shapes alone, no weight is loaded.

    Attributes:
        table: Parameters by part.
        memory: On each device.
        batch: Shapes of the first batch.
        supervised: Tokens with a label in the first batch.
        cache_embeddings: The folder of the embeddings that take the place of the audio encoder in a step; None: it
            runs in every step.
    """

    def __init__(self, settings: FinetuningArguments, training: FinetuningTrainingArguments, devices: int = 1) -> None:
        prepared = Prepared(settings, training)
        dtype = weights_dtype(settings)
        stored = getattr(prepared.config, "dtype", None) or torch.float32
        with torch.device("meta"):
            model = SoundLlavaForConditionalGeneration._from_config(
                prepared.config, dtype=stored if isinstance(dtype, str) else dtype
            )
        apply_preset(model, settings.preset, settings.lora)
        self.table: list[PartRow] = [
            _quantized(row) if settings.quantization == "4bit" else row for row in parameter_table(model)
        ]
        batch = prepared.first_batch
        ids, mask = batch["input_ids"], batch.get("attention_mask")
        self.memory: MemoryEstimate = estimate_memory(
            self.table,
            prepared.config.text_config,
            DecoderLayer.of(model.model.language_model, prepared.config.text_config),
            tokens=int(ids.numel()),
            element_size=2 if training.bf16 or training.fp16 else 4,
            gradient_checkpointing=bool(training.activation_checkpointing or training.gradient_checkpointing),
            devices=devices,
            padded_to=0 if mask is None or bool(mask.all()) else int(ids.shape[1]),
        )
        self.batch = {name: list(value.shape) for name, value in batch.items() if isinstance(value, torch.Tensor)}
        self.cache_embeddings = settings.cache_embeddings
        if self.cache_embeddings is not None and (features := self.batch.pop("input_features", None)) is not None:
            self.batch.pop("input_features_mask", None)
            self.batch[SOUND_EMBEDS] = [features[0], prepared.config.sound_config.audio_embedding_dim]
        self.supervised = int((batch["labels"] != -100).sum())
        self.text = prepared.processor.tokenizer.decode(batch["input_ids"][0][batch["labels"][0] != -100])


class Measuring:
    """Answers and audits held-out rows with the model as it is."""

    def __init__(
        self,
        settings: FinetuningArguments,
        training: FinetuningTrainingArguments,
        model: SoundLlavaForConditionalGeneration,
        prepared: Prepared,
        rows: Sequence[dict[str, Any]],
    ) -> None:
        self.settings, self.training, self.rows = settings, training, rows
        self.answering = AnsweringModel(model, prepared.processor, str(training.output_dir), None, "")
        self.own_alignment = model.config.sound_config.alignment
        self.alignments = settings.alignments or [self.own_alignment]
        self.video = prepared.collator.video
        asked = read_questions(rows[: settings.eval_answers], prepared.media_folder)
        self.questions = readable(asked, self.answering, self.video)
        known = partial(answer_with_sound, prepared.held_out)
        self.swaps = find_swaps(self.questions, known, training.seed) if "swapped" in settings.sounds else []

    def answer(self, alignment: str, kinds: Sequence[SoundKind] = ("true",)) -> dict[str, MetricScore]:
        """The answers with each of the sounds."""
        model = self.answering.model
        training = model.training
        model.eval()
        found: dict[str, MetricScore] = {}
        try:
            for kind in kinds:
                scores, _ = answer_questions(
                    self.questions,
                    self.answering,
                    AnswerSettings(alignment=alignment, max_new_tokens=self.settings.max_new_tokens),
                    video=self.video,
                    kind=kind,
                    swaps=self.swaps,
                    batch_size=self.training.per_device_eval_batch_size,
                    seed=self.training.seed,
                )
                found |= scores
        finally:
            model.train(training)
        return found

    def in_the_loop(self) -> dict[str, float]:
        if not self.questions:
            return self.audit()
        scores = self.answer(self.own_alignment, self.settings.sounds)
        return {**{name: score.value for name, score in scores.items()}, **self.audit()}

    def audit(self) -> dict[str, float]:
        if not self.settings.eval_audit:
            return {}
        return audit_rows(self.rows, self.answering, self.settings.eval_audit, alignment=None, seed=self.training.seed)

    def now(self) -> dict[str, Any]:
        """The numbers, and their 95 % intervals, by alignment; and the audit."""
        values: dict[str, Any] = {}
        bars: dict[str, Any] = {}
        for alignment in self.alignments if self.questions else ():
            scores = self.answer(alignment, self.settings.sounds if alignment == self.own_alignment else ("true",))
            values[alignment] = {name: score.value for name, score in scores.items()}
            bars[alignment] = {name: score.interval for name, score in scores.items() if score.interval is not None}
        audited = self.audit()
        return {"metrics": {**values, **({"audit": audited} if audited else {})}, "error_bars": bars}

    def result(self, before: dict[str, Any], recipe: dict[str, Any], trainer: FinetuningTrainer) -> EvalResult:
        after = self.now()
        losses = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
        left_out = sum(gather_object([trainer.data_collator.bad_rows]))
        split = self.settings.eval_split or f"held-out rows of {self.settings.train_split}"
        return EvalResult(
            task="question answering",
            model=str(self.training.output_dir),
            dataset=f"{self.settings.dataset}, {split}",
            n=len(self.questions),
            seed=self.training.seed,
            metrics={
                "before": before["metrics"],
                "after": after["metrics"],
                "rows_left_out": left_out,
                "steps": trainer.state.global_step,
                **({"eval_loss": losses[-1]} if losses else {}),
            },
            error_bars={"before": before["error_bars"], "after": after["error_bars"]},
            config={
                **recipe,
                "max_new_tokens": self.settings.max_new_tokens,
                "eval_sounds": self.settings.sounds,
                **self._swapped(),
            },
            dataset_revision=None if Path(str(self.settings.dataset)).exists() else self.settings.dataset_revision,
        )

    def _swapped(self) -> dict[str, int]:
        """How many questions were asked with another one's sound, and for how many of them its answer is known."""
        if "swapped" not in self.settings.sounds:
            return {}
        swaps = [swap for swap in self.swaps if swap is not None]
        return {"swapped": len(swaps), "swapped_heard": sum(swap.answer is not None for swap in swaps)}


def recipe_of(settings: FinetuningArguments, training: FinetuningTrainingArguments) -> dict[str, Any]:
    """The settings that decide what a run computes, as plain values."""
    values = {name: value for name, value in asdict(settings).items() if name not in _WITHOUT_EFFECT}
    values |= {name: getattr(training, name) for name in _OF_THE_RECIPE}
    values["batch_size"] = training.per_device_train_batch_size * training.world_size
    return json.loads(json.dumps(values, default=lambda value: getattr(value, "value", str(value))))


def _with_embeddings(
    prepared: Prepared,
    model: SoundLlavaForConditionalGeneration,
    settings: FinetuningArguments,
    training: FinetuningTrainingArguments,
    progress: Progress | None,
) -> tuple[Any, Any]:
    """Training and held-out rows; with `cache_embeddings`, they bring the embeddings of their sounds."""
    parts = [part for part in (prepared.train, prepared.held_out) if isinstance(part, Rows)]
    if settings.cache_embeddings is None or len(parts) < 2:
        return prepared.train, prepared.held_out
    train, held_out = embedded_rows(parts, prepared.collator, model, settings, training, progress)
    return train, held_out


def _known_commit(settings: FinetuningArguments, training: FinetuningTrainingArguments) -> str | None:
    """The commit of the model that the run in this folder began with: what was pushed since is another model."""
    path = Path(str(training.output_dir)) / SETTINGS_NAME
    if settings.overwrite or not path.is_file():
        return None
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        same = all(before.get(name) == getattr(settings, name) for name in ("model", "model_revision"))
    except (AttributeError, ValueError, RecursionError):
        return None  # `claim` says so
    return before.get("model_commit") if same else None


def _before(folder: Path, measuring: Measuring, trainer: FinetuningTrainer) -> dict[str, Any]:
    """What the model answers before the training; a run that is resumed has measured it."""
    path = folder / BEFORE_NAME
    known = path.is_file()
    trainer.accelerator.wait_for_everyone()  # every process has looked before one of them writes it
    if known:
        return json.loads(path.read_text(encoding="utf-8"))
    measuring.answering.model.to(trainer.args.device)
    found = measuring.now()
    if trainer.is_world_process_zero():
        write_text(path, json.dumps(found, indent=2) + "\n")
    return found


def _check_publishable(
    model: SoundLlavaForConditionalGeneration,
    repo: str,
    settings: FinetuningArguments,
    training: FinetuningTrainingArguments,
) -> None:
    """Check what the push at the end would refuse of the adapter, or of the whole model, that comes out."""
    preset, config = find_preset(settings.preset), model.config
    whole = not preset.lora and (model._is_whole_checkpoint or set(preset.parts) != {"audio_projection"})
    if preset.lora and model._is_whole_checkpoint:
        # Of such a model, LoRA layers are an adapter.
        config = copy.deepcopy(config)
        config.base_model_name_or_path = bundled_name(config.name_or_path)
        config.audio_encoder_name_or_path = None
        config.base_model_revision = config.audio_encoder_revision = None
    check_publishable(config, repo, license=training.hub_license, token=training.hub_token, whole=whole)


def _push(folder: Path, repo: str, training: FinetuningTrainingArguments) -> None:
    try:
        publish(
            "model",
            folder,
            repo,
            message="End of training",
            token=training.hub_token,
            revision=training.hub_revision,
            license=training.hub_license,
        )
    except ValueError as error:
        raise TrainingError(
            f"{error}; the model is in {folder}: publish it with `soundclip push {folder} {repo}`"
        ) from error


def _media_folder(settings: FinetuningArguments) -> Path | None:
    if settings.media_folder is not None:
        folder = expand_user(settings.media_folder)
        if not folder.is_dir():
            raise ArgumentsError(f"media_folder={settings.media_folder!r}: no such folder")
        return folder
    dataset = expand_user(str(settings.dataset))
    return dataset.parent if dataset.is_file() else None


def _first(rows: Rows | RowStream, count: int) -> Any:
    if isinstance(rows, RowStream):
        return islice(rows, count)
    return map(rows.__getitem__, range(min(count, len(rows))))


def _quantized(row: PartRow) -> PartRow:
    """A row of the table, of whose language model the weights take 4 bits and their scales about an eighth of that."""
    if row.part != "language_model":
        return row
    return PartRow(row.part, row.parameters, row.trained, int(row.parameters * 4.5 / 8))


__all__ = ["CURVE_NAME", "RESULT_NAME", "SETTINGS_NAME", "DryRun", "finetune", "recipe_of"]
