"""Everything that a checkpoint needs: configurations, processors, encoders, models. Importing it registers them."""

from . import audio_encoders, modeling_soundclip, modeling_soundllava, processing_soundclip

__all__ = ["audio_encoders", "modeling_soundclip", "modeling_soundllava", "processing_soundclip"]
