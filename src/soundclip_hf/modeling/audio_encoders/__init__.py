"""Every audio encoder, one folder for each family. Importing this registers them with the Auto classes."""

from .audioclip import feature_extraction_audioclip, modeling_audioclip
from .clap import feature_extraction_clap, modeling_clap
from .imagebind import feature_extraction_imagebind, modeling_imagebind
from .msclap import feature_extraction_msclap, modeling_msclap
from .peav import feature_extraction_peav, modeling_peav
from .wav2clip import feature_extraction_wav2clip, modeling_wav2clip
from .whisperclip import feature_extraction_whisperclip, modeling_whisperclip

__all__ = [
    "feature_extraction_audioclip",
    "feature_extraction_clap",
    "feature_extraction_imagebind",
    "feature_extraction_msclap",
    "feature_extraction_peav",
    "feature_extraction_wav2clip",
    "feature_extraction_whisperclip",
    "modeling_audioclip",
    "modeling_clap",
    "modeling_imagebind",
    "modeling_msclap",
    "modeling_peav",
    "modeling_wav2clip",
    "modeling_whisperclip",
]
