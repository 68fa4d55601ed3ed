"""The drawings of the synthetic world: each kind of object as polygons in [-1, 1]², y down, in paint order."""

import math
from collections.abc import Sequence

Point = tuple[float, float]
# What a polygon is painted with: the object's colour, its shades, or a fixed paint.
PAINTS = ("body", "dark", "light", "black", "white", "metal")
Shape = tuple[str, tuple[Point, ...]]


def _polygon(paint: str, *points: Point) -> Shape:
    return paint, points


def _box(paint: str, left: float, top: float, right: float, bottom: float) -> Shape:
    return paint, ((left, top), (right, top), (right, bottom), (left, bottom))


def _oval(paint: str, x: float, y: float, width: float, height: float, turn: float = 0.0) -> Shape:
    """An ellipse with half axes `width` and `height`, turned by `turn` radians."""
    cos, sin = math.cos(turn), math.sin(turn)
    round_ = [(width * math.cos(a), height * math.sin(a)) for a in (2 * math.pi * i / 20 for i in range(20))]
    return paint, tuple((x + cos * u - sin * v, y + sin * u + cos * v) for u, v in round_)


def _line(paint: str, x0: float, y0: float, x1: float, y1: float, width: float) -> Shape:
    length = math.hypot(x1 - x0, y1 - y0)
    across, along = width / 2 * (y0 - y1) / length, width / 2 * (x1 - x0) / length
    return paint, (
        (x0 + across, y0 + along),
        (x1 + across, y1 + along),
        (x1 - across, y1 - along),
        (x0 - across, y0 - along),
    )


