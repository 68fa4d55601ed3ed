"""A picture of any kind: upright, 8 bits for each channel, on white, or one clear error."""

from __future__ import annotations

import base64
import io
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from media_files import QUADRANTS
from PIL import Image

from soundclip_hf.media import MediaError, limits, load_picture, load_pictures
from soundclip_hf.media.pictures import ORIENTATIONS

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)
GREYS = np.arange(256, dtype=np.uint8).reshape(16, 16)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pixels_of(source: object) -> np.ndarray:
    picture = load_picture(source)
    assert picture.mode == "RGB"
    return np.asarray(picture)


def greys_of(source: object) -> np.ndarray:
    pixels = pixels_of(source)
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0]


def test_every_source_gives_the_same_picture(folder: Path, site: str) -> None:
    path = folder / "a picture.png"
    content = encoded(Image.fromarray(PIXELS))
    path.write_bytes(content)
    text = base64.b64encode(content).decode()
    sources = {
        "str": str(path),
        "path": path,
        "url": f"{site}/a%20picture.png",
        "file url": path.as_uri(),
        "bytes": content,
        "bytearray": bytearray(content),
        "data uri": f"data:image/png;base64,{text}",
        "base64": text,
        "base64 in lines": base64.encodebytes(content).decode(),
        "open image": Image.open(path),
        "image": Image.fromarray(PIXELS),
        "array": PIXELS,
        "tensor": torch.from_numpy(PIXELS),
    }
    for name, source in sources.items():
        np.testing.assert_array_equal(pixels_of(source), PIXELS, err_msg=name)


def test_lists_keep_their_shape_and_arrays_their_values() -> None:
    opened = load_pictures([[encoded(Image.fromarray(PIXELS))], [None, PIXELS], ()])
    np.testing.assert_array_equal(np.asarray(opened[0][0]), PIXELS)
    assert opened[1][0] is None
    assert opened[1][1] is PIXELS
    assert opened[2] == []


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    upright = QUADRANTS.repeat(16, 0).repeat(24, 1)
    # What the tag asks for undoes itself, but for the two quarter turns, which undo each other.
    undo = {**ORIENTATIONS, 6: ORIENTATIONS[8], 8: ORIENTATIONS[6]}
    stored = Image.fromarray(upright)
    if orientation > 1:
        stored = stored.transpose(undo[orientation])
    assert stored.size == ((48, 32) if orientation < 5 else (32, 48))
    exif = Image.Exif()
    exif[0x112] = orientation
    np.testing.assert_array_equal(pixels_of(encoded(stored, exif=exif)), upright)
    np.testing.assert_array_equal(pixels_of(load_picture(encoded(stored, exif=exif))), upright)  # not turned twice
    seen = pixels_of(encoded(stored, "JPEG", exif=exif, quality=95, subsampling=0))
    assert np.abs(seen.astype(int) - upright)[::8, ::8].max() < 40


def test_tags_of_the_exif_standard() -> None:
    """Orientation 6: row 0 of the file is the right side of what is seen; 8: the left side."""
    row = np.zeros((2, 4, 3), np.uint8)
    row[0] = 255
    for orientation, column in ((6, 1), (8, 0)):
        exif = Image.Exif()
        exif[0x112] = orientation
        seen = pixels_of(encoded(Image.fromarray(row), exif=exif))
        assert seen.shape == (4, 2, 3)
        assert (seen[:, column] == 255).all()
        assert not seen[:, 1 - column].any()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_greys_are_scaled(kind: str) -> None:
    values = GREYS.astype(np.uint16) * 257
    np.testing.assert_array_equal(greys_of(encoded(Image.fromarray(values), kind)), GREYS)
    np.testing.assert_array_equal(greys_of(values), GREYS)
    between = np.array([[128, 129, 385, 65406, 65407]], np.uint16)  # 257 for each step, rounded
    np.testing.assert_array_equal(greys_of(encoded(Image.fromarray(between), kind)), [[0, 1, 1, 254, 255]])


def test_sixteen_bit_greys_in_other_modes() -> None:
    """PGM with more than 8 bits and, before Pillow 11, PNG open as mode I; TIFF can have the other order of bytes."""
    values = GREYS.astype(np.uint16) * 257
    pgm = b"P5 16 16 65535\n" + values.astype(">u2").tobytes()
    np.testing.assert_array_equal(greys_of(pgm), GREYS)
    np.testing.assert_array_equal(greys_of(values.astype(np.int32)), GREYS)
    big = Image.frombytes("I;16B", (16, 16), values.astype(">u2").tobytes())
    np.testing.assert_array_equal(greys_of(big), GREYS)
    assert not greys_of(np.zeros((2, 2), np.int32)).any()


