"""Everything that a checkpoint needs: configurations, processors, encoders, models. Importing it registers them."""

from . import (
    encoder_imagebind,
    encoder_wav2clip,
    encoder_whisperclip,
    feature_extraction_imagebind,
    feature_extraction_wav2clip,
    feature_extraction_whisperclip,
    modeling_soundllava,
)

__all__ = [
    "encoder_imagebind",
    "encoder_wav2clip",
    "encoder_whisperclip",
    "feature_extraction_imagebind",
    "feature_extraction_wav2clip",
    "feature_extraction_whisperclip",
    "modeling_soundllava",
]
