"""Measures models: numbers with their uncertainty, from embeddings or answers."""
