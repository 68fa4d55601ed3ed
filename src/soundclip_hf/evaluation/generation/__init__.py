"""Captions of models under several settings, written to files as they come, and scored from these files."""
