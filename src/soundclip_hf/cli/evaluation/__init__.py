"""Commands that measure models, and compare what was measured with the paper."""
