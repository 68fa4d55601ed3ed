"""Settings of an alignment run, from a YAML file and a command line."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from ..files import expand_user
from ..losses import loss_terms
from ..modeling.audio_encoders.whisperclip.configuration_whisperclip import LayerFusion
from ..modeling.checkpoint_names import checkpoint_name
from .run_arguments import RunTrainingArguments
from .settings_parser import ArgumentsError, check_extra, parse_settings


@dataclass
class AlignmentArguments:
    """
    What is aligned with what, on which data. None in a field of the encoder or the projector keeps its own value.

    Attributes:
        base_model: The LLaVA-1.5 or 1.6 whose visual space is the target, or a SoundLlava or adapter, whose encoder
            is kept and whose projector is trained from scratch.
        base_model_revision, audio_encoder_revision: Branch, tag or commit of a repository on the Hub.
        audio_encoder: The encoder's repository or folder; None if `base_model` is a SoundLlava or an adapter.
        layer_fusion: How the layers of a Whisper encoder are joined: average_all, final, middle, middle_upper, last_n
            or weighted_sum. With "weighted_sum", the weights of the layers are
            trained too, so that its embeddings cannot be cached.
        layer_fusion_n: Number of layers of `last_n`.
        time_pooling: Average all positions of a Whisper encoder's window, or those that hold sound: all or valid.
        window: What a Whisper encoder encodes: 30 seconds (pad30) or the real frames (short).
        projector_hidden_size: Width between the two layers of the projector.
        projector_dropout: Dropout of the projector.
        temperature: Of the contrastive loss, at the start.
        learnable_temperature: Train the temperature, too.
        loss: One or more of info_nce, distribution, cosine and mse, joined with "+".
        distribution_weight: `lambda`, the weight of the term "distribution".
        loss_chunk_size: Rows of logits that are in memory at a time, so that large batches fit.
        dataset: A `datasets` repository or folder, a folder written by `save_to_disk`, or a folder of clips (or of
            sounds and pictures with the same names).
        dataset_config, dataset_revision: Of a repository.
        train_split: The split to train on.
        eval_split: The split to validate on. By default, `validation_fraction` of the training rows is held out, with
            media that no training row has; of a stream, its first `validation_rows`.
        validation_fraction: The share of the training rows that is held out; at least 2 rows are.
        validation_rows: How many rows of a stream are held out.
        streaming: Read the rows while training; needs `max_steps` or `cache_embeddings`.
        audio_column, image_column, video_column: Name of the column, if it is not "audio", "image" or "video".
        frame: Of a clip: "middle", "first" or seconds.
        max_bad_rows: Rows that cannot be read are logged and left out; more than this many end the run.
        cache_embeddings: Folder for the embeddings of encoder and vision tower, which are then computed once;
            "none" overrides the folder of a config.
        cache_shard_rows: Rows in a file of that folder.
        cache_batch_size: Rows in one call of the towers that fills it.
        tower_dtype: Of encoder and vision tower.
        retrieval_pool: Held-out pairs out of which each repeat of the measurement draws.
        retrieval_sample: Candidates of each query.
        retrieval_repeats: How often is drawn.
        overwrite: Start again if `output_dir` holds a run; otherwise that run is resumed.
    """

    base_model: str | None = None
    base_model_revision: str | None = None
    audio_encoder: str | None = None
    audio_encoder_revision: str | None = None
    layer_fusion: str | None = None
    layer_fusion_n: int | None = None
    time_pooling: str | None = None
    window: str | None = None
    projector_hidden_size: int | None = None
    projector_dropout: float = 0.1
    temperature: float = 0.07
    learnable_temperature: bool = False
    loss: str = "info_nce+distribution"
    distribution_weight: float = 0.02
    loss_chunk_size: int | None = None
    dataset: str | None = None
    dataset_config: str | None = None
    dataset_revision: str | None = None
    train_split: str = "train"
    eval_split: str | None = None
    validation_fraction: float = 0.05
    validation_rows: int = 1000
    streaming: bool = False
    audio_column: str | None = None
    image_column: str | None = None
    video_column: str | None = None
    frame: str = "middle"
    max_bad_rows: int = 100
    cache_embeddings: str | None = None
    cache_shard_rows: int = 4096
    cache_batch_size: int = 32
    tower_dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    retrieval_pool: int = 500
    retrieval_sample: int = 100
    retrieval_repeats: int = 5
    overwrite: bool = False

    def __post_init__(self) -> None:
        for name in ("base_model", "audio_encoder"):
            # The adapter stores these paths, and may be loaded from another working directory.
            try:
                place = None if getattr(self, name) is None else expand_user(getattr(self, name))
            except ValueError as error:
                raise ArgumentsError(f"{name} {error}") from error
            if place is None:
                continue
            try:
                given, revision = checkpoint_name(str(place), getattr(self, f"{name}_revision"), f"{name}_revision")
            except ValueError as error:
                raise ArgumentsError(f"{name} {error}") from error
            setattr(self, name, str(Path(given).resolve()) if Path(given).is_dir() else str(given))
            setattr(self, f"{name}_revision", revision)
        for name, allowed in (
            ("layer_fusion", get_args(LayerFusion)),
            ("time_pooling", ("all", "valid")),
            ("window", ("pad30", "short")),
        ):
            value = getattr(self, name)
            if value is not None and value not in allowed:
                raise ArgumentsError(f"{name}={value!r}: must be one of {', '.join(allowed)}")
        if self.tower_dtype not in ("float32", "bfloat16", "float16"):
            raise ArgumentsError(f"tower_dtype={self.tower_dtype!r}: must be float32, bfloat16 or float16")
        try:
            loss_terms(self.loss)
        except ValueError as error:
            raise ArgumentsError(str(error)) from None
        if not 0 < self.validation_fraction < 1:
            raise ArgumentsError(f"validation_fraction={self.validation_fraction}: must be between 0 and 1")
        for name in ("validation_rows", "cache_shard_rows", "cache_batch_size", "retrieval_repeats"):
            if getattr(self, name) < 1:
                raise ArgumentsError(f"{name}={getattr(self, name)}: must be at least 1")
        if self.cache_embeddings in ("", "none"):
            self.cache_embeddings = None
        if self.cache_embeddings is not None and self.layer_fusion == "weighted_sum":
            raise ArgumentsError(
                "layer_fusion='weighted_sum' learns how to mix the layers, so the mixture cannot be cached: leave "
                "cache_embeddings out"
            )

    def check_complete(self) -> None:
        """
        Raises:
            ArgumentsError: If a setting is missing that a run needs; the message names it.
        """
        for name, meaning in (
            ("base_model", "the LLaVA whose visual space is the target"),
            ("dataset", "a datasets repository or a folder of clips"),
        ):
            if getattr(self, name) is None:
                raise ArgumentsError(f"{name} is missing: {meaning}; give --{name} or a line of the config")


@dataclass
class AlignmentTrainingArguments(RunTrainingArguments):
    """
    `TrainingArguments` with the recipe of the paper's appendix E as defaults; it does not state all of them.

    With `push_to_hub`, the adapter, its processor, card and result are published as `soundclip push` does: at the end,
    and, unless `hub_strategy` is "end", at every save. `hub_license` is the licence of what is published, as the Hub
    spells it; weights that may not be used commercially need it.
    """

    output_dir: str | None = "out/align"
    learning_rate: float = 5e-5
    num_train_epochs: float = 10.0
    lr_scheduler_type: str = "reduce_lr_on_plateau"
    lr_scheduler_kwargs: dict[str, Any] | str | None = field(default_factory=lambda: {"factor": 0.1, "patience": 2})
    max_grad_norm: float = 0.0  # the paper does not clip
    per_device_train_batch_size: int = 256
    per_device_eval_batch_size: int = 256
    eval_strategy: str = "epoch"
    save_strategy: str = "epoch"
    # A last batch of few pairs would be easier than the others, and a batch of one pair has no contrastive loss.
    dataloader_drop_last: bool = True


def read_arguments(
    options: Sequence[str], config: str | Path | None = None
) -> tuple[AlignmentArguments, AlignmentTrainingArguments]:
    """The settings of an alignment run; see [`parse_settings`]."""
    alignment, training = parse_settings((AlignmentArguments, AlignmentTrainingArguments), options, config)
    return alignment, training


__all__ = [
    "AlignmentArguments",
    "AlignmentTrainingArguments",
    "ArgumentsError",
    "check_extra",
    "read_arguments",
]
