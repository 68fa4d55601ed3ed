"""Hearing for a LLaVA of transformers that is loaded already: its ears, its class, its processor, and the way back."""
