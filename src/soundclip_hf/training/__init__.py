"""Training of an adapter's projector on pairs of sounds and pictures. Needs the extra `train`."""
