"""Sound for LLaVA. Importing the package registers its classes with transformers' Auto classes; it needs no network."""

import sys

# The command `soundclip` registers the classes when a command loads a model: its help must not wait for torch. While
# `python -m NAME` imports the package of NAME, `sys.argv[0]` is "-m".
_is_command = "soundclip_command" in sys.modules or (
    sys.argv[:1] == ["-m"] and {"soundclip_hf.cli", "soundclip_hf.cli.__main__"} & set(sys.orig_argv)
)
if not _is_command:
    from . import modeling as _modeling  # noqa: F401  (registers every class)
    from .media import read_clip
    from .modeling.added_sound.adding import add_sound, remove_sound
    from .modeling.audio_encoders.whisperclip.configuration_whisperclip import WhisperClipConfig
    from .modeling.audio_encoders.whisperclip.modeling_whisperclip import WhisperClipModel
    from .modeling.configuration_soundclip import SoundClipConfig, SoundLlavaConfig
    from .modeling.modeling_soundclip import SoundClipModel
    from .modeling.modeling_soundllava import SoundLlava, SoundLlavaForConditionalGeneration
    from .modeling.processing_soundclip import SoundClipProcessor
    from .modeling.processing_soundllava import SoundLlavaProcessor
    from .publishing import model_push as _model_push  # noqa: F401  (`push_to_hub` of the models)
    from .training.finetuning.collator import SoundLlavaCollator

__version__ = "0.1.0"

__all__ = [
    "SoundClipConfig",
    "SoundClipModel",
    "SoundClipProcessor",
    "SoundLlava",
    "SoundLlavaCollator",
    "SoundLlavaConfig",
    "SoundLlavaForConditionalGeneration",
    "SoundLlavaProcessor",
    "WhisperClipConfig",
    "WhisperClipModel",
    "add_sound",
    "read_clip",
    "remove_sound",
]
