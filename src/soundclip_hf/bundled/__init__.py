"""Where the files lie that travel in the wheel: a tiny model that runs with no network, and a three-second clip."""

from pathlib import Path

TINY = Path(__file__).parent / "tiny"
CLIP = Path(__file__).parent / "clip.mp4"

__all__ = ["CLIP", "TINY"]
