"""Alignment of a projector on pairs of sounds and pictures; fine-tuning on conversations. Needs the extra `train`."""
