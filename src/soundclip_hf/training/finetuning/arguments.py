"""Settings of a fine-tuning run, from a YAML file and a command line."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...files import expand_user
from ...modeling.checkpoint_names import bundled_name, checkpoint_name
from ..run_arguments import RunTrainingArguments
from ..settings_parser import ArgumentsError, parse_settings
from .presets import LORA_TARGETS, LoraSettings, find_preset
from .questions import SOUND_KINDS, SoundKind
from .rows import RowForm, RowSource

_DTYPES = ("auto", "float32", "bfloat16", "float16")
_QUANTIZATIONS = ("none", "4bit", "8bit")
_ALIGNMENTS = ("projected", "raw")


@dataclass
class FinetuningArguments:
    """
    What is trained, on which conversations. None keeps the model's or the processor's own value.

    Attributes:
        model: A SoundLlava or an adapter, such as the output of `soundclip align`: a folder, a Hub id, or "tiny".
        model_revision: Branch, tag or commit of a model on the Hub.
        preset: What is trained: projector, projector+mm_projector, lora, lora+projector or full-lm.
        lora_r: Rank of the LoRA layers.
        lora_alpha: Scale of the LoRA layers, as `lora_alpha` of PEFT.
        lora_dropout: Dropout of the LoRA layers.
        lora_targets: A regular expression for the names of the modules that get LoRA layers; by default the linear
            layers of a Llama-like language model.
        quantization: Of the base's weights, with bitsandbytes: none, 4bit or 8bit; towers and projectors are never
            quantised.
        dtype: Of the base's weights: auto, float32, bfloat16 or float16. "auto" is float32 where a preset trains them,
            and the checkpoint's otherwise.
        dataset: A `datasets` repository or folder, a file (.json, .jsonl, .parquet, .csv), or "synthetic".
        dataset_config, dataset_revision: Of a repository.
        train_split: The split to train on.
        eval_split: The split to measure on. By default, `eval_rows` of the training rows are held out, with media that
            no training row has.
        eval_rows: How many rows are held out, at most a tenth, or used of `eval_split`.
        streaming: Read the rows while training, and hold out the first of them; needs `max_steps`.
        question: Put to every row of a dataset that has no questions; see `answer_column`.
        answer_column: The column of answers of a dataset without conversations, such as captions.
        audio_column, image_column, video_column: Columns of media under other names than the usual ones.
        media_folder: Relative paths of media are looked up here first; by default beside a dataset that is a file.
        max_length: Tokens of a row; by default the context of the language model. Longer answers are cut.
        packing: Put several short rows into one sequence.
        sound_patches: What happens to the patches that are not kept: zero or drop.
        sound_top_k: How many patches of a slot stay.
        sound_alignment: How a sound's embedding becomes a token: projected or raw.
        frame: Of a clip: "middle", "first" or seconds.
        num_frames: How many frames of a clip are shown.
        max_bad_rows: Rows that cannot be read are logged and left out; more than this many in a process end the run.
        cache_embeddings: Folder for the embeddings of the audio encoder, which hears each sound once then; "none"
            overrides the folder of a config.
        cache_shard_rows: Sounds in a file of that folder.
        cache_batch_size: Sounds in one call of the encoder that fills it.
        eval_answers: How many held-out questions are answered at every evaluation; 0: none.
        eval_alignments: Alignments of the answers of the measurements before and after the training, such as
            "projected,raw".
        eval_sounds: Sounds that the held-out questions are asked with beside their own, at every evaluation and with
            the model's alignment: "silent", "swapped" (that of another question) and "none", such as
            "silent,swapped,none". Answers that stay right without the sound were not heard.
        eval_audit: How many held-out sounds are audited at every evaluation; 0: none. At least 2 otherwise.
        max_new_tokens: Of an answer.
        overwrite: Start again if `output_dir` holds a run; otherwise that run is resumed.
    """

    model: str | None = None
    model_revision: str | None = None
    preset: str = "lora+projector"
    lora_r: int = 16
    lora_alpha: int = 32
    lora_dropout: float = 0.05
    lora_targets: str = LORA_TARGETS
    quantization: str = "none"
    dtype: str = "auto"
    dataset: str | None = None
    dataset_config: str | None = None
    dataset_revision: str | None = None
    train_split: str = "train"
    eval_split: str | None = None
    eval_rows: int = 200
    streaming: bool = False
    question: str | None = None
    answer_column: str | None = None
    audio_column: str | None = None
    image_column: str | None = None
    video_column: str | None = None
    media_folder: str | None = None
    max_length: int | None = None
    packing: bool = False
    sound_patches: str | None = None
    sound_top_k: int | None = None
    sound_alignment: str | None = None
    frame: str = "middle"
    num_frames: int = 1
    max_bad_rows: int = 100
    cache_embeddings: str | None = None
    cache_shard_rows: int = 4096
    cache_batch_size: int = 32
    eval_answers: int = 64
    eval_alignments: str | None = None
    eval_sounds: str | None = None
    eval_audit: int = 0
    max_new_tokens: int = 64
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.model is not None:
            # The adapter stores this path, and may be loaded from another working directory.
            try:
                given, revision = checkpoint_name(str(expand_user(self.model)), self.model_revision, "model_revision")
            except ValueError as error:
                raise ArgumentsError(f"model {error}") from error
            self.model = bundled_name(Path(given).resolve()) if Path(given).is_dir() else str(given)
            self.model_revision = revision
        preset = find_preset(self.preset)
        for name, allowed in (
            ("quantization", _QUANTIZATIONS),
            ("dtype", _DTYPES),
            ("sound_patches", (None, "zero", "drop")),
            ("sound_alignment", (None, *_ALIGNMENTS)),
        ):
            if getattr(self, name) not in allowed:
                listed = ", ".join(str(value) for value in allowed if value is not None)
                raise ArgumentsError(f"{name}={getattr(self, name)!r}: must be one of {listed}")
        for name, least in (
            ("lora_r", 1),
            ("eval_rows", 1),
            ("num_frames", 1),
            ("max_bad_rows", 0),
            ("cache_shard_rows", 1),
            ("cache_batch_size", 1),
            ("eval_answers", 0),
            ("max_new_tokens", 1),
        ):
            if getattr(self, name) < least:
                raise ArgumentsError(f"{name}={getattr(self, name)}: must be at least {least}")
        if self.cache_embeddings in ("", "none"):
            self.cache_embeddings = None
        if self.cache_embeddings is not None and self.streaming:
            raise ArgumentsError(
                "streaming=True: the sounds of a stream are not known before it is read, so that their embeddings "
                "cannot be cached; leave streaming or cache_embeddings out"
            )
        if self.eval_audit == 1 or self.eval_audit < 0:
            raise ArgumentsError(f"eval_audit={self.eval_audit}: must be 0, or at least 2 to swap their sounds")
        trained = [part for part in preset.parts if part != "audio_projection"]
        if self.quantization != "none" and trained:
            raise ArgumentsError(
                f"quantization={self.quantization!r}: preset {self.preset!r} trains {trained[0]}, and quantised "
                "weights cannot be trained; choose 'lora', 'lora+projector' or 'projector'"
            )
        if self.sound_alignment == "raw" and "audio_projection" in preset.parts:
            raise ArgumentsError(
                f"sound_alignment='raw': does not use the projector that preset {self.preset!r} trains; choose 'lora' "
                "or 'full-lm'"
            )
        for one in self.alignments:
            if one not in _ALIGNMENTS:
                raise ArgumentsError(f"eval_alignments={self.eval_alignments!r}: must be a list of projected and raw")

        for one in self.sounds:
            if one not in SOUND_KINDS:
                raise ArgumentsError(f"eval_sounds={self.eval_sounds!r}: must be a list of {', '.join(SOUND_KINDS)}")

    @property
    def alignments(self) -> list[str]:
        return _listed(self.eval_alignments)

    @property
    def sounds(self) -> list[SoundKind]:
        """The true sound, and those of `eval_sounds`."""
        given: list[Any] = _listed(self.eval_sounds)
        return list(dict.fromkeys(["true", *given]))

    @property
    def lora(self) -> LoraSettings:
        return LoraSettings(self.lora_r, self.lora_alpha, self.lora_dropout, self.lora_targets)

    @property
    def source(self) -> RowSource:
        return RowSource(
            str(self.dataset),
            self.dataset_config,
            self.dataset_revision,
            self.train_split,
            self.eval_split,
            self.eval_rows,
            self.streaming,
            RowForm(self.question, self.answer_column, self.audio_column, self.image_column, self.video_column),
        )

    def check_complete(self) -> None:
        """
        Raises:
            ArgumentsError: If a setting is missing that a run needs; the message names it.
        """
        for name, meaning in (
            ("model", "a SoundLlava or an adapter, such as the folder that soundclip align wrote"),
            ("dataset", "a datasets repository, folder or file of conversations"),
        ):
            if getattr(self, name) is None:
                raise ArgumentsError(f"{name} is missing: {meaning}; give --{name} or a line of the config")


def _listed(text: str | None) -> list[str]:
    return [one.strip() for one in (text or "").split(",") if one.strip()]


@dataclass
class FinetuningTrainingArguments(RunTrainingArguments):
    """
    `TrainingArguments` with defaults for LoRA. With `push_to_hub`, what comes out is published once, at the end, as
    `soundclip push` does; checkpoints stay on this machine.

    `hub_license` is the licence of what is published, as the Hub spells it; weights that may not be used commercially
    need it.
    """

    output_dir: str | None = "out/finetune"
    learning_rate: float = 2e-4
    num_train_epochs: float = 1.0
    lr_scheduler_type: str = "cosine"
    lr_scheduler_kwargs: dict[str, Any] | str | None = None
    max_grad_norm: float = 1.0
    per_device_train_batch_size: int = 8
    per_device_eval_batch_size: int = 8
    eval_strategy: str = "steps"
    eval_steps: float | None = 200
    save_strategy: str = "steps"
    save_steps: float = 200
    # Of the loss alone: logits of a held-out set would fill the memory.
    prediction_loss_only: bool = True


def read_arguments(
    options: Sequence[str], config: str | Path | None = None
) -> tuple[FinetuningArguments, FinetuningTrainingArguments]:
    """The settings of a fine-tuning run; see [`parse_settings`]."""
    finetuning, training = parse_settings((FinetuningArguments, FinetuningTrainingArguments), options, config)
    return finetuning, training


__all__ = ["FinetuningArguments", "FinetuningTrainingArguments", "read_arguments"]
