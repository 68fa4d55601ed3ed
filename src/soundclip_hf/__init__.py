"""Sound for LLaVA. Importing the package registers its classes with transformers' Auto classes; it needs no network."""

from .modeling import encoder_whisperclip as _encoders  # noqa: F401  (registers the encoders)
from .modeling.configuration_soundclip import SoundClipConfig, SoundLlavaConfig
from .modeling.configuration_whisperclip import WhisperClipConfig
from .modeling.encoder_whisperclip import WhisperClipModel
from .modeling.modeling_soundllava import SoundLlava, SoundLlavaForConditionalGeneration

__version__ = "0.1.0"

__all__ = [
    "SoundClipConfig",
    "SoundLlava",
    "SoundLlavaConfig",
    "SoundLlavaForConditionalGeneration",
    "WhisperClipConfig",
    "WhisperClipModel",
]
