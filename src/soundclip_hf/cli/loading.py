"""Loads the model that the options of a command name, with a processor that fits it."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForMultimodalLM, AutoProcessor, PreTrainedConfig
from transformers.utils import logging as transformers_logging

from ..bundled import TINY
from ..evaluation.generation.answering import AnsweringModel
from ..modeling.checkpoint_names import checkpoint_name
from ..modeling.checkpoints.encoder import NotAnAudioEncoderError, audio_encoder_config, load_audio_encoder
from ..modeling.configuration_soundclip import SoundClipConfig, SoundLlavaConfig
from ..modeling.modeling_soundllava import SoundLlavaForConditionalGeneration
from ..modeling.processing_soundllava import SoundLlavaProcessor
from ..modeling.projector import AlignmentProjector
from ..text_tables import json_value
from .output import CliError, UsageError, note, one_line, warn

BUNDLED = "soundclip_hf/bundled/tiny"


@dataclass(frozen=True)
class ModelChoice:
    """
    What a command line says of the model.

    Attributes:
        name: A Hub id, with @ and a revision if need be, or a folder; None and "tiny" are the bundled model.
        encoder: Id or folder of an audio encoder that takes the place of the model's own.
        alignment: As the command line has it; with `encoder` and None it becomes "raw".
        dtype: "auto" is float32 on a CPU, the checkpoint's own elsewhere.
        seed: Of weights that no checkpoint has.
        option: What the command line calls `name`, for errors.
    """

    name: str | None
    revision: str | None = None
    encoder: str | None = None
    alignment: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    seed: int = 0
    option: str = "--model"

    def __post_init__(self) -> None:
        if self.name is not None:
            try:
                name, revision = checkpoint_name(self.name, self.revision, "--revision")
            except ValueError as error:
                raise UsageError(f"{self.option} {error}") from error
            object.__setattr__(self, "name", None if name == str(TINY) else str(name))
            object.__setattr__(self, "revision", revision)

    @property
    def source(self) -> str:
        """Where the model is read from."""
        return str(TINY) if self.name is None else self.name

    @property
    def shown_name(self) -> str:
        """The model in answers and settings."""
        return BUNDLED if self.name is None else self.name

    def place(self) -> tuple[torch.device, torch.dtype | str]:
        """The device and the precision; an unknown one is a `UsageError`."""
        where = find_device(self.device)
        return where, find_dtype(self.dtype, where)

    def read_config(self, accepted: tuple[str, ...], advice: str) -> PreTrainedConfig:
        """The model's configuration; a `CliError` if its `model_type` is not one of `accepted`."""
        config = find_config(self.source, self.revision, self.option)
        if config.model_type not in accepted:
            raise CliError(f"{self.option} {self.source}: is a {config.model_type!r} model; give {advice}")
        return config

    def warn_if_synthetic(self) -> None:
        """Say so where the model was trained on synthetic scenes alone; a damaged `training.json` is named."""
        if self.is_synthetic():
            warn("this model knows synthetic scenes alone: its answers about real pictures and sounds mean nothing")

    def is_synthetic(self) -> bool:
        """Whether the model was trained on synthetic scenes alone; a damaged `training.json` is warned of."""
        marker = Path(self.source) / "training.json"
        if not marker.is_file():
            return False
        try:
            values = json_value(marker.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            reason = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else one_line(error)
            warn(f"{marker}: {reason}, so it is unknown what the model was trained on")
            return False
        return isinstance(values, dict) and values.get("world") == "synthetic"


def load(choice: ModelChoice) -> AnsweringModel:
    """
    Load a SoundLlava (full or adapter), or give a stock LLaVA an encoder.

    Raises:
        CliError: If something cannot be found or loaded, naming it.
    """
    transformers_logging.disable_progress_bar()
    where, weights = choice.place()
    source, encoder, revision = choice.source, choice.encoder, choice.revision
    config = choice.read_config(("sound_llava", "llava", "llava_next"), "a SoundLlava or a LLaVA-1.5 or 1.6")
    sound_config = None
    torch.manual_seed(choice.seed)
    if encoder is not None:
        sound_config = encoder_config(config, encoder, choice.alignment or "raw")
        note(encoder_note(encoder, choice.alignment))
    elif config.model_type != "sound_llava":
        raise CliError(
            f"{choice.option} {source}: is a LLaVA without an audio encoder; add --encoder (such as "
            "openai/whisper-base), or name a SoundLlava or an adapter"
        )
    try:
        model, processor = _load_parts(source, revision, config, encoder, sound_config, weights)
        model = model.to(where).eval()
    except Exception as error:  # damaged files raise whatever their reader raises
        raise CliError(f"{choice.option} {source}: cannot be loaded ({one_line(error)})") from error
    choice.warn_if_synthetic()
    return AnsweringModel(
        model,
        processor,
        choice.shown_name,
        f"soundclip-hf {version('soundclip-hf')}"
        if choice.name is None
        else getattr(config, "_commit_hash", None) or revision,
        encoder or model.config.audio_encoder_name_or_path or model.config.sound_config.audio_config.model_type,
    )


def load_any(choice: ModelChoice) -> tuple[Any, Any]:
    """
    Load a model of transformers that takes media, whatever its kind, and its processor.

    Raises:
        CliError: If one of them cannot be found or loaded, naming it.
    """
    transformers_logging.disable_progress_bar()
    where, weights = choice.place()
    source, revision = choice.source, choice.revision or "main"
    try:
        model = AutoModelForMultimodalLM.from_pretrained(source, revision=revision, dtype=weights)
        processor = AutoProcessor.from_pretrained(source, revision=revision)
    except Exception as error:  # damaged files raise whatever their reader raises
        raise CliError(f"{choice.option} {source}: cannot be loaded ({one_line(error)})") from error
    return model.to(where).eval(), processor


def _load_parts(
    source: str,
    revision: str | None,
    config: PreTrainedConfig,
    encoder: str | None,
    sound_config: SoundClipConfig | None,
    dtype: torch.dtype | str,
) -> tuple[Any, SoundLlavaProcessor]:
    model_class = SoundLlavaForConditionalGeneration
    if config.model_type != "sound_llava":
        with_encoder = SoundLlavaConfig.from_llava_config(config, sound_config, audio_encoder_name_or_path=encoder)
        model = model_class.from_pretrained(source, config=with_encoder, revision=revision, dtype=dtype)
        processor = SoundLlavaProcessor.from_llava(source, encoder, sound_config=sound_config, revision=revision)
        return model, processor
    model = model_class.from_pretrained(source, revision=revision, dtype=dtype)
    processor = SoundLlavaProcessor.from_pretrained(source, revision=revision or "main")
    if encoder is not None and sound_config is not None:
        model.config.sound_config = sound_config
        model.config.audio_encoder_name_or_path = encoder
        model.model.audio_tower = load_audio_encoder(encoder, sound_config.audio_config, dtype=model.dtype)
        model.model.audio_projection = AlignmentProjector(sound_config)
        processor = SoundLlavaProcessor.from_llava(processor.stock_processor, encoder, sound_config=sound_config)
    return model, processor


def find_config(
    source: str, revision: str | None, option: str, read: Callable[..., Any] = AutoConfig.from_pretrained
) -> PreTrainedConfig:
    try:
        return read(source, revision=revision or "main")
    except NotAnAudioEncoderError as error:
        raise CliError(f"{option} {error}") from error
    except (OSError, ValueError, KeyError) as error:
        if Path(source).is_dir():
            missing = not (Path(source) / "config.json").is_file()
            reason = "this folder has no config.json" if missing else one_line(error)
        elif source.startswith((".", "/", "~")):
            reason = "no such folder"
        else:
            reason = "neither a folder, nor found on the Hub or in its cache (offline, private, or a wrong name?)"
        raise CliError(f"{option} {source}: {reason}; give a Hub id or a folder made by save_pretrained") from error


def encoder_config(base: PreTrainedConfig, encoder: str, alignment: str) -> SoundClipConfig:
    """The base's own settings for sound, with another encoder."""
    audio = find_config(encoder, None, "--encoder", audio_encoder_config)
    own = {"sound_llava": getattr(base, "sound_config", None), "soundclip": base}.get(base.model_type)
    values = {"vision_hidden_size": base.vision_config.hidden_size} if own is None else own.to_dict()
    values.pop("model_type", None)
    return SoundClipConfig(**{**values, "audio_config": audio, "alignment": alignment, "alpha": 0.0})


def encoder_note(encoder: str, alignment: str | None) -> str:
    if alignment == "projected":
        return f"warning: no projector was trained for {encoder}: --alignment projected is a random projection"
    return f"{encoder}: no projector was trained for this encoder here, so its output is used raw (--alignment raw)"


def find_device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UsageError(f"--device {name}: {one_line(error)}; give cpu, cuda, cuda:1 or auto") from error
    return device


def find_dtype(name: str, device: torch.device) -> torch.dtype | str:
    if name == "auto":
        return torch.float32 if device.type == "cpu" else "auto"
    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}.get(name)
    if dtype is None:
        raise UsageError(f"--dtype {name}: give auto, float32, bfloat16 or float16")
    return dtype


__all__ = [
    "BUNDLED",
    "ModelChoice",
    "encoder_config",
    "encoder_note",
    "find_config",
    "find_device",
    "find_dtype",
    "load",
    "load_any",
]
