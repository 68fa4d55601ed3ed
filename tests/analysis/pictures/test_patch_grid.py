"""Where patches lie on a frame: by hand, and by what the image processors make of a frame that says where it is."""

import numpy as np
import pytest
from PIL import Image
from tiny_processors import tiny_image_processor
from transformers import CLIPImageProcessor, LlavaImageProcessor

from soundclip_hf.analysis.pictures.patch_grid import PatchGrid, patch_grid


def clip(resize, crop=None):
    size = {"shortest_edge": resize}
    return CLIPImageProcessor(size=size, crop_size={"height": crop or resize, "width": crop or resize})


def test_by_hand():
    """640 x 480 becomes 448 x 336, of which columns 56 to 392 stay: pixels 80 to 560 of the frame, 20 to a patch."""
    grid = patch_grid((640, 480), clip(336), 24)
    assert (grid.left, grid.top, grid.right, grid.bottom) == (80, 0, 560, 480)
    assert grid.box(0) == (80, 0, 100, 20)
    assert grid.box(23) == (540, 0, 560, 20)
    assert grid.box(24 * 12 + 3) == (140, 240, 160, 260)
    # Upright: 300 x 900 becomes 28 x 84, of which rows 28 to 56 stay.
    assert patch_grid((300, 900), clip(28), 4).box(5) == pytest.approx((75, 375, 150, 450))
    # Resized to 40, then 28 in the middle: 6 of 40 pixels are lost at each side of 200.
    assert patch_grid((200, 200), clip(40, 28), 4).box(0) == pytest.approx((30, 30, 65, 65))
    # The base view of LLaVA-1.6 is the whole frame, so that its patches are no squares.
    assert patch_grid((640, 480), tiny_image_processor("llava_next"), 4, anyres=True).box(6) == (320, 120, 480, 240)
    assert PatchGrid(10, 20, 50, 60, 4).scaled(2).box(0) == (20, 40, 40, 60)
    with pytest.raises(ValueError, match="patch 16: there are 16"):
        PatchGrid(0, 0, 1, 1, 4).box(16)


PADDED = LlavaImageProcessor(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}, do_pad=True)
CASES = {
    "wide": ((320, 200), clip(56), False),
    "tall": ((90, 300), clip(56), False),
    "square": ((64, 64), clip(56), False),
    "odd": ((301, 199), clip(56), False),
    "cropped": ((320, 200), clip(80, 56), False),
    "padded": ((320, 200), clip(40, 56), False),
    "to a square": ((320, 200), PADDED, False),
    "base view": ((320, 200), tiny_image_processor("llava_next", 56), True),
}


@pytest.mark.parametrize(("size", "image_processor", "anyres"), CASES.values(), ids=CASES)
def test_what_the_processor_puts_into_a_patch(size, image_processor, anyres):
    """The red of a frame is its x and the green its y, so that the mean of a patch is its middle on the frame."""
    width, height = size
    ramp = np.zeros((height, width, 3), np.uint8)
    ramp[..., 0] = np.linspace(20, 235, width).round()
    ramp[..., 1] = np.linspace(20, 235, height).round()[:, None]
    ramp[..., 2] = 255  # padding has none, and may not be looked at
    pixels = image_processor(Image.fromarray(ramp), return_tensors="np", do_normalize=False)["pixel_values"][0]
    view = 255 * (pixels[0] if anyres else pixels)
    side = 4
    grid = patch_grid(size, image_processor, side, anyres)
    looked_at = 0
    for patch in range(side**2):
        row, column = divmod(patch, side)
        part = view[:, row * 14 : (row + 1) * 14, column * 14 : (column + 1) * 14]
        if part[2].min() < 254:
            continue
        looked_at += 1
        left, top, right, bottom = grid.box(patch)
        x = (part[0].mean() - 20) / 215 * (width - 1) + 0.5
        y = (part[1].mean() - 20) / 215 * (height - 1) + 0.5
        # Eight bits round the ramp, and filters blur its ends.
        assert (left + right) / 2 == pytest.approx(x, abs=max(width, height) / 100)
        assert (top + bottom) / 2 == pytest.approx(y, abs=max(width, height) / 100)
    assert looked_at >= side
