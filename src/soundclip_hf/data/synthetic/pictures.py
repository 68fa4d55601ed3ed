"""Drawings of synthetic scenes: coloured things on a cluttered ground, at any size."""

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from .shapes import SHAPES

# Hue of each colour in degrees; all are apart by more than twice the jitter.
HUES = {"red": 0, "orange": 28, "yellow": 55, "green": 125, "blue": 220, "purple": 285}
COLOURS = tuple(HUES)
PLACES = ("top left", "top right", "bottom left", "bottom right")
_FIXED = {"black": (24, 24, 28), "white": (244, 244, 240), "metal": (150, 154, 160)}
_OVERSAMPLING = 2
_TEXTURE = 64  # cells of the noise on a side, whatever the size


@dataclass(frozen=True)
class Thing:
    """
    One object of a scene.

    Attributes:
        kind: Of `SHAPES`.
        colour: Of `COLOURS`.
        x, y: Centre, in [0, 1] from the top left corner.
        radius: Half the extent, in widths of the picture.
        turn: Radians, clockwise.
        flipped: Left and right exchanged.
        aspect: Width over height, beside the drawing's own.
        hue, saturation, value: Of the paint; the hue in degrees.
    """

    kind: str
    colour: str
    x: float
    y: float
    radius: float
    turn: float
    flipped: bool
    aspect: float
    hue: float
    saturation: float
    value: float

    @property
    def place(self) -> str:
        """The quarter of the picture that holds the centre, of `PLACES`."""
        return PLACES[2 * (self.y >= 0.5) + (self.x >= 0.5)]

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom in [0, 1]."""
        corners = np.array([point for _, points in self.polygons() for point in points]).clip(0, 1)
        return (*map(float, corners.min(0)), *map(float, corners.max(0)))  # type: ignore[return-value]

    def coverage(self, cells: int) -> np.ndarray:
        """Share of each cell of a `cells` x `cells` grid that the thing covers, `(cells * cells,)` float32, by rows."""
        mask = Image.new("L", (16 * cells,) * 2)
        pen = ImageDraw.Draw(mask)
        for _, points in self.polygons():
            pen.polygon([(16 * cells * x, 16 * cells * y) for x, y in points], fill=255)
        return np.asarray(mask.resize((cells, cells), Image.Resampling.BOX), np.float32).reshape(-1) / 255

    def polygons(self) -> list[tuple[str, list[tuple[float, float]]]]:
        """Paint and corners, in [0, 1] from the top left corner of the picture, in paint order."""
        cos, sin = math.cos(self.turn), math.sin(self.turn)
        across, down = self.radius * math.sqrt(self.aspect), self.radius / math.sqrt(self.aspect)
        across_signed = -across if self.flipped else across
        drawn = []
        for paint, points in SHAPES[self.kind]:
            scaled = [(across_signed * u, down * v) for u, v in points]
            drawn.append((paint, [(self.x + cos * u - sin * v, self.y + sin * u + cos * v) for u, v in scaled]))
        return drawn

    def paints(self) -> dict[str, tuple[int, int, int]]:
        """Colours of the paints, 0..255."""

        def shade(saturation: float, value: float) -> tuple[int, int, int]:
            rgb = colorsys.hsv_to_rgb(self.hue % 360 / 360, min(saturation, 1), min(value, 1))
            return tuple(round(255 * part) for part in rgb)  # type: ignore[return-value]

        return {
            **_FIXED,
            "body": shade(self.saturation, self.value),
            "dark": shade(self.saturation, 0.6 * self.value),
            "light": shade(0.55 * self.saturation, 1.2 * self.value),
        }


def random_thing(rng: np.random.Generator, kind: str, place: int) -> Thing:
    """A thing of this kind in the quarter number `place` of `PLACES`, everything else at random."""
    colour = COLOURS[rng.integers(len(COLOURS))]
    centre = np.array([0.25 + 0.5 * (place % 2), 0.25 + 0.5 * (place // 2)]) + rng.uniform(-0.07, 0.07, 2)
    return Thing(
        kind=kind,
        colour=colour,
        x=float(centre[0]),
        y=float(centre[1]),
        radius=float(rng.uniform(0.13, 0.22)),
        turn=float(rng.normal(0, 0.15)),
        flipped=bool(rng.random() < 0.5),
        aspect=float(rng.uniform(0.85, 1.2)),
        hue=float(HUES[colour] + rng.uniform(-8, 8)),
        saturation=float(rng.uniform(0.7, 1.0)),
        value=float(rng.uniform(0.6, 0.95)),
    )


def draw(things: Sequence[Thing], seed: Sequence[int], size: int = 256, drift: float = 0.0) -> np.ndarray:
    """
    The picture of `things`, later ones in front.

    Args:
        seed: Of ground, clutter and noise.
        size: Width and height in pixels.
        drift: How far everything has moved to the right, in widths of the picture.

    Returns:
        `(size, size, 3)` uint8.
    """
    rng = np.random.default_rng(seed)
    top, bottom = (_dull(rng) for _ in range(2))
    fall = np.linspace(0, 1, size)[:, None, None]
    ground = np.broadcast_to((1 - fall) * top + fall * bottom, (size, size, 3))
    image = Image.fromarray(ground.astype(np.uint8)).resize((size * _OVERSAMPLING,) * 2)
    pen, scale = ImageDraw.Draw(image), size * _OVERSAMPLING
    for _ in range(rng.integers(2, 7)):
        x, y, width, height = rng.uniform((0, 0, 0.03, 0.03), (1, 1, 0.25, 0.12))
        grey = tuple(int(part) for part in _dull(rng))
        corners = [scale * corner for corner in (x - width / 2, y - height / 2, x + width / 2, y + height / 2)]
        (pen.ellipse if rng.random() < 0.5 else pen.rectangle)(corners, fill=grey)
    for thing in things:
        paints = thing.paints()
        for paint, points in thing.polygons():
            pen.polygon([(scale * (x + drift), scale * y) for x, y in points], fill=paints[paint])
    image = image.resize((size, size), Image.Resampling.BOX)
    noise = rng.normal(0, rng.uniform(2, 9), (_TEXTURE, _TEXTURE)).astype(np.float32)
    grain = np.asarray(Image.fromarray(noise).resize((size, size), Image.Resampling.BILINEAR))
    lit = np.asarray(image, np.float32) * rng.uniform(0.85, 1.1) + grain[..., None]
    return lit.clip(0, 255).astype(np.uint8)


def _dull(rng: np.random.Generator) -> np.ndarray:
    """A greyish colour, `(3,)` float64."""
    return 255 * np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0, 0.25), rng.uniform(0.35, 0.85)))


__all__ = ["COLOURS", "HUES", "PLACES", "Thing", "draw", "random_thing"]
