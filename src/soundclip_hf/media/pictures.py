"""Reads any kind of picture (file, URL, bytes, base64 text, array, PIL image) as an upright 8-bit RGB picture."""

from __future__ import annotations

import base64
import binascii
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageFile

from . import limits
from .errors import MediaError, shown
from .sources import resolve
from .urls import without_password

# EXIF orientation -> what makes the picture upright. 1 is upright already.
ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# PIL hands these to programs of the machine (Ghostscript, Windows).
_PROGRAMS = ("EPS", "WMF")
# A float picture of the range 0..255 has a maximum of at least this, unless it is almost black.
_BRIGHT = 64
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]{32,}={0,2}\s*")


def load_picture(source: Any, *, name: str | None = None) -> Image.Image:
    """Open a picture of any accepted kind as upright RGB.

    The EXIF orientation is applied, transparent parts become white, and of an animation the first frame is taken.
    Greys with more than 8 bits are scaled to 8 bits: 16-bit values from 0..65535; floats from 0..1, or, if their
    maximum is between 64 and 255, from 0..255.

    Args:
        source: A file path, an http(s) or file URL, a file's bytes; a `data:` URI or base64 text; a PIL image; a NumPy
            array or CPU tensor `(height, width)` or `(height, width, 3 or 4)` of a dtype that PIL has a mode for.
        name: What messages call the picture; by default, the path or URL, or a description.

    Returns:
        A picture of mode RGB. It can be `source` itself, where that is such an image already.

    Raises:
        MediaError: The file is missing, empty, corrupt or not a picture; it has no pixels, or more than
            `limits.MAX_PICTURE_PIXELS`, which is checked before they are decoded; its grey values are outside these
            ranges, or could be of two of them; the type of `source` is not one of these.
    """
    if isinstance(source, Image.Image):
        return _to_rgb(source, name or f"picture of mode {source.mode} and size {source.size}")
    if hasattr(source, "__array__"):
        source = np.asarray(source)
        name = name or f"{source.dtype} array of shape {source.shape}"
        try:
            image = Image.fromarray(source)
        except (TypeError, ValueError) as error:
            raise MediaError(f"{name}: is not a picture ({error}); pass uint8, (height, width, 3)") from error
        return _to_rgb(image, name)
    if isinstance(source, str) and (content := _embedded(source)) is not None:
        source, name = content, name or f"<base64 text of {len(source)} characters>"
    if not isinstance(source, (str, Path, bytes, bytearray, memoryview)):
        raise MediaError(
            f"{name or 'picture'} of type {type(source).__name__}: pass a path, URL, bytes, a PIL image or an array"
        )
    try:
        media, own_name = resolve(source, "a picture")
    except MediaError as error:
        if name is None:
            raise
        own_name = shown(without_password(str(source))) if isinstance(source, (str, Path)) else f"<{len(source)} bytes>"
        raise MediaError(f"{name}: {str(error).removeprefix(own_name + ': ')}") from error.__cause__
    name = name or own_name
    try:
        image = _opened(io.BytesIO(media) if isinstance(media, bytes) else media)
    except Image.DecompressionBombError as error:
        fix = f"make it smaller, or {limits.raised('MAX_PICTURE_PIXELS')}"
        raise MediaError(f"{name}: {error}; {fix}") from error
    except Exception as error:  # the readers of PIL raise many kinds of errors
        raise _unreadable(name, error) from error
    with image:
        return _to_rgb(image, name)


def _opened(file: Any) -> Image.Image:
    # Whoever raises our limit means PIL's own too, which refuses twice what it says.
    if Image.MAX_IMAGE_PIXELS is not None and limits.MAX_PICTURE_PIXELS > 2 * Image.MAX_IMAGE_PIXELS + 1:
        Image.MAX_IMAGE_PIXELS = limits.MAX_PICTURE_PIXELS
    Image.init()
    return Image.open(file, formats=[kind for kind in Image.ID if kind not in _PROGRAMS])