def test_float_greys_are_scaled() -> None:
    unit = (GREYS / 255).astype(np.float32)
    np.testing.assert_array_equal(greys_of(encoded(Image.fromarray(unit), "TIFF")), GREYS)
    np.testing.assert_array_equal(greys_of(unit), GREYS)
    np.testing.assert_array_equal(greys_of(GREYS.astype(np.float32)), GREYS)
    np.testing.assert_array_equal(greys_of(np.float32([[0, 63.6, 64]])), [[0, 64, 64]])
    assert not greys_of(np.zeros((2, 2), np.float32)).any()


@pytest.mark.parametrize(
    "values",
    [
        np.float32([[0, 1.5]]),
        np.float32([[0, 63]]),
        np.float32([[0, 256]]),
        np.float32([[-0.5, 0.5]]),
        np.int32([[0, 255]]),
        np.int32([[-1, 65535]]),
        np.int32([[0, 65536]]),
    ],
)
def test_greys_of_unclear_scale_are_refused(values: np.ndarray) -> None:
    message = (
        rf"a.tif: has 32-bit grey values from {values.min():g} to {values.max():g}, whose scale is unclear.*8 bits"
    )
    with pytest.raises(MediaError, match=message):
        load_picture(values, name="a.tif")


def test_greys_that_are_no_numbers_are_refused() -> None:
    for bad in (np.nan, np.inf):
        with pytest.raises(MediaError, match="NaN or Inf"):
            load_picture(np.float32([[0, bad]]))


def test_transparency_is_on_white() -> None:
    colours = np.uint8([[[200, 0, 0, 255], [200, 0, 0, 0], [200, 0, 0, 51]]])
    expected = [[200, 0, 0], [255, 255, 255], [244, 204, 204]]  # a fifth of the colour, four fifths of white
    for source in (encoded(Image.fromarray(colours)), encoded(Image.fromarray(colours), "WEBP", lossless=True)):
        seen = pixels_of(source)[0].astype(int)
        np.testing.assert_allclose(seen[[0, 2]], [expected[0], expected[2]], atol=1)
        assert seen[1].tolist() == [255, 255, 255]
    greys = Image.frombytes("LA", (3, 1), bytes([100, 255, 100, 0, 100, 51]))
    np.testing.assert_allclose(greys_of(encoded(greys)), [[100, 255, 224]], atol=1)
    np.testing.assert_allclose(greys_of(greys.convert("La")), [[100, 255, 224]], atol=3)
    opaque = np.dstack([PIXELS, np.full(PIXELS.shape[:2], 255, np.uint8)])
    np.testing.assert_array_equal(pixels_of(encoded(Image.fromarray(opaque))), PIXELS)


def test_palettes() -> None:
    image = Image.frombytes("P", (3, 1), bytes([0, 1, 2]))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    assert pixels_of(encoded(image)).tolist() == [[[10, 20, 30], [40, 50, 60], [70, 80, 90]]]
    for kind in ("PNG", "GIF"):
        content = encoded(image, kind, transparency=1)
        assert pixels_of(content).tolist() == [[[10, 20, 30], [255, 255, 255], [70, 80, 90]]]
    key = encoded(Image.fromarray(np.uint8([[[1, 2, 3], [4, 5, 6]]])), transparency=(4, 5, 6))
    assert pixels_of(key).tolist() == [[[1, 2, 3], [255, 255, 255]]]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_frame_of_an_animation(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "lime", "blue")]
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    with Image.open(io.BytesIO(content)) as image:
        assert image.n_frames == 3
    seen = pixels_of(content).astype(int)
    assert np.abs(seen - [255, 0, 0]).max() < 8


def test_other_colour_spaces() -> None:
    cmyk = Image.frombytes("CMYK", (2, 1), bytes([0, 0, 0, 0, 0, 255, 255, 0]))
    assert pixels_of(encoded(cmyk, "TIFF")).tolist() == [[[255, 255, 255], [255, 0, 0]]]
    bits = Image.frombytes("1", (8, 1), b"\x0f")
    assert greys_of(encoded(bits)).tolist() == [[0] * 4 + [255] * 4]
    np.testing.assert_array_equal(greys_of(encoded(Image.fromarray(GREYS))), GREYS)
    np.testing.assert_array_equal(greys_of(encoded(Image.fromarray(GREYS), "BMP")), GREYS)


