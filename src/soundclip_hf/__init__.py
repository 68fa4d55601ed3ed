"""Sound for LLaVA: the public names of the package."""

__version__ = "0.1.0"
