"""The frame that is on screen at a time, upright."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from media_files import QUADRANTS, frame_number, grey_frames, rotate_mp4, write_media

from soundclip_hf.media import frames, read_clip


@pytest.mark.parametrize(
    ("asked", "number"),
    [
        ("first", 0),
        ("middle", 37),
        (0, 0),
        (0.039, 0),
        (0.04, 1),
        (1.25, 31),
        (1.6, 40),
        (np.float32(1.5), 37),
        (2.999, 74),
        (3.0, 74),
    ],
)
def test_frame_on_screen(mp4: Path, asked: str | float, number: int) -> None:
    clip = read_clip(mp4, frame=asked)
    assert frame_number(clip.frame) == number
    assert clip.frame_time == pytest.approx(number / 25)
    assert clip.frames == (clip.frame,)


def test_every_frame_can_be_named(mp4: Path) -> None:
    clip = read_clip(mp4, frames=75, frame=0.5)
    assert [frame_number(image) for image in clip.frames] == list(range(75))
    np.testing.assert_allclose(clip.frame_times, np.arange(75) / 25)
    assert frame_number(clip.frame) == 12
    matroska = write_media(mp4.with_name("thirty.mkv"), video="libx264", fps=30, frames=grey_frames(60))
    numbers = [frame_number(read_clip(matroska, frame=number / 30).frame) for number in range(0, 60, 7)]
    assert numbers == list(range(0, 60, 7))


def test_several_frames_are_centres_of_equal_parts(mp4: Path) -> None:
    clip = read_clip(mp4, frames=3)
    assert [frame_number(image) for image in clip.frames] == [12, 37, 62]  # at 0.5, 1.5 and 2.5 s
    assert frame_number(clip.frame) == 37
    assert len(read_clip(mp4, frames=1).frames) == 1


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm"])
def test_variable_frame_rate(tmp_path: Path, name: str) -> None:
    codec = "libvpx" if name.endswith("webm") else "libx264"
    stamps = [0, 100, 1100, 1200, 4000]
    path = write_media(tmp_path / name, video=codec, frames=grey_frames(5), stamps=stamps)
    assert frame_number(read_clip(path).frame) == 3  # half of at least 4.04 s
    assert [frame_number(read_clip(path, frame=t).frame) for t in (0.05, 0.1, 1.09, 1.15, 3.9)] == [0, 1, 1, 2, 3]


def test_only_what_is_needed_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_media(tmp_path / "long.mp4", video="libx264", frames=grey_frames(80) * 5, video_options={"g": "20"})
    decoded = []
    stamp = frames.stamp_of
    monkeypatch.setattr(frames, "stamp_of", lambda frame: decoded.append(frame.pts) or stamp(frame))
    assert frame_number(read_clip(path).frame) == 200 % 80
    assert len(set(decoded)) <= 21


def test_damaged_index_falls_back_to_decoding_from_the_start(mp4: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = frames.open_decoder

    def misleading(source):
        container = original(source)

        class Misled:
            def __enter__(self):
                return self

            def __exit__(self, *error):
                container.close()

            def __getattr__(self, name):
                return getattr(container, name)

            def seek(self, offset, stream):
                container.seek(stream.duration, stream=stream)

        return Misled()

    monkeypatch.setattr(frames, "open_decoder", misleading)
    assert frame_number(read_clip(mp4, frame=0.4).frame) == 10


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotation_is_applied(tmp_path: Path, degrees: int) -> None:
    pixels = QUADRANTS.repeat(24, 0).repeat(32, 1)
    path = write_media(tmp_path / "a.mp4", video="libx264", frames=[pixels] * 5)
    frame = read_clip(rotate_mp4(path, degrees)).frame
    expected = np.rot90(QUADRANTS, -degrees // 90)  # counted counter-clockwise
    assert frame.size == ((64, 48) if degrees % 180 == 0 else (48, 64))
    width, height = frame.size
    corners = np.array([[frame.getpixel((x, y)) for x in (4, width - 5)] for y in (4, height - 5)])
    assert np.abs(corners - expected.astype(int)).max() < 40
