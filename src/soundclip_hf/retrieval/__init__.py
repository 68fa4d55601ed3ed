"""Embedding files and searching among them: the engine of `soundclip embed`, `index` and `search`."""
