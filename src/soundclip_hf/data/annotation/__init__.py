"""Captions of clips, and judgements of how well sound and picture fit, from models on servers."""
