"""Model names and options of a command line in; a dual encoder and its processor out."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel
from transformers.utils import logging as transformers_logging

from ..bundled import TINY
from ..modeling.checkpoints.llava_parts import load_extractor
from ..modeling.modeling_soundclip import SoundClipModel
from ..modeling.processing_soundclip import SoundClipProcessor
from ..modeling.projector import AlignmentProjector
from ..retrieval.embedding import Dual
from .loading import BUNDLED, encoder_config, encoder_note, find_config, find_device, find_dtype, warn_if_synthetic
from .output import CliError, note, one_line


def load_dual(
    name: str | None,
    *,
    revision: str | None = None,
    encoder: str | None = None,
    alignment: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    seed: int = 0,
) -> Dual:
    """
    Load a dual encoder, or the ears and vision tower of a SoundLlava or an adapter.

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
    found = find_config(source, revision, "--model")
    if found.model_type not in ("soundclip", "sound_llava"):
        raise CliError(
            f"--model {source}: is a {found.model_type!r} model; give a SoundClip, a SoundLlava or an adapter"
        )
    torch.manual_seed(seed)
    try:
        own: dict[str, Any] = {"alignment": alignment} if alignment is not None and encoder is None else {}
        model = SoundClipModel.from_pretrained(source, revision=revision, dtype=weights, **own)
        processor = SoundClipProcessor.from_pretrained(source, revision=revision or "main")
        if encoder is not None:
            processor = _change_encoder(model, processor, encoder, alignment or "raw")
            note(encoder_note(encoder, alignment))
        model = model.to(where).eval()  # type: ignore[arg-type]
    except CliError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise CliError(f"--model {source}: cannot be loaded ({one_line(error)})") from error
    if name is None or Path(name).is_dir():
        warn_if_synthetic(Path(source))
    settings = {
        "model": BUNDLED if name is None else name,
        "revision": None if name is None else getattr(found, "_commit_hash", None) or revision,
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
    model.audio_tower = AutoModel.from_pretrained(encoder, config=config.audio_config, dtype=model.dtype)
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
