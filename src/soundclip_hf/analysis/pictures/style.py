"""What all pictures share: colours that stay apart for every eye and in grey, sizes, and how one becomes a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...extras import require
from ...files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")
# Okabe and Ito's colours without yellow, which is too light for a line; with the markers they stay apart in grey, too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
OF_ALIGNMENT = {"projected": COLOURS[0], "raw": COLOURS[1]}
LINE, BAND, GRID = "#555555", "#dddddd", "#eeeeee"
# Inches: 1200 pixels of a PNG, which a README shows at about 800. Smaller text than this cannot be read there.
WIDTH, DPI = 8.0, 150
SMALL, TEXT, LARGE = 10, 11, 13


def check_picture(path: str | Path) -> Path:
    """
    The path of a picture.

    Raises:
        ValueError: If its ending is none of `SUFFIXES`.
    """
    target = Path(path)
    if target.suffix not in SUFFIXES:
        raise ValueError(f"{target}: a picture is a .png, .svg or .pdf file")
    return target


def new_figure(height: float, what: str) -> Figure:
    """
    An empty figure that is `WIDTH` wide.

    Args:
        height: In inches.
        what: What is drawn, for the message.

    Raises:
        NotInstalledError: matplotlib is missing.
    """
    require("matplotlib", what=what)
    # Of matplotlib itself: a figure of its own needs neither a display nor pyplot's global state.
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height), layout="constrained")


def plain(ax: Axes) -> None:
    """Leave out the frame but for the two axes, and put a light grid below what is drawn."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color=GRID)
    ax.set_axisbelow(True)


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure; the file appears whole or not at all."""
    target = check_picture(path)
    with replacing(target) as partial:
        figure.savefig(partial, dpi=DPI, format=target.suffix[1:])


__all__ = [
    "COLOURS",
    "DPI",
    "LARGE",
    "LINE",
    "MARKERS",
    "OF_ALIGNMENT",
    "SMALL",
    "TEXT",
    "WIDTH",
    "check_picture",
    "new_figure",
    "plain",
    "save",
]
