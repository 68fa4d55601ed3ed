"""Model names and options of a command line in; a model and a processor that fit together out."""

import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, PreTrainedConfig
from transformers.utils import logging as transformers_logging

from ..bundled import TINY
from ..modeling.audio_encoders.whisperclip.configuration_whisperclip import WhisperClipConfig
from ..modeling.configuration_soundclip import SoundClipConfig, SoundLlavaConfig
from ..modeling.modeling_soundllava import SoundLlavaForConditionalGeneration
from ..modeling.processing_soundllava import SoundLlavaProcessor
from ..modeling.projector import AlignmentProjector
from .output import CliError, UsageError, note, one_line, warn

BUNDLED = "soundclip_hf/bundled/tiny"


@dataclass(frozen=True)
class Loaded:
    """A model and its processor, and how answers name them."""

    model: SoundLlavaForConditionalGeneration
    processor: SoundLlavaProcessor
    name: str
    revision: str | None
    encoder: str


def load(
    name: str | None,
    *,
    revision: str | None = None,
    encoder: str | None = None,
    alignment: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    seed: int = 0,
) -> Loaded:
    """
    Load a SoundLlava (full or adapter), or give a stock LLaVA an encoder.

    Args:
        name: A Hub id or a folder; None is the bundled model.
        encoder: Id or folder of an audio encoder that takes the place of the model's own.
        alignment: As the command line has it; with `encoder` and None it becomes "raw".
        dtype: "auto" is float32 on a CPU, the checkpoint's own elsewhere.
        seed: Of weights that no checkpoint has.

    Raises:
        CliError: If something cannot be found or loaded, naming it.
    """
    transformers_logging.disable_progress_bar()
    where = find_device(device)
    weights = find_dtype(dtype, where)
    source = str(TINY) if name is None else name
    config = find_config(source, revision, "--model")
    if config.model_type not in ("sound_llava", "llava", "llava_next"):
        raise CliError(f"--model {source}: is a {config.model_type!r} model; give a SoundLlava or a LLaVA-1.5 or 1.6")
    sound_config = None
    torch.manual_seed(seed)
    if encoder is not None:
        sound_config = encoder_config(config, encoder, alignment or "raw")
        note(encoder_note(encoder, alignment))
    elif config.model_type != "sound_llava":
        raise CliError(
            f"--model {source}: is a LLaVA without ears; add --encoder (such as openai/whisper-base), or name a "
            "SoundLlava or an adapter"
        )
    try:
        model, processor = _load_parts(source, revision, config, encoder, sound_config, weights)
        model = model.to(where).eval()  # type: ignore[arg-type]
    except Exception as error:  # damaged files raise whatever their reader raises
        raise CliError(f"--model {source}: cannot be loaded ({one_line(error)})") from error
    if name is None or Path(name).is_dir():
        warn_if_synthetic(Path(source))
    return Loaded(
        model,
        processor,
        BUNDLED if name is None else name,
        f"soundclip-hf {version('soundclip-hf')}"
        if name is None
        else getattr(config, "_commit_hash", None) or revision,
        encoder or model.config.audio_encoder_name_or_path or model.config.sound_config.audio_config.model_type,
    )


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
        with_ears = SoundLlavaConfig.from_llava_config(config, sound_config, audio_encoder_name_or_path=encoder)
        model = model_class.from_pretrained(source, config=with_ears, revision=revision, dtype=dtype)
        processor = SoundLlavaProcessor.from_llava(source, encoder, sound_config=sound_config, revision=revision)
        return model, processor
    model = model_class.from_pretrained(source, revision=revision, dtype=dtype)
    processor = SoundLlavaProcessor.from_pretrained(source, revision=revision or "main")
    if encoder is not None and sound_config is not None:
        model.config.sound_config = sound_config
        model.config.audio_encoder_name_or_path = encoder
        model.model.audio_tower = AutoModel.from_pretrained(
            encoder, config=sound_config.audio_config, dtype=model.dtype
        )
        model.model.audio_projection = AlignmentProjector(sound_config)
        processor = SoundLlavaProcessor.from_llava(processor.stock_processor, encoder, sound_config=sound_config)
    return model, processor


def find_config(source: str, revision: str | None, option: str) -> PreTrainedConfig:
    try:
        return AutoConfig.from_pretrained(source, revision=revision or "main")
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
    audio = find_config(encoder, None, "--encoder")
    if audio.model_type == "whisper":
        audio = WhisperClipConfig.from_whisper_config(audio)  # type: ignore[arg-type]
    if not hasattr(audio, "embedding_dim"):
        raise CliError(
            f"--encoder {encoder}: is a {audio.model_type!r} model; give a Whisper or one of soundclip_hf's encoders"
        )
    own = {"sound_llava": getattr(base, "sound_config", None), "soundclip": base}.get(base.model_type)
    values = {"vision_hidden_size": base.vision_config.hidden_size} if own is None else own.to_dict()
    values.pop("model_type", None)
    return SoundClipConfig(**{**values, "audio_config": audio, "alignment": alignment, "alpha": 0.0})


def encoder_note(encoder: str, alignment: str | None) -> str:
    if alignment == "projected":
        return f"warning: no projector was trained for {encoder}: --alignment projected is a random projection"
    return f"{encoder}: no projector was trained for this encoder here, so its output is used raw (--alignment raw)"


def warn_if_synthetic(folder: Path) -> None:
    marker = folder / "training.json"
    if marker.is_file() and json.loads(marker.read_text(encoding="utf-8")).get("world") == "synthetic":
        warn("this model knows synthetic scenes alone: its answers about real pictures and sounds mean nothing")


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
    "Loaded",
    "encoder_config",
    "encoder_note",
    "find_config",
    "find_device",
    "find_dtype",
    "load",
    "warn_if_synthetic",
]
