"""Converts original checkpoints to our models and feature extractors, and back."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers import FeatureExtractionMixin, PreTrainedModel

from . import audioclip, clap, imagebind, msclap, wav2clip, whisper
from .files import read_original
from .origin import Origin, looks_like

ORIGINS: dict[str, Origin] = {
    module.ORIGIN.name: module.ORIGIN for module in (imagebind, audioclip, wav2clip, clap, msclap, whisper)
}


def from_original(
    encoder_name: str, original_state_dict: Mapping[str, Any], **kwargs: Any
) -> tuple[PreTrainedModel, FeatureExtractionMixin]:
    r"""
    Make an encoder from the state dict of its original checkpoint.

    Args:
        encoder_name (`str`): One of `ORIGINS`.
        original_state_dict (`dict[str, torch.Tensor]`):
            What the original file holds; entries of the checkpoint's other parts (images, text) are left behind, with
            a warning. It is not changed and shares no memory with the model.
        kwargs: Fields of the model's configuration that differ from those of the released checkpoint.

    Returns:
        The model, fp32 and in eval mode, and its feature extractor.

    Raises:
        ValueError: If the name is unknown, if the checkpoint is that of another encoder, or if entries are missing,
            unknown or of another shape.
    """
    if encoder_name not in ORIGINS:
        raise ValueError(f"encoder_name={encoder_name!r}: must be one of {', '.join(ORIGINS)}.")
    origin = ORIGINS[encoder_name]
    origin.check_kind(original_state_dict)
    model, feature_extractor = origin.build(original_state_dict, **kwargs)
    model.load_state_dict(origin.convert(original_state_dict, model.state_dict()))
    return model.eval(), feature_extractor


def to_original(model: PreTrainedModel) -> dict[str, Tensor]:
    """
    The weights of an encoder under their original names: the inverse of `from_original`. Tensors are not copied.

    Raises:
        ValueError: If `model` is none of the encoders that have an original format.
    """
    for origin in ORIGINS.values():
        if origin.model_type == model.config.model_type:
            return origin.to_original(model)
    raise ValueError(f"{type(model).__name__} has no original format here; those that have: {', '.join(ORIGINS)}.")


__all__ = ["ORIGINS", "Origin", "from_original", "looks_like", "read_original", "to_original"]