def test_what_is_returned_outlives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(Image.fromarray(PIXELS)))
    picture = load_picture(path)
    path.unlink()
    np.testing.assert_array_equal(np.asarray(picture), PIXELS)


def test_cap_on_pixels_holds_before_they_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file says 8 x 6 pixels and has none: decoding it would fail in another way."""
    content = encoded(Image.fromarray(PIXELS))
    path = tmp_path / "a.png"
    path.write_bytes(content[: content.index(b"IDAT") + 4])
    with pytest.raises(MediaError, match="cannot be read as a picture"):
        load_picture(path)
    monkeypatch.setattr(limits, "MAX_PICTURE_PIXELS", 47)
    with pytest.raises(MediaError, match=r"a.png: has 8 x 6 pixels, more than 47; .*SOUNDCLIP_MAX_PICTURE_PIXELS"):
        load_picture(path)
    with pytest.raises(MediaError, match="MAX_PICTURE_PIXELS"):
        load_picture(Image.fromarray(PIXELS))
    monkeypatch.setattr(limits, "MAX_PICTURE_PIXELS", 48)
    np.testing.assert_array_equal(pixels_of(content), PIXELS)


def test_what_pil_itself_takes_for_a_bomb(tmp_path: Path) -> None:
    header = b"IHDR" + (20_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    path = tmp_path / "bomb.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n\0\0\0\x0d" + header + zlib.crc32(header).to_bytes(4, "big") + b"\0\0\0\x0aIDAT"
    )
    with pytest.raises(MediaError, match=r"bomb.png: .*400000000 pixels.*MAX_PICTURE_PIXELS"):
        load_picture(path)


def test_pictures_without_pixels_are_refused() -> None:
    for size in ((0, 0), (0, 5), (5, 0)):
        with pytest.raises(MediaError, match=rf"has no pixels \({size[0]} x {size[1]}\)"):
            load_picture(Image.new("RGB", size))
    with pytest.raises(MediaError):
        load_picture(np.zeros((0, 0, 3), np.uint8))


def test_bad_pictures(tmp_path: Path, site: str) -> None:
    content = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)))
    files = {
        "empty.png": (b"", "is empty"),
        "text.png": (b"this is no picture\n" * 10, "cannot be read as a picture"),
        "cut.png": (content[: len(content) // 2], "cannot be read as a picture"),
    }
    for name, (data, message) in files.items():
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(MediaError, match=f"{name}: {message}"):
            load_picture(path)
        with pytest.raises(MediaError, match=f"^row 3: {message}"):
            load_picture(path, name="row 3")
        with pytest.raises(MediaError, match=rf"^<{len(data)} bytes>: {message}"):
            load_picture(data)
        with pytest.raises(MediaError, match=f"^row 3: {message}"):
            load_picture(data, name="row 3")
    for source, message in (
        (tmp_path / "gone.png", "gone.png: no such file; pass a picture"),
        (str(tmp_path / "gone.png"), "gone.png: no such file; pass a picture"),
        ("A" * 4000, "A: no such file|cannot be read as a picture"),
        (tmp_path, "is a folder; pass a picture"),
        (f"{site}/gone.png", "gone.png: the server answered 404"),
        ("ftp://127.0.0.1/a.png", "ftp:// is not supported"),
        ("data:image/png;base64,no!", "is not base64"),
        (5, "type int"),
        (None, "type NoneType"),
        (np.zeros((2, 2, 5), np.uint8), r"uint8 array of shape \(2, 2, 5\): is not a picture"),
    ):
        with pytest.raises(MediaError, match=message):
            load_picture(source)


def test_a_file_goes_before_base64_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJ"
    assert base64.b64decode(name)
    (tmp_path / name).write_bytes(encoded(Image.fromarray(PIXELS)))
    np.testing.assert_array_equal(pixels_of(name), PIXELS)
    os.remove(name)
    with pytest.raises(MediaError, match="cannot be read as a picture"):
        load_picture(name)


@pytest.mark.parametrize("content", [b"hello world", bytes(1000)])
def test_a_message_about_bytes_names_no_object(content: bytes) -> None:
    with pytest.raises(MediaError, match=rf"^<{len(content)} bytes>: cannot be read as a picture") as raised:
        load_picture(content)
    assert " object at 0x" not in str(raised.value)