def load_pictures(source: Any) -> Any:
    """Open the pictures of nested lists: a list for each list, and what `load_picture` returns for the rest.

    Arrays and tensors stay as they are: only an image processor knows the layout and range of their values.
    """
    if isinstance(source, (list, tuple)):
        return [load_pictures(entry) for entry in source]
    return load_picture(source) if isinstance(source, (str, Path, bytes, bytearray, Image.Image)) else source


def _embedded(text: str) -> bytes | None:
    """The content of a `data:` URI, or of base64 text that is not the name of a file; otherwise None."""
    is_uri = text.startswith("data:")
    if not is_uri and (not _BASE64.fullmatch(text) or _is_file(text)):
        return None
    try:
        return base64.b64decode("".join((text.partition(",")[2] if is_uri else text).split()), validate=True)
    except binascii.Error as error:
        if not is_uri:
            return None
        raise MediaError(f"{text[:40]!r}...: is not base64 ({error}); pass data:image/png;base64,...") from error


def _is_file(text: str) -> bool:
    try:
        return Path(text).exists()
    except OSError:  # the text is too long for a name
        return False


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    width, height = image.size
    if not width or not height:
        raise MediaError(f"{name}: has no pixels ({width} x {height}); pass another picture")
    if width * height > limits.MAX_PICTURE_PIXELS:
        raise MediaError(
            f"{name}: has {width} x {height} pixels, more than {limits.MAX_PICTURE_PIXELS}; make it smaller, or "
            f"{limits.raised('MAX_PICTURE_PIXELS')}"
        )
    try:
        turn = ORIENTATIONS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
        rgb = _eight_bit(image)
    except MediaError as error:
        raise MediaError(f"{name}: {error}") from error.__cause__
    except MemoryError:
        raise
    except Exception as error:  # the decoders of PIL raise many kinds of errors
        raise _unreadable(name, error) from error
    if turn is None:
        return rgb
    upright = rgb.transpose(turn)
    upright.info.clear()  # it still says how the file is turned, which would count again for the next reader
    return upright


def _eight_bit(image: Image.Image) -> Image.Image:
    """As RGB, of whatever mode."""
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(_eight_bit_greys(np.asarray(image))).convert("RGB")
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        if image.mode == "La":  # PIL converts premultiplied greys to this mode alone
            image = image.convert("LA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    in_memory = not isinstance(image, ImageFile.ImageFile)  # otherwise a copy: its file may be closed afterwards
    return image if image.mode == "RGB" and in_memory else image.convert("RGB")


def _eight_bit_greys(values: np.ndarray) -> np.ndarray:
    """`(height, width)` of 16-bit or 32-bit integers, or of floats, to uint8."""
    low, high = values.min(), values.max()
    scale = None
    if values.dtype.kind == "f":
        if not (np.isfinite(low) and np.isfinite(high)):
            raise MediaError("has grey values that are NaN or Inf; repair or drop this picture")
        if low >= 0 and high <= 1:
            scale = 255.0
        elif low >= 0 and _BRIGHT <= high <= 255:
            scale = 1.0
        ranges = f"0 to 1 or, with a maximum of at least {_BRIGHT}, 0 to 255"
    else:
        # 32-bit values up to 255 may be those of an 8-bit picture, or of a 16-bit one that is almost black.
        unclear = values.dtype.itemsize > 2 and 0 < high <= 255
        if low >= 0 and high <= 65535 and not unclear:
            scale = 1 / 257
        ranges = "0 to 65535 with a maximum above 255"
    if scale is None:
        raise MediaError(
            f"has {values.dtype.itemsize * 8}-bit grey values from {low:g} to {high:g}, whose scale is unclear (known: "
            f"{ranges}); convert it to 8 bits"
        )
    return np.rint(values.astype(np.float32) * np.float32(scale)).astype(np.uint8)


def _unreadable(name: str, error: Exception) -> MediaError:
    # PIL names what it was given, which is an object where it is not a file.
    said = re.sub(r" <[\w.]+ object at 0x[0-9a-fA-F]+>", "", str(error))
    reason = " ".join(said.split()) or type(error).__name__
    return MediaError(f"{name}: cannot be read as a picture ({reason}); it is corrupt or something else")
