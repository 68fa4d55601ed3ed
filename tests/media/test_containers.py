"""Containers as they come from the field: odd tracks, no timestamps, tails, pipes, and pixels that are not square."""

from __future__ import annotations

import io
import os
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_files import frame_number, grey_frames, tone, write_media
from PIL import Image

from soundclip_hf.media import MediaError, limits, load_picture, load_sound, read_clip

RATE = 48000


def two_tracks(path: Path, second: str = "aac") -> Path:
    """A film with two tracks of sound: 440 Hz, and silence."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sounds = [container.add_stream(codec, rate=RATE, layout="mono") for codec in ("aac", second)]
        for pixels in grey_frames(25):
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(video.encode())
        for stream, samples in zip(sounds, (tone(1, RATE), np.zeros((1, RATE), np.float32)), strict=True):
            block = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            block.sample_rate = RATE
            container.mux([*stream.encode(block), *stream.encode()])
    return path


def without_decoder(path: Path, codec: bytes, number: int) -> Path:
    """The file with another name for the codec of one of its tracks, one that no decoder has."""
    data, at = bytearray(path.read_bytes()), -1
    for _ in range(number + 1):
        at = data.index(codec, at + 1)
    data[at : at + 4] = b"zzzz"
    end = data.index(b"esds", at)  # it also says what the codec is
    data[end : end + 4] = b"zzzz"
    made = path.with_name(f"{codec.decode()}{number}.mov")
    made.write_bytes(data)
    return made


def test_a_track_without_decoder_gives_way_to_one_that_has_one(tmp_path: Path) -> None:
    """Kind: tracks without a decoder, whichever comes first."""
    path = two_tracks(tmp_path / "a.mov")
    loud = read_clip(without_decoder(path, b"mp4a", 1))
    silent = read_clip(without_decoder(path, b"mp4a", 0))
    assert frame_number(loud.frame) == frame_number(silent.frame) == 12
    assert np.abs(loud.waveform).max() > 0.4
    assert not silent.waveform.any()


def test_a_stream_that_nothing_can_decode_is_named(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.mov", video="mpeg4", audio="aac")
    with pytest.raises(MediaError, match=r"mp4v0.mov: its picture \(stream 0\) cannot be decoded"):
        read_clip(without_decoder(path, b"mp4v", 0))
    assert len(load_sound(without_decoder(path, b"mp4v", 0), sampling_rate=RATE)) == 3 * RATE
    for read in (read_clip, lambda source: load_sound(source, sampling_rate=RATE)):
        with pytest.raises(MediaError, match=r"mp4a0.mov: its sound \(stream 1\) cannot be decoded"):
            read(without_decoder(path, b"mp4a", 0))


@pytest.mark.parametrize(("codec", "ending"), [("libx264", "h264"), ("libx265", "hevc"), ("mpeg4", "m4v")])
def test_streams_without_timestamps_have_the_right_picture(tmp_path: Path, codec: str, ending: str) -> None:
    """Kind: packets without times. B-frames are stored in another order than they are shown in."""
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {"bf": "2"}
    path = write_media(tmp_path / f"a.{ending}", video=codec, video_options=options)
    for source in (path, path.read_bytes()):
        clip = read_clip(source, frames=3)
        assert frame_number(clip.frame) == pytest.approx(37, abs=1)
        assert [frame_number(frame) for frame in clip.frames] == pytest.approx([12, 37, 62], abs=1)
        assert clip.duration == pytest.approx(3, abs=0.2)


def test_a_file_without_content_is_an_error(tmp_path: Path) -> None:
    """Kind: an empty clip, told as a success."""
    path = tmp_path / "a.nut"
    with av.open(str(path), "w") as container:
        container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        container.start_encoding()
    with pytest.raises(MediaError, match=r"a.nut: (holds no sound and no picture|cannot be read)"):
        read_clip(path)


@pytest.mark.parametrize("late", ["sound", "picture"])
def test_a_lead_of_hours_is_refused(tmp_path: Path, late: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kind: memory by timestamps. A late sound is led by silence; a late picture takes no memory."""
    monkeypatch.setattr(limits, "MAX_GAP_SECONDS", 100)
    stamps = [200_000 + 40 * number for number in range(75)] if late == "picture" else None
    path = write_media(
        tmp_path / "a.mkv",
        video="libx264",
        audio="pcm_s16le",
        samples=(tone(3, RATE) * 2**15).astype(np.int16),
        stamps=stamps,
        audio_start=0.0 if late == "picture" else 200.0,
    )
    if late == "picture":
        assert read_clip(path).frame_time == pytest.approx(201.48, abs=0.05)
        return
    with pytest.raises(MediaError, match=r"starts later than its picture, by 200 s .*SOUNDCLIP_MAX_GAP_SECONDS"):
        read_clip(path)


def test_gaps_are_bounded_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_GAP_SECONDS", 25)
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        for second in (0, 11, 22, 33):
            block = av.AudioFrame.from_ndarray(np.ones((1, 8000), np.int16), format="s16", layout="mono")
            block.sample_rate, block.time_base, block.pts = 8000, Fraction(1, 8000), 8000 * second
            container.mux(stream.encode(block))
    with pytest.raises(MediaError, match=r"jump by 10 s \(more than 25 s of silence in all\)"):
        load_sound(path, sampling_rate=8000)
    monkeypatch.setattr(limits, "MAX_GAP_SECONDS", 31)
    assert len(load_sound(path, sampling_rate=8000)) == 34 * 8000
    monkeypatch.setattr(limits, "MAX_SOUND_SAMPLES", 33 * 8000)
    with pytest.raises(
        MediaError, match=r"longer than 264000 samples \(33 s at 8000 Hz\).*SOUNDCLIP_MAX_SOUND_SAMPLES"
    ):
        load_sound(path, sampling_rate=8000)


