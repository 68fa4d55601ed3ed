"""Opens the SoundLlava that is fine-tuned: first configuration and processor, against which settings are checked."""

from typing import Any

import torch
from transformers import AutoConfig, BitsAndBytesConfig

from ...extras import require
from ...hub_access import explained
from ...modeling.checkpoint_names import checkpoint_name, one_commit
from ...modeling.configuration_soundclip import SoundLlavaConfig
from ...modeling.modeling_soundllava import SoundLlavaForConditionalGeneration
from ...modeling.processing_soundllava import SoundLlavaProcessor
from ..settings_parser import ArgumentsError, parse_frame
from .arguments import FinetuningArguments, FinetuningTrainingArguments
from .collator import SoundLlavaCollator
from .presets import PRESETS


def open_processor(
    settings: FinetuningArguments, commit: str | None = None
) -> tuple[SoundLlavaConfig, SoundLlavaProcessor, str | None]:
    """
    The configuration of the model and its processor, with the settings of the run.

    Args:
        commit: Of the model's repository; by default the one that `settings.model_revision` is at now.

    Returns:
        Configuration and processor, and the revision that both were read from, for [`open_model`]: it knows its commit
        (see [`one_commit`]).

    Raises:
        ArgumentsError: If the model is no SoundLlava, or a setting does not fit it.
        OSError: If it cannot be found.
    """
    name = str(settings.model)
    repo = checkpoint_name(name)[0]
    revision = commit or one_commit(repo, settings.model_revision)
    with explained(name, settings.model_revision, kind="model"):
        try:
            config = AutoConfig.from_pretrained(repo, revision=revision)
        except OSError as error:
            raise ArgumentsError(f"model={name!r}: {' '.join(str(error).split())}") from error
        if not isinstance(config, SoundLlavaConfig):
            way_out = (
                f"align it first (soundclip align --base_model {name} …), and give the folder of the adapter"
                if config.model_type in ("llava", "llava_next")
                else "give a SoundLlava or an adapter, such as the folder that soundclip align wrote"
            )
            raise ArgumentsError(f"model={name!r}: is a {config.model_type!r} model, which does not hear; {way_out}")
        processor = SoundLlavaProcessor.from_pretrained(name, revision=revision)
    _apply(settings, config, processor)
    return config, processor, revision


def open_collator(
    settings: FinetuningArguments, config: SoundLlavaConfig, processor: SoundLlavaProcessor, media_folder: Any
) -> SoundLlavaCollator:
    """
    Raises:
        ArgumentsError: If `max_length` is more than the context of the language model.
    """
    context = config.text_config.max_position_embeddings
    if settings.max_length is not None and settings.max_length > context:
        raise ArgumentsError(f"max_length={settings.max_length}: the language model's context is {context} tokens")
    return SoundLlavaCollator(
        processor,
        max_length=settings.max_length or context,
        packing=settings.packing,
        media_folder=media_folder,
        max_bad_rows=settings.max_bad_rows,
        frame=parse_frame(settings.frame),
        num_frames=settings.num_frames,
    )


def open_model(
    settings: FinetuningArguments,
    training: FinetuningTrainingArguments,
    config: SoundLlavaConfig,
    revision: str | None = None,
) -> SoundLlavaForConditionalGeneration:
    """
    Load the model with its weights, without thawing or adding anything; `config` and `revision` are those of
    [`open_processor`].
    """
    keywords: dict[str, Any] = {"dtype": weights_dtype(settings), "config": config}
    if settings.quantization != "none":
        require("bitsandbytes", what=f"quantization={settings.quantization}")
        compute = torch.bfloat16 if training.bf16 else torch.float16 if training.fp16 else torch.float32
        four = {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True, "bnb_4bit_compute_dtype": compute}
        keywords["quantization_config"] = (
            BitsAndBytesConfig(load_in_4bit=True, **four)
            if settings.quantization == "4bit"
            else BitsAndBytesConfig(load_in_8bit=True)
        )
        # Quantised weights cannot be moved later.
        keywords["device_map"] = {"": training.device}
    name = str(settings.model)
    with explained(name, settings.model_revision, kind="model"):
        return SoundLlavaForConditionalGeneration.from_pretrained(name, revision=revision, **keywords)


def weights_dtype(settings: FinetuningArguments) -> str | torch.dtype:
    """In half precision, small updates of a weight that is trained itself would be rounded away."""
    if settings.dtype == "auto":
        trains_base = any(part != "audio_projection" for part in PRESETS[settings.preset].parts)
        return torch.float32 if trains_base else "auto"
    return getattr(torch, settings.dtype)


def _apply(settings: FinetuningArguments, config: SoundLlavaConfig, processor: SoundLlavaProcessor) -> None:
    sound = config.sound_config
    patches = config.patches_per_side**2
    if settings.sound_top_k is not None and not 0 <= settings.sound_top_k <= patches:
        raise ArgumentsError(f"sound_top_k={settings.sound_top_k}: a view of this model has {patches} patches")
    if settings.sound_top_k is not None:
        sound.token_budget = settings.sound_top_k
    if settings.sound_patches is not None:
        sound.patches = settings.sound_patches
    if settings.sound_alignment is not None:
        sound.alignment = settings.sound_alignment
    processor.sound_top_k, processor.sound_patches = sound.token_budget, sound.patches


__all__ = ["open_collator", "open_model", "open_processor", "weights_dtype"]
