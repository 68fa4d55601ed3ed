"""Checks the settings of an image processor that say how large the pictures become."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

_LARGEST = 2**14
_FILTERS = 5


def check_picture_settings(image_processor: Any) -> None:
    """
    Check sizes and normalisation of an image processor: pictures of another size than any model takes would need all
    memory that there is.

    Raises:
        ValueError: If a side of a picture is no int in 1..16384, or a number of the normalisation is not finite.
    """
    name = type(image_processor).__name__
    for field in ("size", "crop_size"):
        sides = getattr(image_processor, field, None)
        for key, value in dict(sides).items() if isinstance(sides, (Mapping, Iterable)) else ():
            if value is not None and not _is_side(value):
                raise ValueError(f"{name}: {field}[{key!r}]={value!r}: must be an int in 1..{_LARGEST}, in pixels.")
    for pair in getattr(image_processor, "image_grid_pinpoints", None) or ():
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not all(map(_is_side, pair)):
            raise ValueError(
                f"{name}: image_grid_pinpoints holds {pair!r}: must be (height, width) of ints in 1..{_LARGEST}."
            )
    resample = getattr(image_processor, "resample", None)
    if isinstance(resample, (bool, float)) or (isinstance(resample, int) and not 0 <= resample <= _FILTERS):
        raise ValueError(f"{name}: resample={resample!r}: must be the number of a filter of Pillow, 0..{_FILTERS}.")
    for field in ("rescale_factor", "image_mean", "image_std"):
        values = getattr(image_processor, field, None)
        for value in values if isinstance(values, (list, tuple)) else (values,):
            if value is not None and not (
                isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
            ):
                raise ValueError(f"{name}: {field}={values!r}: must be finite numbers.")
            if value == 0 and field == "image_std":
                raise ValueError(f"{name}: {field}={values!r}: must not be 0, by which pictures would be divided.")


def _is_side(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _LARGEST


__all__ = ["check_picture_settings"]