@pytest.fixture(scope="module")
def mp3(folder: Path) -> bytes:
    return write_media(folder / "tail.mp3", audio="libmp3lame", rate=44100, samples=tone(3, 44100)).read_bytes()


@pytest.mark.parametrize("tail", [bytes(4096), b"LYRICSBEGIN" + b"x" * 300 + b"000311LYRICS200", b"\x01\x02\x03" * 700])
def test_what_follows_the_last_frame_is_left_out(mp3: bytes, tail: bytes) -> None:
    """Kind: junk after the end, which every player passes over."""
    whole = load_sound(mp3, sampling_rate=44100)
    heard = load_sound(mp3 + tail, sampling_rate=44100) if tail[:1] == b"L" else None
    if heard is None:
        with pytest.warns(UserWarning, match="after its end, at 3.* s, cannot be decoded and are left out"):
            heard = load_sound(mp3 + tail, sampling_rate=44100)
    assert abs(len(heard) - len(whole)) < 2000
    np.testing.assert_array_equal(heard[:130_000], whole[:130_000])


def test_joined_files_are_heard_in_full(mp3: bytes) -> None:
    length = len(load_sound(mp3, sampling_rate=44100))
    for between in (b"", b"TAG" + bytes(125)):
        heard = load_sound(mp3 + between + mp3, sampling_rate=44100)
        assert len(heard) == pytest.approx(2 * length, abs=4000)
        assert np.abs(heard[length + 10_000 :]).max() == pytest.approx(0.5, abs=0.05)


def test_damage_in_the_middle_stays_an_error(mp3: bytes) -> None:
    middle = len(mp3) // 2
    with pytest.raises(MediaError, match="decoding fails at 1"):
        load_sound(mp3[:middle] + bytes(6000) + mp3[middle + 6000 :], sampling_rate=44100)


@pytest.mark.parametrize("ending", ["ts", "ac3", "mp2"])
def test_zeros_after_other_streams(tmp_path: Path, ending: str) -> None:
    codec = {"ts": "aac", "ac3": "ac3", "mp2": "mp2"}[ending]
    content = write_media(tmp_path / f"a.{ending}", audio=codec).read_bytes()
    length = len(load_sound(content, sampling_rate=RATE))
    with pytest.warns(UserWarning, match="left out"):
        assert len(load_sound(content + bytes(4096), sampling_rate=RATE)) == pytest.approx(length, abs=1600)


def test_pipes_are_read(tmp_path: Path, mp4: Path) -> None:
    """Kind: what has no size is not empty."""
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)
    picture = io.BytesIO()
    read_clip(mp4).frame.save(picture, "PNG")
    for content, read in (
        (mp4.read_bytes(), lambda: frame_number(read_clip(pipe).frame)),
        (picture.getvalue(), lambda: frame_number(load_picture(pipe))),
    ):
        writer = threading.Thread(target=pipe.write_bytes, args=(content,))
        writer.start()
        assert read() == 37
        writer.join()
    with pytest.raises(MediaError, match="/dev/null: is a device"):
        read_clip("/dev/null")


@pytest.mark.parametrize(("ratio", "size"), [("2/1", (128, 48)), ("1/2", (64, 96)), ("1/1", (64, 48))])
def test_pixels_that_are_not_square(tmp_path: Path, ratio: str, size: tuple[int, int]) -> None:
    """Kind: the shape of pixels is lost."""
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.sample_aspect_ratio = Fraction(ratio)
        for pixels in grey_frames(25):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    assert read_clip(path).frame.size == size


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "ICO"])
def test_pictures_are_read_as_pictures(tmp_path: Path, kind: str) -> None:
    """Kind: metadata that PyAV refuses (EXIF), and names that FFmpeg takes for those of a series."""
    exif = Image.Exif()
    exif[0x112] = 6
    picture = Image.new("RGB", (32, 32) if kind == "ICO" else (32, 24), (200, 30, 30))
    path = tmp_path / f"a%03d.{kind.lower()}"
    picture.save(path, kind, **({} if kind in ("BMP", "ICO") else {"exif": exif}))
    for source in (path, path.read_bytes()):
        clip = read_clip(source)
        assert clip.frame.size == load_picture(source).size
        assert np.array_equal(np.asarray(clip.frame), np.asarray(load_picture(source)))
        assert clip.waveform is None
        with pytest.raises(MediaError, match="has no audio stream"):
            load_sound(source, sampling_rate=RATE)


def test_names_of_any_bytes(tmp_path: Path, mp4: Path) -> None:
    """Kind: file names that cannot be printed as they are."""
    for name in (b"new\nline.mp4", b"\xff\xfe.mp4", b"a" * 230 + b".mp4", b"concat:a|b.mp4", b"frame%03d.mp4"):
        path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
        path.write_bytes(mp4.read_bytes())
        assert frame_number(read_clip(path).frame) == 37
        path.write_bytes(b"no media")
        with pytest.raises(MediaError) as caught:
            read_clip(path)
        assert str(caught.value).encode().decode().isprintable()
