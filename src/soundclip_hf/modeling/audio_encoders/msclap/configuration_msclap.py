"""Configuration of `MsClapModel`: HTSAT's fields and the width of Microsoft's projection."""

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig

from ..clap.configuration_clap import SoundClapConfig


@strict
class MsClapConfig(SoundClapConfig):
    r"""
    Fields of [`SoundClapConfig`], with the defaults of Microsoft's CLAP of 2023: HTSAT-tiny (width 768) and a
    projection to 1024.

    Args:
        projection_dropout (`float`, *optional*, defaults to 0.5):
            Dropout inside the projection while training.
    """

    model_type = "ms_clap"

    projection_dim: int = 1024
    projection_dropout: float | int = 0.5


AutoConfig.register(MsClapConfig.model_type, MsClapConfig, exist_ok=True)

__all__ = ["MsClapConfig"]
