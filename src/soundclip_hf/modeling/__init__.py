"""Everything that a checkpoint needs: configurations, processors, encoders, models. Importing it registers them."""

from . import encoder_whisperclip, feature_extraction_whisperclip, modeling_soundllava

__all__ = ["encoder_whisperclip", "feature_extraction_whisperclip", "modeling_soundllava"]