def _arc(paint: str, x: float, y: float, radius: float, width: float, start: float, stop: float) -> Shape:
    """A bent band from angle `start` to `stop`, in turns, clockwise from the right."""
    angles = [2 * math.pi * (start + (stop - start) * i / 12) for i in range(13)]
    outer = [(x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles]
    inner = [(x + (radius - width) * math.cos(a), y + (radius - width) * math.sin(a)) for a in reversed(angles)]
    return paint, (*outer, *inner)


def _both(*shapes: Shape) -> tuple[Shape, ...]:
    """Shapes and their mirror images."""
    return (*shapes, *((paint, tuple((-x, y) for x, y in points)) for paint, points in shapes))


SOUNDING: dict[str, Sequence[Shape]] = {
    "bell": (
        _polygon("body", (-0.3, -0.7), (0.3, -0.7), (0.5, -0.2), (0.6, 0.4), (0.9, 0.6), (-0.9, 0.6), (-0.6, 0.4)),
        _oval("dark", 0, 0.75, 0.2, 0.2),
        _oval("dark", 0, -0.82, 0.15, 0.15),
    ),
    "drum": (
        _oval("body", 0, 0.6, 0.85, 0.28),
        _box("body", -0.85, -0.3, 0.85, 0.6),
        *_both(_line("dark", -0.85, -0.2, -0.4, 0.75, 0.12), _line("dark", -0.4, 0.75, 0, -0.1, 0.12)),
        _oval("white", 0, -0.3, 0.85, 0.28),
        *_both(_line("black", -0.95, -0.95, -0.15, -0.35, 0.13)),
    ),
    "guitar": (
        _box("dark", -0.09, -0.95, 0.09, 0.1),
        _oval("body", 0, 0.52, 0.58, 0.45),
        _oval("body", 0, 0.0, 0.4, 0.32),
        _oval("black", 0, 0.28, 0.17, 0.17),
        _box("black", -0.18, -1, 0.18, -0.8),
        _box("black", -0.2, 0.62, 0.2, 0.7),
    ),
    "piano": (
        _box("body", -0.95, -0.7, 0.95, 0.7),
        _box("white", -0.85, -0.1, 0.85, 0.6),
        *(_box("black", x - 0.09, -0.1, x + 0.09, 0.25) for x in (-0.6, -0.3, 0, 0.3, 0.6)),
    ),
    "trumpet": (
        _oval("dark", -0.15, 0.18, 0.45, 0.3),
        _oval("light", -0.15, 0.18, 0.3, 0.16),
        _box("body", -0.95, -0.12, 0.5, 0.1),
        _polygon("body", (0.3, -0.12), (0.95, -0.6), (0.95, 0.6), (0.3, 0.1)),
        *(_box("metal", x, -0.45, x + 0.12, -0.1) for x in (-0.45, -0.2, 0.05)),
    ),
    "flute": (
        _box("body", -1, -0.17, 1, 0.17),
        _box("metal", -1, -0.2, -0.85, 0.2),
        _box("metal", 0.55, -0.2, 0.65, 0.2),
        *(_oval("black", x, 0, 0.09, 0.09) for x in (-0.55, -0.3, -0.05, 0.2, 0.8)),
    ),
    "phone": (
        _box("body", -0.55, -1, 0.55, 1),
        _box("white", -0.43, -0.75, 0.43, 0.6),
        _oval("black", 0, 0.8, 0.13, 0.11),
        _box("black", -0.2, -0.91, 0.2, -0.84),
    ),
    "clock": (
        *_both(_oval("dark", -0.6, -0.8, 0.28, 0.2, -0.6), _line("dark", -0.4, 0.6, -0.7, 1.0, 0.15)),
        _oval("body", 0, 0.05, 0.9, 0.9),
        _oval("white", 0, 0.05, 0.68, 0.68),
        _line("black", 0, 0.05, 0, -0.45, 0.12),
        _line("black", 0, 0.05, 0.38, 0.2, 0.12),
    ),
    "car": (
        _polygon(
            "body",
            *((-1, 0.45), (-1, 0.05), (-0.6, -0.05), (-0.35, -0.5)),
            *((0.35, -0.5), (0.65, -0.05), (1, 0.1), (1, 0.45)),
        ),
        _polygon("white", (-0.45, -0.05), (-0.28, -0.4), (-0.03, -0.4), (-0.03, -0.05)),
        _polygon("white", (0.05, -0.05), (0.05, -0.4), (0.28, -0.4), (0.45, -0.05)),
        *_both(_oval("black", -0.55, 0.47, 0.27, 0.27), _oval("metal", -0.55, 0.47, 0.12, 0.12)),
    ),
    "train": (
        _box("body", -0.95, -0.25, 0.4, 0.4),
        _box("dark", 0.2, -0.8, 0.9, 0.4),
        _box("white", 0.35, -0.62, 0.75, -0.25),
        _box("black", -0.8, -0.85, -0.5, -0.25),
        *(_oval("black", x, 0.55, 0.24, 0.24) for x in (-0.65, -0.05, 0.55)),
    ),
    "boat": (
        _box("black", -0.1, -0.95, 0, 0.3),
        _polygon("white", (0.05, -0.9), (0.8, 0.15), (0.05, 0.15)),
        _polygon("light", (-0.15, -0.6), (-0.15, 0.15), (-0.65, 0.15)),
        _polygon("body", (-1, 0.25), (1, 0.25), (0.6, 0.85), (-0.6, 0.85)),
    ),
    "helicopter": (
        _line("body", 0.1, 0.1, 0.95, -0.15, 0.2),
        _oval("dark", 0.92, -0.15, 0.2, 0.2),
        _box("black", -0.22, -0.6, -0.12, -0.2),
        _box("black", -1, -0.65, 0.7, -0.53),
        _oval("body", -0.2, 0.15, 0.55, 0.42),
        _oval("white", -0.45, 0.08, 0.22, 0.2),
        _box("black", -0.75, 0.7, 0.35, 0.8),
    ),
    "dog": (
        _line("dark", -0.5, 0.0, -0.95, -0.55, 0.17),
        *(_box("body", x, 0.2, x + 0.18, 0.9) for x in (-0.55, -0.3, 0.15, 0.38)),
        _oval("body", -0.05, 0.12, 0.62, 0.33),
        _oval("body", 0.6, -0.35, 0.33, 0.3),
        _oval("light", 0.85, -0.25, 0.2, 0.13),
        _oval("dark", 0.42, -0.28, 0.13, 0.33),
        _oval("black", 0.99, -0.3, 0.08, 0.07),
        _oval("black", 0.66, -0.45, 0.07, 0.07),
    ),
    "cat": (
        *_both(_polygon("body", (-0.75, -0.9), (-0.1, -0.35), (-0.7, 0.1))),
        _oval("body", 0, 0.15, 0.78, 0.68),
        *_both(_oval("white", -0.32, 0.0, 0.17, 0.17), _oval("black", -0.32, 0.0, 0.07, 0.15)),
        _polygon("black", (-0.12, 0.3), (0.12, 0.3), (0, 0.45)),
        *_both(_line("white", -0.2, 0.42, -1, 0.3, 0.06), _line("white", -0.2, 0.48, -1, 0.6, 0.06)),
    ),
    "bird": (
        _polygon("dark", (-0.4, 0.0), (-1, -0.35), (-0.9, 0.2)),
        _line("black", -0.05, 0.4, -0.1, 0.95, 0.08),
        _line("black", 0.15, 0.4, 0.2, 0.95, 0.08),
        _oval("body", 0, 0.1, 0.58, 0.4),
        _oval("body", 0.48, -0.35, 0.3, 0.3),
        _polygon("metal", (0.72, -0.45), (1.05, -0.3), (0.72, -0.22)),
        _oval("dark", -0.12, 0.08, 0.38, 0.2, 0.3),
        _oval("black", 0.55, -0.4, 0.08, 0.08),
    ),
    "owl": (
        *_both(_polygon("body", (-0.55, -1), (-0.1, -0.55), (-0.55, -0.3))),
        _oval("body", 0, 0.15, 0.62, 0.82),
        _oval("light", 0, 0.5, 0.4, 0.42),
        *_both(_oval("white", -0.28, -0.28, 0.28, 0.28), _oval("black", -0.28, -0.28, 0.13, 0.13)),
        _polygon("black", (-0.1, -0.1), (0.1, -0.1), (0, 0.15)),
    ),
    "duck": (
        _polygon("body", (-0.7, 0.1), (-1, -0.2), (-0.85, 0.4)),
        _oval("body", -0.15, 0.38, 0.78, 0.42),
        _box("body", 0.25, -0.55, 0.55, 0.3),
        _oval("body", 0.42, -0.58, 0.3, 0.27),
        _polygon("metal", (0.65, -0.65), (1.1, -0.55), (1.1, -0.42), (0.65, -0.4)),
        _oval("dark", -0.2, 0.32, 0.42, 0.2),
        _oval("black", 0.5, -0.65, 0.08, 0.08),
    ),
    "frog": (
        *_both(_oval("dark", -0.75, 0.75, 0.35, 0.14), _oval("body", -0.48, -0.35, 0.3, 0.3)),
        _oval("body", 0, 0.25, 0.9, 0.52),
        *_both(_oval("white", -0.48, -0.4, 0.18, 0.18), _oval("black", -0.48, -0.4, 0.09, 0.09)),
        _oval("light", 0, 0.5, 0.55, 0.22),
        _line("black", -0.6, 0.22, 0.6, 0.22, 0.09),
    ),
    "bee": (
        _oval("white", -0.25, -0.45, 0.25, 0.45, -0.4),
        _oval("white", 0.25, -0.45, 0.25, 0.45, 0.2),
        _polygon("black", (-0.65, 0.1), (-1.05, 0.25), (-0.65, 0.4)),
        _oval("body", 0, 0.25, 0.75, 0.42),
        _box("black", -0.4, -0.1, -0.22, 0.6),
        _box("black", -0.05, -0.16, 0.13, 0.66),
        _oval("black", 0.62, 0.2, 0.25, 0.25),
    ),
    "cow": (
        *_both(
            _polygon("white", (-0.35, -0.5), (-0.8, -1), (-0.15, -0.65)),
            _oval("dark", -0.7, -0.35, 0.3, 0.16, 0.4),
        ),
        _oval("body", 0, -0.05, 0.52, 0.72),
        _polygon("white", (-0.12, -0.7), (0.12, -0.7), (0.16, 0.2), (-0.16, 0.2)),
        _oval("white", 0, 0.55, 0.48, 0.32),
        *_both(_oval("black", -0.2, 0.55, 0.1, 0.12), _oval("black", -0.28, -0.15, 0.1, 0.1)),
    ),
    "sheep": (
        *(_box("black", x, 0.3, x + 0.14, 0.95) for x in (-0.55, -0.3, 0.1, 0.32)),
        *(_oval("body", x, y, 0.33, 0.31) for x, y in ((-0.6, 0), (-0.3, -0.3), (0.1, -0.35), (0.35, -0.05))),
        *(_oval("light", x, y, 0.33, 0.31) for x, y in ((-0.45, 0.25), (-0.1, 0.0), (0.15, 0.25))),
        _oval("black", 0.68, -0.2, 0.26, 0.33, -0.3),
        _oval("white", 0.7, -0.3, 0.07, 0.07),
    ),
    "kettle": (
        _arc("black", 0, -0.25, 0.6, 0.14, 0.5, 1.0),
        _polygon("dark", (0.45, 0.35), (0.95, -0.35), (1.08, -0.25), (0.65, 0.7)),
        _oval("body", 0, 0.3, 0.68, 0.52),
        _box("body", -0.6, 0.4, 0.6, 0.85),
        _oval("dark", 0, -0.18, 0.35, 0.12),
        _oval("black", 0, -0.32, 0.12, 0.12),
    ),
    "hammer": (
        _box("black", -0.13, -0.5, 0.13, 1),
        _box("body", -0.45, -0.95, 0.75, -0.4),
        _polygon("dark", (-0.45, -0.95), (-1, -0.5), (-0.95, -0.4), (-0.45, -0.55)),
    ),
    "fan": (
        _box("metal", -0.09, 0.2, 0.09, 0.95),
        _box("black", -0.5, 0.85, 0.5, 1),
        _oval("metal", 0, -0.15, 0.85, 0.85),
        _oval("white", 0, -0.15, 0.75, 0.75),
        *(
            _oval("body", 0.38 * math.cos(turn), -0.15 + 0.38 * math.sin(turn), 0.36, 0.2, turn)
            for turn in (0.5, 0.5 + 2 * math.pi / 3, 0.5 + 4 * math.pi / 3)
        ),
        _oval("black", 0, -0.15, 0.14, 0.14),
    ),
    "siren": (
        *_both(_line("white", -0.65, 0.1, -1, 0.0, 0.1), _line("white", -0.5, -0.45, -0.8, -0.75, 0.1)),
        _line("white", 0, -0.65, 0, -1, 0.1),
        _oval("body", 0, 0.1, 0.5, 0.62),
        _oval("light", -0.15, -0.1, 0.14, 0.28),
        _box("black", -0.75, 0.5, 0.75, 0.9),
    ),
    "tap": (
        _box("body", -0.95, -0.3, 0.45, 0.05),
        _box("body", 0.15, -0.3, 0.5, 0.45),
        _box("dark", -0.95, -0.45, -0.75, 0.2),
        _box("dark", -0.28, -0.65, -0.12, -0.3),
        _box("black", -0.6, -0.8, 0.2, -0.62),
        _oval("white", 0.33, 0.78, 0.14, 0.22),
    ),
}
SILENT: dict[str, Sequence[Shape]] = {
    "tree": (
        _box("black", -0.13, 0.2, 0.13, 1),
        *(_oval("body", x, y, 0.42, 0.4) for x, y in ((-0.38, 0.0), (0.38, 0.0), (0, -0.5))),
        _oval("dark", 0, -0.1, 0.35, 0.3),
    ),
    "house": (
        _box("body", -0.75, -0.1, 0.75, 0.95),
        _polygon("dark", (-0.98, -0.1), (0, -0.95), (0.98, -0.1)),
        _box("black", -0.2, 0.35, 0.2, 0.95),
        *_both(_box("white", -0.62, 0.1, -0.34, 0.4)),
    ),
    "ball": (
        _oval("body", 0, 0, 0.85, 0.85),
        _oval("white", 0, 0, 0.85, 0.25),
        _oval("light", -0.3, -0.45, 0.2, 0.15),
    ),
    "chair": (
        _box("dark", -0.6, -0.95, -0.4, 1),
        _box("body", -0.6, -0.95, -0.25, 0.0),
        _box("body", -0.6, 0.05, 0.7, 0.3),
        _box("dark", 0.5, 0.3, 0.68, 1),
    ),
    "cup": (
        _arc("dark", 0.5, 0.05, 0.45, 0.15, -0.25, 0.25),
        _polygon("body", (-0.7, -0.6), (0.6, -0.6), (0.4, 0.8), (-0.5, 0.8)),
        _oval("white", -0.05, -0.6, 0.65, 0.17),
    ),
    "umbrella": (
        _box("black", -0.06, -0.3, 0.06, 0.8),
        _arc("black", 0.18, 0.75, 0.24, 0.12, 0.0, 0.5),
        _polygon("body", *((math.cos(a), 0.1 + math.sin(a)) for a in (math.pi * (1 + i / 12) for i in range(13)))),
        _polygon("light", (-0.33, 0.1), (0, -0.9), (0.33, 0.1)),
    ),
}
SHAPES = {**SOUNDING, **SILENT}

__all__ = ["PAINTS", "SHAPES", "SILENT", "SOUNDING", "Shape"]
