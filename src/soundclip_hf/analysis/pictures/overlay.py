"""Shows on the frame which patches a sound kept, and how similar each patch is to the sound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from ...extras import require
from .patch_grid import PatchGrid
from .style import LARGE, SMALL, WIDTH, check_picture, new_figure, save

# Of one luminance after another, blue to yellow: it reads the same to a colour-blind eye and in grey.
COLOUR_MAP = "cividis"
# Shares: of the colours of the similarity in a patch, and of the light of what the model does not see.
HEAT, UNSEEN = 0.6, 0.35
OUTLINE, CASING = (255, 255, 255), (0, 0, 0)
PANEL = 512  # pixels of the longer side of a panel
_LINE = 84  # characters of small text in a line across the picture


@dataclass(frozen=True)
class Heard:
    """
    What a sound did to the patches of one view.

    Attributes:
        kept: bool `(N,)`: the patches that are kept.
        similarity: float `(N,)`: cosine between the sound's embedding and each patch.
    """

    kept: NDArray[np.bool_]
    similarity: NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Overlay:
    """
    One row of a picture: a frame, and what sounds did to it.

    Attributes:
        name: Of the sample.
        frame: As it was before the model's own resizing and cropping.
        grid: Where its patches lie.
        heard: By column, such as "raw" and "projected".
    """

    name: str
    frame: Image.Image
    grid: PatchGrid
    heard: Mapping[str, Heard] = field(default_factory=dict)


def overlay(
    frame: Image.Image,
    heard: Heard,
    grid: PatchGrid,
    *,
    span: tuple[float, float] | None = None,
    side: int = PANEL,
) -> Image.Image:
    """
    The frame in grey under the colours of the similarity; kept patches are outlined, and what lies outside of the
    grid, which the model does not see, is dark.

    Args:
        span: The similarities at the ends of the colours; None for the smallest and the largest that there are.
        side: Of the longer side of the result, in pixels.

    Raises:
        NotInstalledError: matplotlib is missing.
        ValueError: `kept` and `similarity` are no `(N,)` of the grid, or a similarity is not finite.
    """
    require("matplotlib", what="drawing an overlay")
    from matplotlib import colormaps

    kept, similarity = _checked(heard, grid)
    factor = side / max(frame.size)
    size = max(1, round(frame.width * factor)), max(1, round(frame.height * factor))
    large = frame.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    low, high = span if span is not None else (float(similarity.min()), float(similarity.max()))
    shares = (similarity - low) / (high - low) if high > low else np.full(len(similarity), 0.5)
    colours = 255 * colormaps[COLOUR_MAP](np.clip(shares, 0, 1))[:, :3]
    grey = np.repeat(np.asarray(large.convert("L"), dtype=float)[..., None], 3, axis=-1)
    pixels = UNSEEN * grey
    places = _patch_of_pixels(grid.scaled(factor), size)
    seen = places >= 0
    pixels[seen] = (1 - HEAT) * grey[seen] + HEAT * colours[places[seen]]
    drawn = Image.fromarray(pixels.round().astype(np.uint8))
    _outline(drawn, kept.reshape(grid.side, grid.side), grid.scaled(factor))
    return drawn


def draw_overlays(rows: Sequence[Overlay], path: str | Path, title: str | None = None) -> None:
    """
    A table of pictures: a row for each sample; its frame, then one overlay for each kind of embedding. The colours of a
    column mean the same in all rows, and a bar below says what.

    Args:
        rows: All with the same columns in `heard`.
        path: `.png`, `.svg` or `.pdf`.
        title: None for none.

    Raises:
        NotInstalledError: matplotlib is missing.
        ValueError: There is no row, rows have other columns, or as [`overlay`]; another kind of file.
    """
    check_picture(path)
    columns = list(rows[0].heard) if rows else []
    if not columns or any(list(row.heard) != columns for row in rows):
        raise ValueError(f"{len(rows)} rows: give at least one, and all with the same kinds of embeddings")
    shares = [_share(row.frame) for row in rows]
    width = WIDTH / (1 + len(columns))
    figure = new_figure(1.1 + 0.35 * len(rows) + sum(shares) * (width - 0.15), "drawing overlays")
    # The last row holds the bars.
    axes = figure.subplots(
        len(rows) + 1, 1 + len(columns), squeeze=False, gridspec_kw={"height_ratios": [*shares, 0.05]}
    )
    spans = {column: _span(rows, column) for column in columns}
    for place, row in enumerate(rows):
        panels = [row.frame.convert("RGB")]
        panels += [overlay(row.frame, row.heard[column], row.grid, span=spans[column]) for column in columns]
        for ax, panel in zip(axes[place], panels):
            ax.imshow(panel, interpolation="lanczos")
            ax.set_axis_off()
        # Above the frame: an id at its side would take its width.
        axes[place, 0].set_title(_short(row.name, _LINE // (1 + len(columns))), fontsize=SMALL, loc="left")
        for number, column in enumerate(columns, 1):
            count = int(np.count_nonzero(row.heard[column].kept))
            head = f"{column}, " if place == 0 else ""
            axes[place, number].set_title(f"{head}{count} patches kept", fontsize=SMALL, loc="left")
    _bars(figure, axes[-1], spans, cropped=any(_is_cropped(row) for row in rows))
    if title is not None:
        figure.suptitle(title, fontsize=LARGE, wrap=True)
    save(figure, path)


def _checked(heard: Heard, grid: PatchGrid) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    kept: ArrayLike = heard.kept
    found, similarity = np.asarray(kept, dtype=bool), np.asarray(heard.similarity, dtype=float)
    expected = (grid.side**2,)
    if found.shape != expected or similarity.shape != expected:
        raise ValueError(
            f"kept {found.shape} and similarity {similarity.shape}: expected {expected}, the patches of one view"
        )
    if not np.isfinite(similarity).all():
        raise ValueError(
            f"{np.count_nonzero(~np.isfinite(similarity))} of {len(similarity)} similarities are not finite"
        )
    return found, similarity


def _patch_of_pixels(grid: PatchGrid, size: tuple[int, int]) -> NDArray[np.int64]:
    """`(height, width)`: the patch in which the middle of each pixel lies; -1 outside of the grid."""
    width, height = size
    columns = np.floor((np.arange(width) + 0.5 - grid.left) / (grid.right - grid.left) * grid.side).astype(np.int64)
    rows = np.floor((np.arange(height) + 0.5 - grid.top) / (grid.bottom - grid.top) * grid.side).astype(np.int64)
    inside = ((rows >= 0) & (rows < grid.side))[:, None] & ((columns >= 0) & (columns < grid.side))
    return np.where(inside, rows[:, None] * grid.side + columns, -1)


def _outline(picture: Image.Image, kept: NDArray[np.bool_], grid: PatchGrid) -> None:
    """A white line in a black one along every edge between a kept patch and another one."""
    padded = np.pad(kept, 1)
    segments = []
    for row, column in np.argwhere(kept):
        left, top, right, bottom = grid.box(int(row) * grid.side + int(column))
        around = padded[row : row + 3, column : column + 3]
        for inner, line in (
            (around[0, 1], (left, top, right, top)),
            (around[2, 1], (left, bottom, right, bottom)),
            (around[1, 0], (left, top, left, bottom)),
            (around[1, 2], (right, top, right, bottom)),
        ):
            if not inner:
                segments.append(line)
    draw = ImageDraw.Draw(picture)
    thin = max(1, round(max(picture.size) / 256))
    # At the edge of the picture a line would lie half outside, and be lost.
    inset = (thin + 2) / 2
    low, high = np.array([inset, inset] * 2), np.array([*picture.size] * 2) - inset
    for width, colour in ((thin + 2, CASING), (thin, OUTLINE)):
        for segment in segments:
            # Rectangles, since lines have no square ends, and corners would be open.
            ends = np.clip(segment, low, high)
            left, top, right, bottom = (int(at) for at in np.floor(ends - width / 2 + 0.5))
            draw.rectangle((left, top, right + width - 1, bottom + width - 1), fill=colour)


def _span(rows: Sequence[Overlay], column: str) -> tuple[float, float]:
    every = np.concatenate([_checked(row.heard[column], row.grid)[1] for row in rows])
    return float(every.min()), float(every.max())


def _share(frame: Image.Image) -> float:
    """Height by width; a frame that is very tall must not take the whole picture."""
    return min(frame.height / frame.width, 1.6)


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else f"…{name[-most + 1 :]}"


def _is_cropped(row: Overlay) -> bool:
    """Whether the model does not see all of a frame."""
    width, height = row.frame.size
    grid = row.grid
    return grid.left > 0 or grid.top > 0 or grid.right < width or grid.bottom < height


def _bars(figure: Any, axes: Any, spans: Mapping[str, tuple[float, float]], cropped: bool) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    axes[0].set_axis_off()
    axes[0].text(0, 1, "outlined: kept patches" + "\ndarkened: cropped away" * cropped, fontsize=SMALL, va="top")
    for ax, span in zip(axes[1:], spans.values()):
        bar = figure.colorbar(ScalarMappable(Normalize(*span), COLOUR_MAP), cax=ax, orientation="horizontal")
        bar.set_label("cosine of patch and sound", fontsize=SMALL)
        ax.tick_params(labelsize=SMALL)
        ax.locator_params(axis="x", nbins=4)


__all__ = ["Heard", "Overlay", "draw_overlays", "overlay"]
