"""Shows on the picture which patches a sound keeps."""

from dataclasses import dataclass

from PIL import Image

from ..analysis.pictures.overlay import PANEL, Heard, overlay
from ..analysis.pictures.patch_grid import base_view_grid
from ..evaluation.generation.answering import AnsweringModel
from ..evaluation.generation.kept_patches import kept_patches
from .given import Given


@dataclass(frozen=True, eq=False)
class PatchView:
    """
    Attributes:
        frame: The picture, its longer side `PANEL` pixels.
        shown: The same with the patches on it; None where there is no sound.
        kept, patches: How many patches are kept, and how many there are.
        low, high: The smallest and the largest cosine of a patch and the sound, which are the ends of the colours.
    """

    frame: Image.Image
    shown: Image.Image | None = None
    kept: int = 0
    patches: int = 0
    low: float = 0.0
    high: float = 0.0


def patch_view(
    given: Given, answering: AnsweringModel, *, top_k: int, alignment: str, alpha: float | None
) -> PatchView | None:
    """
    The picture, and beside it the patches that its sound keeps. Of LLaVA-1.6 the base view is shown, without its tiles.

    Args:
        top_k: Patches to keep.
        alignment, alpha: Which embedding of the sound chooses them.

    Returns:
        None where there is no picture.

    Raises:
        NotInstalledError: matplotlib is missing.
    """
    if given.picture is None:
        return None
    factor = PANEL / max(given.picture.size)
    size = [max(1, round(side * factor)) for side in given.picture.size]
    frame = given.picture.convert("RGB").resize((size[0], size[1]), Image.Resampling.BICUBIC)
    if given.sound is None:
        return PatchView(frame)
    found = kept_patches(given.picture, given.sound, given.rate, answering, [alignment], top_k=top_k, alpha=alpha)
    heard = Heard(*found[alignment])
    grid = base_view_grid(given.picture.size, answering.processor, answering.model.config)
    return PatchView(
        frame,
        overlay(given.picture, heard, grid),
        int(heard.kept.sum()),
        len(heard.kept),
        float(heard.similarity.min()),
        float(heard.similarity.max()),
    )


__all__ = ["PatchView", "patch_view"]
