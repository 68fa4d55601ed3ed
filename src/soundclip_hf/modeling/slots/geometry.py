"""What a visual slot shows, and how many tokens it then takes in the language model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers.image_processing_utils import select_best_resolution


@dataclass(frozen=True)
class SlotGeometry:
    """
    What a visual slot shows.

    Attributes:
        num_patches: N, the patches of one view (576 for CLIP ViT-L/14 at 336 pixels).
        grid: `(rows, columns)` of LLaVA-1.6's tiles; `None` for LLaVA-1.5 and for a sound without image.
        crop: `(top, bottom, left, right)`: rows and columns of patches of the joined tiles that are padding.
        has_image: False for the place of a sound without image.
        shrunk: `(rows, columns)` that LLaVA-OneVision shrinks the joined tiles of a large picture to, by interpolation
            of their projected tokens; `None` where each patch is a token.
        ends_in_newline: Whether one newline token follows a single view, as in LLaVA-OneVision.
    """

    num_patches: int
    grid: tuple[int, int] | None = None
    crop: tuple[int, int, int, int] = (0, 0, 0, 0)
    has_image: bool = True
    shrunk: tuple[int, int] | None = None
    ends_in_newline: bool = False

    @property
    def side(self) -> int:
        return int(self.num_patches**0.5)

    @property
    def num_views(self) -> int:
        """The base view and the tiles; 0 for a sound without image."""
        if not self.has_image:
            return 0
        return 1 if self.grid is None else 1 + self.grid[0] * self.grid[1]

    @property
    def tile_rows(self) -> int:
        """Rows of patches in the joined tiles without padding."""
        return 0 if self.grid is None else self.grid[0] * self.side - self.crop[0] - self.crop[1]

    @property
    def tile_columns(self) -> int:
        """Columns of patches in the joined tiles without padding."""
        return 0 if self.grid is None else self.grid[1] * self.side - self.crop[2] - self.crop[3]

    @property
    def newlines(self) -> int:
        """Newline tokens: one ends each row of the joined tiles."""
        if self.shrunk is not None:
            return self.shrunk[0]
        return int(self.ends_in_newline) if self.grid is None else self.tile_rows

    @property
    def tile_tokens(self) -> int:
        """Tokens of the joined tiles, without newlines."""
        rows, columns = self.shrunk or (self.tile_rows, self.tile_columns)
        return rows * columns

    def survivors(self) -> np.ndarray:
        """Bool `(tiles, N)`: the patches of each tile, row by row, that are no padding."""
        if self.grid is None:
            return np.zeros((0, self.num_patches), dtype=bool)
        rows, columns = self.grid
        side = self.side
        top, bottom, left, right = self.crop
        joined = np.zeros((rows * side, columns * side), dtype=bool)
        joined[top : rows * side - bottom, left : columns * side - right] = True
        return joined.reshape(rows, side, columns, side).transpose(0, 2, 1, 3).reshape(rows * columns, side * side)

    def order(self) -> np.ndarray:
        """
        The slot's tokens after row 0, as LLaVA lays them out: int64 indices into the `(views * N)` patches of base
        view and tiles, -1 for a newline. A sound without image has N empty patches. Tiles that are shrunk are here as
        they were before that.
        """
        base = np.arange(self.num_patches)
        if self.grid is None:
            return np.append(base, -1) if self.ends_in_newline else base
        rows, columns = self.grid
        side = self.side
        top, bottom, left, right = self.crop
        tiles = np.arange(rows * columns * self.num_patches).reshape(rows, columns, side, side) + self.num_patches
        joined = tiles.transpose(0, 2, 1, 3).reshape(rows * side, columns * side)
        joined = joined[top : rows * side - bottom, left : columns * side - right]
        newlines = np.full((joined.shape[0], 1), -1)
        return np.concatenate([base, np.concatenate([joined, newlines], axis=1).reshape(-1)])


def sound_only_slot(patches_per_side: int) -> SlotGeometry:
    """Geometry of a sound without image: N empty patches in zero mode, none in drop mode."""
    return SlotGeometry(patches_per_side**2, has_image=False)


def image_slot(
    patches_per_side: int,
    image_size: tuple[int, int] | None = None,
    grid_pinpoints: list | None = None,
    tile_size: int | None = None,
) -> SlotGeometry:
    """
    Geometry of an image.

    Args:
        patches_per_side: 24 for CLIP ViT-L/14 at 336 pixels.
        image_size: `(height, width)` of the original picture in pixels, for LLaVA-1.6 only.
        grid_pinpoints: LLaVA-1.6's `(height, width)` resolutions; `None` for LLaVA-1.5.
        tile_size: Side of a tile in pixels, for LLaVA-1.6 only.

    Raises:
        ValueError: If there are `grid_pinpoints`, but no `image_size` or no `tile_size`.
    """
    if grid_pinpoints is None:
        return SlotGeometry(patches_per_side**2)
    if image_size is None or tile_size is None:
        raise ValueError("LLaVA-1.6 slots need image_size and tile_size beside grid_pinpoints.")
    height, width = (int(value) for value in image_size)
    best_height, best_width = select_best_resolution((height, width), grid_pinpoints)
    rows, columns = best_height // tile_size, best_width // tile_size
    return SlotGeometry(
        patches_per_side**2,
        (rows, columns),
        _padding(height, width, rows * patches_per_side, columns * patches_per_side),
    )


def _padding(height: int, width: int, rows: int, columns: int) -> tuple[int, int, int, int]:
    # The rounding is that of transformers' `unpad_image`: a different one is off by a row at some picture sizes.
    if width / height > columns / rows:
        padding = (rows - int(round(height * (columns / width), 7))) // 2
        return padding, padding, 0, 0
    padding = (columns - int(round(width * (rows / height), 7))) // 2
    return 0, 0, padding, padding


def view_size(image_processor: Any) -> int:
    """Side of a view in pixels, as the image processor is set."""
    crop = getattr(image_processor, "do_center_crop", False) and image_processor.crop_size is not None
    size = dict(image_processor.crop_size if crop else image_processor.size)
    return size.get("shortest_edge") or min(size["height"], size["width"])


def processed_images(
    image_inputs: Mapping[str, Any], image_processor: Any, patch_size: int, anyres: bool
) -> list[SlotGeometry]:
    """
    Geometry of each processed image.

    Args:
        image_inputs: What `image_processor` returned; empty without images.
        image_processor: Has the resolutions of LLaVA-1.6.
        patch_size: Of the vision tower, in pixels.
        anyres: Whether the base model is LLaVA-1.6.

    Raises:
        ValueError: If the views are not square.
    """
    geometries = []
    for row, pixels in enumerate(image_inputs.get("pixel_values", ())):
        height, width = np.shape(pixels)[-2:]
        if height != width:
            raise ValueError(f"Views of {height}x{width} pixels: sound needs square ones; check size and crop_size.")
        if anyres:
            rows, columns = (int(value) for value in image_inputs["image_sizes"][row])
            pinpoints = image_processor.image_grid_pinpoints
            geometries.append(image_slot(height // patch_size, (rows, columns), pinpoints, height))
        else:
            geometries.append(image_slot(height // patch_size))
    return geometries


def largest_budget(geometry: SlotGeometry, scope: str) -> int:
    """The largest `k` that a slot takes: N, or with scope "image" all patches of the base view and the tiles."""
    if scope == "image" and geometry.grid is not None:
        return geometry.num_patches * geometry.num_views
    return geometry.num_patches


def count_visual_tokens(
    geometry: SlotGeometry,
    *,
    sounding: bool,
    budget: int = -1,
    scope: str = "tile",
    select_strategy: str = "default",
    sound_select_strategy: str = "full",
) -> int:
    """
    Tokens that a slot takes in the language model.

    Args:
        geometry: What the slot shows.
        sounding: Whether it has a sound.
        budget: -1 in zero mode, `k >= 0` in drop mode; not looked at for silent images.
        scope: `patch_budget_scope` of the configuration: "tile", "image" or "base".
        select_strategy: For silent images, as in the base checkpoint.
        sound_select_strategy: "full" counts the sound's own row, "default" does not.
    """
    strategy = sound_select_strategy if sounding else select_strategy
    first_row = 0 if strategy == "default" else 1
    unpadded = geometry.survivors().sum(axis=1)
    if not sounding or budget < 0:
        return first_row + geometry.num_patches + geometry.tile_tokens + geometry.newlines
    if not geometry.has_image:
        return first_row
    if scope == "tile":
        kept = min(budget, geometry.num_patches) + int(np.minimum(budget, unpadded).sum())
    elif scope == "image":
        kept = min(budget, geometry.num_patches + int(unpadded.sum()))
    else:
        kept = min(budget, geometry.num_patches)
    return first_row + kept + geometry.newlines


__all__ = [
    "SlotGeometry",
    "count_visual_tokens",
    "image_slot",
    "largest_budget",
    "processed_images",
    "sound_only_slot",
    "view_size",
]
