"""Loads the dual encoder that the options of a command name, with its processor."""

import hashlib
import json
from typing import Any

import torch
from transformers.utils import logging as transformers_logging

from ..modeling.checkpoints.encoder import load_audio_encoder, load_extractor
from ..modeling.modeling_soundclip import SoundClipModel
from ..modeling.processing_soundclip import SoundClipProcessor
from ..modeling.projector import AlignmentProjector
from ..retrieval.embedding import Dual
from .loading import ModelChoice, encoder_config, encoder_note
from .output import CliError, note, one_line


def load_dual(choice: ModelChoice, *, warn_of_synthetic: bool = True) -> Dual:
    """
    Load a dual encoder, or the audio encoder, the projector and the vision tower of a SoundLlava or an adapter.

    Args:
        warn_of_synthetic: Whether to say so where the model knows synthetic scenes alone.

    Raises:
        CliError: If something cannot be found or loaded, naming it.
    """
    transformers_logging.disable_progress_bar()
    where, weights = choice.place()
    source, encoder, alignment = choice.source, choice.encoder, choice.alignment
    found = choice.read_config(("soundclip", "sound_llava"), "a SoundClip, a SoundLlava or an adapter")
    torch.manual_seed(choice.seed)
    try:
        own: dict[str, Any] = {"alignment": alignment} if alignment is not None and encoder is None else {}
        model = SoundClipModel.from_pretrained(source, revision=choice.revision, dtype=weights, **own)
        processor = SoundClipProcessor.from_pretrained(source, revision=choice.revision or "main")
        if encoder is not None:
            processor = _change_encoder(model, processor, encoder, alignment or "raw")
            note(encoder_note(encoder, alignment))
        model = model.to(where).eval()
    except CliError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise CliError(f"--model {source}: cannot be loaded ({one_line(error)})") from error
    if warn_of_synthetic:
        choice.warn_if_synthetic()
    settings = {
        "model": choice.shown_name,
        "revision": None if choice.name is None else getattr(found, "_commit_hash", None) or choice.revision,
        "encoder": encoder,
        "alignment": model.config.alignment,
        "alpha": model.config.alpha if model.config.alignment == "projected" else None,
        "weights": _digest(model),
    }
    return Dual(model, processor, settings)


def _change_encoder(
    model: SoundClipModel, processor: SoundClipProcessor, encoder: str, alignment: str
) -> SoundClipProcessor:
    config = encoder_config(model.config, encoder, alignment)
    model.config = config
    model.audio_tower = load_audio_encoder(encoder, config.audio_config, dtype=model.dtype)
    model.audio_projection = AlignmentProjector(config)
    extractor = load_extractor(encoder, config.audio_config, None)
    return SoundClipProcessor(processor.image_processor, extractor)


def _digest(model: SoundClipModel) -> str:
    """Of eight samples of every parameter: tells models apart that have one name, such as a folder trained again."""
    digest = hashlib.blake2b(digest_size=8)
    for name, parameter in sorted(model.named_parameters()):
        if name != "logit_scale":  # moves no embedding
            values = parameter.detach().reshape(-1)
            values = values[:: max(1, len(values) // 8)][:8].to("cpu", torch.bfloat16).float()
            digest.update(json.dumps([name, values.tolist()]).encode())
    return digest.hexdigest()


__all__ = ["load_dual"]
