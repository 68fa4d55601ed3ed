"""Fine-tuning of a SoundLlava on conversations: batches, what is trained, the run, and what comes out."""

from .collator import SoundLlavaCollator

__all__ = ["SoundLlavaCollator"]
