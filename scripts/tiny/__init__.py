"""Stages of `train_tiny.py`: the paper's recipe in small, on synthetic scenes."""
