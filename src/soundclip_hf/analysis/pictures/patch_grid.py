"""Where the patches that a vision tower sees lie on the frame that they were cut from."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PatchGrid:
    """
    Square patches, row by row, on a frame.

    Attributes:
        left, top, right, bottom: What the patches cover, in pixels of the frame; beyond its edges where it was padded.
        side: Patches of a row and of a column.
    """

    left: float
    top: float
    right: float
    bottom: float
    side: int

    def box(self, patch: int) -> tuple[float, float, float, float]:
        """
        `(left, top, right, bottom)` of a patch, in pixels of the frame.

        Raises:
            ValueError: If there is no such patch.
        """
        if not 0 <= patch < self.side**2:
            raise ValueError(f"patch {patch}: there are {self.side**2}, from 0 on")
        row, column = divmod(patch, self.side)
        width, height = (self.right - self.left) / self.side, (self.bottom - self.top) / self.side
        left, top = self.left + column * width, self.top + row * height
        return left, top, left + width, top + height

    def scaled(self, factor: float) -> "PatchGrid":
        """The grid on the same frame, made larger by `factor`."""
        edges = (self.left * factor, self.top * factor, self.right * factor, self.bottom * factor)
        return PatchGrid(*edges, self.side)


def patch_grid(size: tuple[int, int], image_processor: Any, side: int, anyres: bool = False) -> PatchGrid:
    """
    The grid of the one view of LLaVA-1.5, or of the base view of LLaVA-1.6.

    LLaVA-1.5 resizes the shorter side of a frame and cuts a square out of its middle, so that patches are square on the
    frame, and what lies beyond is not seen. The base view of LLaVA-1.6 is the whole frame, pressed into a square.

    Args:
        size: `(width, height)` of the frame.
        image_processor: With the settings of `CLIPImageProcessor`, `LlavaImageProcessor` or `LlavaNextImageProcessor`.
        side: Patches of a row and of a column: 24 for CLIP ViT-L/14 at 336 pixels.
        anyres: Whether the model is LLaVA-1.6.
    """
    width, height = size
    if anyres:
        return PatchGrid(0, 0, width, height, side)
    left, top, right, bottom = 0.0, 0.0, float(width), float(height)
    if getattr(image_processor, "pad_to_square", None) is not None and getattr(image_processor, "do_pad", False):
        longer = max(width, height)
        left, top = -float((longer - width) // 2), -float((longer - height) // 2)
        right, bottom = left + longer, top + longer
    pixels = round(right - left), round(bottom - top)
    if getattr(image_processor, "do_resize", True):
        pixels = _resized(pixels, dict(image_processor.size))
    if getattr(image_processor, "do_center_crop", False) and image_processor.crop_size is not None:
        crop = dict(image_processor.crop_size)
        left, right = _cropped(left, right, pixels[0], crop["width"])
        top, bottom = _cropped(top, bottom, pixels[1], crop["height"])
    return PatchGrid(left, top, right, bottom, side)


def base_view_grid(size: tuple[int, int], processor: Any, config: Any) -> PatchGrid:
    """
    The grid of a model's view of a whole frame; see [`patch_grid`].

    Args:
        size: `(width, height)` of the frame.
        processor: `SoundLlavaProcessor` of the model.
        config: `SoundLlavaConfig` of the model.
    """
    anyres = config.llava_variant == "llava_next"
    return patch_grid(size, processor.image_processor, config.patches_per_side, anyres)


def _resized(pixels: tuple[int, int], size: dict[str, int | None]) -> tuple[int, int]:
    """Width and height after the processor's resizing."""
    shortest = size.get("shortest_edge")
    if shortest is None:
        return int(size["width"] or 0), int(size["height"] or 0)
    width, height = pixels
    # As transformers rounds: a longer side is cut off to a whole number.
    if width <= height:
        return shortest, int(shortest * height / width)
    return int(shortest * width / height), shortest


def _cropped(low: float, high: float, pixels: int, crop: int) -> tuple[float, float]:
    """The middle `crop` pixels of an edge from `low` to `high` that has been resized to `pixels`."""
    # A frame that is smaller than the crop is padded.
    first = (pixels - crop) // 2 if pixels >= crop else -((crop - pixels) // 2)
    scale = (high - low) / pixels
    return low + first * scale, low + (first + crop) * scale


__all__ = ["PatchGrid", "base_view_grid", "patch_grid"]
