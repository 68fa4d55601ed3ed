"""Alignment of a projector on pairs of sounds and pictures; fine-tuning on conversations. Needs the extra `train`."""

from ..package_messages import silence_bitsandbytes

silence_bitsandbytes()  # before a module below imports transformers' trainer
