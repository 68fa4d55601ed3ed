"""Training: pairs of sounds and pictures in; the projector of an adapter out. Needs the extra `train`."""
