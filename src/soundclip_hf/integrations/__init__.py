"""Adapters to other programs, which take what the models compute."""
