"""Everything that a checkpoint needs: configurations, processors, encoders, models. Importing it registers them."""

from . import (
    encoder_audioclip,
    encoder_clap,
    encoder_imagebind,
    encoder_msclap,
    encoder_peav,
    encoder_wav2clip,
    encoder_whisperclip,
    feature_extraction_audioclip,
    feature_extraction_clap,
    feature_extraction_imagebind,
    feature_extraction_msclap,
    feature_extraction_peav,
    feature_extraction_wav2clip,
    feature_extraction_whisperclip,
    modeling_soundclip,
    modeling_soundllava,
)

__all__ = [
    "encoder_audioclip",
    "encoder_clap",
    "encoder_imagebind",
    "encoder_msclap",
    "encoder_peav",
    "encoder_wav2clip",
    "encoder_whisperclip",
    "feature_extraction_audioclip",
    "feature_extraction_clap",
    "feature_extraction_imagebind",
    "feature_extraction_msclap",
    "feature_extraction_peav",
    "feature_extraction_wav2clip",
    "feature_extraction_whisperclip",
    "modeling_soundclip",
    "modeling_soundllava",
]
