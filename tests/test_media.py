from __future__ import annotations

import gc
import http.server
import os
import signal
import threading
import time
import tracemalloc
import warnings
from dataclasses import FrozenInstanceError
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from media_files import (
    QUADRANTS,
    frame_number,
    grey_frames,
    pcm_wav,
    rotate_mp4,
    tone,
    write_media,
)

from soundclip_hf import media
from soundclip_hf.media import MediaError, load_sound, read_clip, resample, split_windows, to_mono

CLIPS = Path(__file__).parents[2] / "shared" / "clips"
FAST_VP9 = {"deadline": "realtime", "cpu-used": "8"}


def noise(samples: int, channels: int = 1) -> np.ndarray:
    """`(samples, channels)` int16."""
    return np.random.default_rng(0).integers(-(2**15), 2**15, (samples, channels)).astype(np.int16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("media")


@pytest.fixture(scope="module")
def mp4(folder: Path) -> Path:
    """75 numbered frames, two groups of pictures with B-frames, and a 440 Hz tone."""
    options = {"g": "40", "bf": "3"}
    return write_media(folder / "clip.mp4", video="libx264", audio="aac", video_options=options)


@pytest.fixture(scope="module")
def site(folder: Path):
    """Serves `folder`; /slow never answers."""
    release = threading.Event()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, directory=str(folder), **kwargs)

        def do_GET(self):
            if self.path == "/slow":
                release.wait(10)
                return
            super().do_GET()

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    release.set()
    server.shutdown()
    server.server_close()


# Formats


@pytest.mark.parametrize(
    ("name", "video", "audio", "options"),
    [
        ("a.mp4", "libx264", "aac", {}),
        ("b.mp4", "mpeg4", "aac", {}),
        ("c.webm", "libvpx", "libopus", {}),
        ("d.webm", "libvpx-vp9", "libopus", FAST_VP9),
        ("e.webm", "libvpx", "libopus", {"auto-alt-ref": "1", "lag-in-frames": "16"}),
        ("f.mkv", "libx264", "aac", {"x264-params": "open-gop=1:keyint=20"}),
    ],
)
def test_video_formats(tmp_path: Path, name: str, video: str, audio: str, options: dict[str, str]) -> None:
    clip = read_clip(write_media(tmp_path / name, video=video, audio=audio, video_options=options))
    waveform, frame = clip
    assert waveform is clip.waveform
    assert frame is clip.frame
    assert waveform.dtype == np.float32
    assert clip.sampling_rate == 48000
    assert abs(len(waveform) - 3 * 48000) < 1024  # one AAC block
    assert (frame.size, frame.mode) == ((64, 48), "RGB")
    assert frame_number(frame) == 37  # on screen from 1.48 to 1.52 s
    assert clip.frame_time == pytest.approx(1.48)
    assert clip.duration == pytest.approx(3, abs=0.02)
    assert clip.path == str(tmp_path / name)
    # No delay of the encoder is left at the start: the tone is in phase with the one that was written.
    middle = slice(48000, 96000)
    assert np.corrcoef(waveform[middle], tone(3, 48000)[0, middle])[0, 1] > 0.99


@pytest.mark.parametrize(
    ("name", "codec", "rate", "exact"),
    [
        ("a.m4a", "aac", 44100, False),
        ("a.wav", "pcm_s16le", 44100, True),
        ("a.flac", "flac", 44100, True),
        ("a.mp3", "libmp3lame", 44100, False),
        ("a.ogg", "libopus", 48000, False),
    ],
)
def test_audio_formats(tmp_path: Path, name: str, codec: str, rate: int, exact: bool) -> None:
    samples = tone(1, rate)
    clip = read_clip(write_media(tmp_path / name, audio=codec, samples=samples, rate=rate))
    assert (clip.frame, clip.frame_time, clip.frames, clip.sampling_rate) == (None, None, (), rate)
    assert len(clip.waveform) == rate
    assert clip.duration == 1
    # What a lossy encoder leaves of single samples is its own affair: the AAC of FFmpeg 9 is off by up to 0.044.
    error = clip.waveform[2000:-2000] - samples[0, 2000:-2000]
    assert np.abs(error).max() <= (2**-15 if exact else 0.06)
    assert np.sqrt(np.mean(error**2)) <= (2**-15 if exact else 0.02)


@pytest.mark.parametrize(("name", "codec"), [("a.wav", "pcm_s16le"), ("a.aiff", "pcm_s16be"), ("a.au", "pcm_s16be")])
def test_samples_that_look_like_another_container(tmp_path: Path, name: str, codec: str) -> None:
    """Every 188 bytes the first ones of an MPEG-TS packet; FFmpeg 9 then takes a wav for one."""
    packet = bytes([0x47, 0x00, 0x11, 0x10]) + bytes(184)
    samples = np.frombuffer(packet * 100, "<i2" if codec.endswith("le") else ">i2").astype(np.int16)[None]
    path = write_media(tmp_path / name, audio=codec, samples=samples, rate=16000)
    for source in (path, path.read_bytes()):
        np.testing.assert_array_equal(load_sound(source, sampling_rate=16000), samples[0] / np.float32(2**15))


def test_vorbis(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.ogg", audio="vorbis", rate=44100, layout="stereo", samples=tone(1, 44100, 2))
    assert len(load_sound(path, sampling_rate=44100)) == pytest.approx(44100, abs=2048)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (np.array([[0], [128], [255]], np.uint8), [-1, 0, 127 / 128]),
        (np.array([[-(2**15)], [0], [2**14]], np.int16), [-1, 0, 0.5]),
        (np.array([[[0, 0, 0x80]], [[1, 0, 0]], [[0, 0, 0x40]]], np.uint8), [-1, 2**-23, 0.5]),
        (np.array([[-(2**31)], [2**30], [0]], np.int32), [-1, 0.5, 0]),
        (np.array([[-1.25], [0.1], [0.5]], np.float32), [-1.25, np.float32(0.1), 0.5]),
        (np.array([[-1], [0.25], [0.5]], np.float64), [-1, 0.25, 0.5]),
    ],
    ids=["8-bit", "16-bit", "24-bit", "32-bit", "float", "double"],
)
def test_wav_depths_are_exact(stored: np.ndarray, expected: list[float]) -> None:
    np.testing.assert_array_equal(load_sound(pcm_wav(stored, 8000), sampling_rate=8000), np.float32(expected))


def test_eight_channels_are_averaged(tmp_path: Path) -> None:
    samples = noise(1000, 8)
    expected = samples.astype(np.float64).mean(1) / 2**15
    packed = load_sound(pcm_wav(samples, 8000), sampling_rate=8000)
    np.testing.assert_allclose(packed, expected, atol=1e-6)
    # ALAC is lossless and decodes to one plane per channel.
    levels = np.repeat(np.arange(6, dtype=np.float32)[:, None] / 16, 4800, 1)
    planar = write_media(tmp_path / "six.m4a", audio="alac", samples=levels, layout="5.1")
    np.testing.assert_array_equal(load_sound(planar, sampling_rate=48000), np.full(4800, 2.5 / 16, np.float32))

    interleaved = np.tile(np.arange(8, dtype=np.int16) * 2048, 4800)[None]
    surround = write_media(tmp_path / "eight.m4a", audio="aac", samples=interleaved, layout="7.1")
    assert load_sound(surround, sampling_rate=48000)[2000:4000].mean() == pytest.approx(3.5 / 16, abs=0.01)


def test_cover_art_is_not_a_frame(tmp_path: Path) -> None:
    for name, codec in (("a.mp3", "libmp3lame"), ("a.flac", "flac")):
        clip = read_clip(write_media(tmp_path / name, audio=codec, samples=tone(1, 44100), rate=44100, cover=True))
        assert clip.frame is None
        assert len(clip.waveform) == 44100


# Sources


def test_every_source_gives_the_same_sound(folder: Path, site: str) -> None:
    samples = noise(44100, 2)
    path = folder / "noise.wav"
    path.write_bytes(pcm_wav(samples, 44100))
    floats = torch.from_numpy(samples.T.astype(np.float32) / 2**15)
    decoder = SimpleNamespace(get_all_samples=lambda: SimpleNamespace(data=floats, sample_rate=44100))
    expected = load_sound(path, sampling_rate=16000)
    assert (expected.dtype, expected.shape) == (np.float32, (16000,))
    sources = {
        "str": str(path),
        "url": f"{site}/noise.wav",
        "file url": path.as_uri(),
        "bytes": path.read_bytes(),
        "bytearray": bytearray(path.read_bytes()),
        "dict of array": {"array": samples, "sampling_rate": 44100},
        "dict of floats": {"array": floats.numpy(), "sampling_rate": 44100, "path": "gone.wav", "bytes": None},
        "dict of bytes": {"bytes": path.read_bytes(), "path": "gone.wav"},
        "dict of path": {"bytes": None, "path": str(path)},
        "(array, rate)": (samples, 44100),
        "(rate, array)": (44100, samples.T),
        "decoder": decoder,
    }
    for name, source in sources.items():
        np.testing.assert_array_equal(load_sound(source, sampling_rate=16000), expected, err_msg=name)
    for bare in (samples, samples.T, floats, floats.T, floats.double(), floats.tolist(), floats.requires_grad_()):
        np.testing.assert_array_equal(load_sound(bare, sampling_rate=16000, source_rate=44100), expected)
    np.testing.assert_array_equal(read_clip(path, sampling_rate=16000).waveform, expected)
    np.testing.assert_array_equal(read_clip(path.read_bytes(), sampling_rate=16000).waveform, expected)


def test_load_sound_of_a_video_is_its_waveform(mp4: Path) -> None:
    clip = read_clip(mp4, sampling_rate=16000)
    assert clip.sampling_rate == 16000
    assert len(clip.waveform) == 48000
    np.testing.assert_array_equal(load_sound(mp4, sampling_rate=16000), clip.waveform)


def test_integer_and_half_precision_arrays() -> None:
    halves = torch.tensor([0.5, -0.25, 0.125, 0.0], dtype=torch.bfloat16)
    for source in (
        halves,
        halves.half(),
        halves.double(),
        np.array([2**14, -(2**13), 2**12, 0], np.int16),
        np.array([2**30, -(2**29), 2**28, 0], np.int32),
        np.array([192, 96, 144, 128], np.uint8),
    ):
        loaded = load_sound(source, sampling_rate=8000, source_rate=8000)
        np.testing.assert_array_equal(loaded, np.float32([0.5, -0.25, 0.125, 0]))


def test_short_axis_is_the_channels() -> None:
    stereo = np.array([[0.5, 0.25, 0], [-0.5, 0.25, 1]], np.float32)
    np.testing.assert_array_equal(to_mono(stereo), np.float32([0, 0.25, 0.5]))
    np.testing.assert_array_equal(to_mono(stereo.T), np.float32([0, 0.25, 0.5]))
    np.testing.assert_array_equal(to_mono(np.ones((1, 1), np.float32)), np.ones(1, np.float32))
    for shape in ((2, 2), (100, 200), (2, 3, 4), ()):
        with pytest.raises(MediaError, match="pass"):
            to_mono(np.zeros(shape, np.float32))


def test_overshoot_is_kept() -> None:
    loud = np.array([1.5, -1.25, 0], np.float32)
    np.testing.assert_array_equal(load_sound(loud, sampling_rate=8000, source_rate=8000), loud)


# Resampling and windows


def test_equal_rates_are_untouched() -> None:
    wave = tone(1, 16000)[0]
    assert resample(wave, 16000, 16000) is wave
    np.testing.assert_array_equal(load_sound(wave, sampling_rate=16000, source_rate=16000), wave)


@pytest.mark.parametrize(("rate", "samples"), [(44100, 132301), (48000, 7), (8000, 3), (11025, 1000), (22050, 12345)])
def test_length_after_resampling(rate: int, samples: int) -> None:
    assert len(resample(np.ones(samples, np.float32), rate, 16000)) == round(samples * 16000 / rate)


def test_resampling_keeps_what_fits_and_removes_what_does_not() -> None:
    seconds = np.arange(48000) / 48000
    low, high = np.sin(2 * np.pi * 1000 * seconds), np.sin(2 * np.pi * 15000 * seconds)
    heard = resample((low + high).astype(np.float32), 48000, 16000)
    np.testing.assert_allclose(
        heard[500:-500], np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)[500:-500], atol=1e-3
    )


def test_windows_cover_everything_at_full_length() -> None:
    wave = np.arange(10, dtype=np.float32)
    assert [list(window) for window in split_windows(wave, 1, 4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [6, 7, 8, 9]]
    assert [list(window) for window in split_windows(wave, 1, 5)] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    assert [list(window) for window in split_windows(wave[:2], 1)] == [[0, 1]]
    assert len(split_windows(np.zeros(132300, np.float32), 44100)) == 1
    assert all(np.shares_memory(window, wave) for window in split_windows(wave, 1))
    for arguments in ((wave[:0], 1), (wave[None], 1), (wave, 0), (wave, 1, 0), (wave, 1, float("nan"))):
        with pytest.raises(MediaError, match="pass"):
            split_windows(*arguments)


# Frames


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


def test_file_without_duration(tmp_path: Path) -> None:
    path = write_media(tmp_path / "live.webm", video="libvpx", audio="libopus", options={"live": "1"})
    clip = read_clip(path)
    assert clip.duration == pytest.approx(3, abs=0.01)
    assert frame_number(clip.frame) == 37
    fragmented = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    path = write_media(tmp_path / "live.mp4", video="libx264", video_options={"bf": "0"}, options=fragmented)
    assert frame_number(read_clip(path).frame) == 37


def test_file_that_does_not_start_at_zero(tmp_path: Path) -> None:
    stamps = [5000 + 40 * number for number in range(75)]
    path = write_media(tmp_path / "late.mkv", video="libx264", frames=grey_frames(75), stamps=stamps)
    clip = read_clip(path)
    assert (frame_number(clip.frame), clip.frame_time) == (37, pytest.approx(1.48))
    assert clip.duration == pytest.approx(3)
    assert frame_number(read_clip(path, frame=0.4).frame) == 10
    stream = write_media(tmp_path / "a.ts", video="libx264", audio="aac")
    assert frame_number(read_clip(stream).frame) == 37


def test_only_what_is_needed_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_media(tmp_path / "long.mp4", video="libx264", frames=grey_frames(80) * 5, video_options={"g": "20"})
    decoded = []
    stamp = media._stamp
    monkeypatch.setattr(media, "_stamp", lambda frame: decoded.append(frame.pts) or stamp(frame))
    assert frame_number(read_clip(path).frame) == 200 % 80
    assert len(set(decoded)) <= 21


def test_damaged_index_falls_back_to_decoding_from_the_start(mp4: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = media._open

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

    monkeypatch.setattr(media, "_open", misleading)
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


# Sound and picture on one clock


@pytest.mark.parametrize(("name", "video", "audio"), [("a.mp4", "libx264", "aac"), ("a.webm", "libvpx", "libopus")])
def test_late_sound_is_led_by_silence(tmp_path: Path, name: str, video: str, audio: str) -> None:
    path = write_media(tmp_path / name, video=video, audio=audio, audio_start=1.5, samples=tone(1, 48000))
    clip = read_clip(path)
    onset = int(np.flatnonzero(np.abs(clip.waveform) > 0.1)[0])
    assert onset / 48000 == pytest.approx(1.5, abs=0.005)
    assert not clip.waveform[: onset - 2000].any()
    np.testing.assert_array_equal(load_sound(path, sampling_rate=48000), clip.waveform)


def test_late_picture_keeps_its_time(tmp_path: Path) -> None:
    stamps = [1000 + 40 * number for number in range(25)]
    path = write_media(tmp_path / "a.mkv", video="libx264", audio="aac", frames=grey_frames(25), stamps=stamps)
    assert read_clip(path, frame="first").frame_time == pytest.approx(1)
    assert frame_number(read_clip(path, frame=1.4).frame) == 10
    assert frame_number(read_clip(path, frame=0.5).frame) == 0


def test_clock_is_that_of_the_file_where_packets_are_missing(tmp_path: Path) -> None:
    whole, holed = write_media(tmp_path / "a.mkv", audio="libopus"), tmp_path / "b.mkv"
    with av.open(str(whole)) as source, av.open(str(holed), "w") as target:
        stream = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.dts is not None and not 1000 <= packet.pts < 2000:
                packet.stream = stream
                target.mux(packet)
    waveform = load_sound(holed, sampling_rate=48000)
    assert len(waveform) == pytest.approx(3 * 48000, abs=480)
    assert not waveform[52000:90000].any()
    assert np.abs(waveform[97000:140000]).max() == pytest.approx(0.5, abs=0.05)


# Bad input


def test_bad_files(tmp_path: Path, mp4: Path) -> None:
    data, flac = mp4.read_bytes(), write_media(tmp_path / "a.flac", audio="flac").read_bytes()
    fast = write_media(tmp_path / "f.mp4", video="libx264", audio="aac", options={"movflags": "faststart"}).read_bytes()
    mkv = write_media(tmp_path / "a.mkv", video="libx264", audio="aac").read_bytes()
    files = {
        "empty.mp4": (b"", "is empty"),
        "noise.mp4": (np.random.default_rng(0).bytes(5000), "cannot be read"),
        "text.wav": (b"this is no sound\n" * 100, "cannot be read"),
        "no-moov.mp4": (data[: len(data) // 2], "cannot be read"),
        "cut.mp4": (fast[: len(fast) // 2], r"at 1\.\d\d of 3\.00 s.*truncated"),
        "cut.mkv": (mkv[: len(mkv) // 2], r"truncated at 1\.\d\d of 3\.\d\d s"),
        "cut.flac": (flac[: len(flac) // 2], r"at 1\.\d\d of 3\.00 s.*truncated"),
        "header.wav": (pcm_wav(np.zeros((0, 1), np.int16), 8000), "empty"),
        "nan.wav": (pcm_wav(np.float32([[0], [np.nan], [np.inf]]), 8000), r"2 of 3 samples are NaN or Inf.* index 1"),
    }
    for name, (content, message) in files.items():
        path = tmp_path / name
        path.write_bytes(content)
        for read in (lambda source: load_sound(source, sampling_rate=16000), read_clip):
            with pytest.raises(MediaError, match=f"(?s){name}: .*{message}"):
                read(path)
    for path, message in ((tmp_path / "gone.mp4", "no such file"), (tmp_path, "is a folder")):
        with pytest.raises(MediaError, match=f"{path.name}: {message}"):
            read_clip(path)


def test_sound_cut_off_between_packets_is_noticed(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.mp4", audio="aac", options={"movflags": "faststart"})
    half = path.stat().st_size // 2
    for size in range(half, half + 400, 3):  # more than one packet
        with pytest.raises(MediaError, match="truncated"):
            load_sound(path.read_bytes()[:size], sampling_rate=16000)


def test_video_without_sound(tmp_path: Path) -> None:
    path = write_media(tmp_path / "mute.mp4", video="libx264", frames=grey_frames(25))
    clip = read_clip(path, sampling_rate=16000)
    assert (clip.waveform, clip.sampling_rate, clip.duration) == (None, None, 1)
    assert frame_number(clip.frame) == 12
    with pytest.raises(MediaError, match=r"mute.mp4: has no audio stream"):
        load_sound(path, sampling_rate=16000)


def test_bad_sounds() -> None:
    wave = tone(1, 8000)[0]
    broken = wave.copy()
    broken[[7, 9]] = np.nan, np.inf
    cases = [
        (wave, None, "sampling rate is missing"),
        ({"array": wave}, None, "sampling rate is missing"),
        (wave, 0, "sampling rate=0: pass a positive integer"),
        (wave, -8000, "positive integer"),
        (wave, 8000.0, "positive integer"),
        (wave, True, "positive integer"),
        (wave, "8000", "positive integer"),
        (broken, 8000, "2 of 8000 samples are NaN or Inf, the first at index 7"),
        (wave[:0], 8000, "empty"),
        ([], 8000, "empty"),
        (b"", None, "empty"),
        (wave * 32768, 8000, "looks like int16 units"),
        (wave.astype(np.int64), 8000, "dtype int64"),
        (wave.astype(bool), 8000, "dtype bool"),
        (wave.astype(complex), 8000, "dtype complex128"),
        (np.array(["a"]), 8000, "dtype"),
        ([[0.0, 1.0], [0.0]], 8000, "not one sound"),
        (np.zeros((3, 4, 5), np.float32), 8000, r"shape \(3, 4, 5\)"),
        (None, 8000, "type NoneType"),
        (5, 8000, "type int"),
        ((wave, wave), 8000, "type tuple"),
        ({"sampling_rate": 8000}, None, r"keys \['sampling_rate'\]"),
        ({"bytes": None, "path": None}, None, "needs array"),
        ("ftp://127.0.0.1/a.wav", None, "ftp:// is not supported"),
        ("concat:a.wav", None, "no such file"),
    ]
    for source, rate, message in cases:
        with pytest.raises(MediaError, match=message):
            load_sound(source, sampling_rate=16000, source_rate=rate)
    for rate in (0, -1, 16000.0, None, True):
        with pytest.raises(MediaError, match="sampling_rate="):
            load_sound(wave, sampling_rate=rate, source_rate=8000)
    with pytest.raises(MediaError, match="1 samples at 48000 Hz are none at 8000 Hz"):
        load_sound(wave[1:2], sampling_rate=8000, source_rate=48000)


def test_decoder_that_fails() -> None:
    def fail():
        raise RuntimeError("no such codec")

    with pytest.raises(MediaError, match="sound decoder SimpleNamespace: cannot be decoded \\(no such codec\\)"):
        load_sound(SimpleNamespace(get_all_samples=fail), sampling_rate=16000)


def test_silence_warns() -> None:
    with pytest.warns(UserWarning, match=r"\(50,\): all 50 samples are zero"):
        silent = load_sound(np.zeros(50, np.float32), sampling_rate=8000, source_rate=8000)
    assert not silent.any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_sound(tone(1, 8000), sampling_rate=8000, source_rate=8000)


def test_bad_frame_requests(mp4: Path) -> None:
    with pytest.raises(MediaError, match=r"clip.mp4: frame=3.2 s is past the end of its video, 3.000 s"):
        read_clip(mp4, frame=3.2)
    for frame in ("last", "1.5", -1, float("nan"), float("inf"), True, None, [1]):
        with pytest.raises(MediaError, match="frame="):
            read_clip(mp4, frame=frame)
    for frames in (0, -1, 1.5, True, None):
        with pytest.raises(MediaError, match="frames="):
            read_clip(mp4, frames=frames)
    with pytest.raises(MediaError, match="sampling_rate=0"):
        read_clip(mp4, sampling_rate=0)
    with pytest.raises(FrozenInstanceError):
        read_clip(mp4).duration = 1


def test_bad_urls(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "URL_TIMEOUT_SECONDS", 0.3)
    with pytest.raises(MediaError, match=r"/gone.wav: the server answered 404"):
        load_sound(f"{site}/gone.wav", sampling_rate=16000)
    with pytest.raises(MediaError, match=r"/slow: cannot be fetched \(no answer within 0.3 s\)"):
        load_sound(f"{site}/slow", sampling_rate=16000)
    with pytest.raises(MediaError, match="cannot be fetched"):
        load_sound("http://127.0.0.1:1/a.wav", sampling_rate=16000)
    with pytest.raises(MediaError, match="cannot be fetched"):
        load_sound("http://[bad/a.wav", sampling_rate=16000)


# Use at scale


class Clips(torch.utils.data.Dataset):
    def __init__(self, path: Path) -> None:
        self.path = path

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        clip = read_clip(self.path, frame=index / 2, sampling_rate=16000)
        return torch.from_numpy(clip.waveform), frame_number(clip.frame)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forked_workers(mp4: Path) -> None:
    expected = load_sound(mp4, sampling_rate=16000)  # the parent has decoded before it forks
    loader = torch.utils.data.DataLoader(Clips(mp4), num_workers=2, multiprocessing_context="fork", timeout=60)
    rows = list(loader)
    assert [int(number) for _, number in rows] == [0, 12, 25, 37]
    for waveform, _ in rows:
        np.testing.assert_array_equal(waveform[0].numpy(), expected)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_garbage_of_a_reading_can_be_collected_in_a_fork(mp4: Path) -> None:
    """A decoder or scaler with threads, collected in a child that has none of them, would wait for ever."""
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            read_clip(mp4)
        child = os.fork()
        if child == 0:
            gc.collect()
            os._exit(0)
    finally:
        gc.enable()
    deadline = time.monotonic() + 120
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            pytest.fail("the child hangs in the collection of what the parent read")
        time.sleep(0.01)


def test_long_sound_is_held_once(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    minutes = 10
    path.write_bytes(pcm_wav(np.tile(noise(8000), (60 * minutes, 1)), 8000))
    tracemalloc.start()
    waveform = load_sound(path, sampling_rate=8000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(waveform) == 60 * minutes * 8000
    assert peak < 1.5 * waveform.nbytes


@pytest.mark.parametrize(
    ("name", "size", "frame_time"),
    [
        ("AVL7Kbpw13U_01.mp4", (854, 480), 45 * 1001 / 30000),
        ("EQHrQIaQNv8_03.mp4", (294, 240), 37 / 25),
        ("IwqD859w2_E_02.mp4", (384, 288), 37 / 25),
        ("rvbmYs4Kl3Y_01.mp4", (854, 480), 45 * 1001 / 30000),
    ],
)
def test_real_clips(name: str, size: tuple[int, int], frame_time: float) -> None:
    if not (CLIPS / name).exists():
        pytest.skip(f"{CLIPS / name} is absent")
    clip = read_clip(CLIPS / name)
    assert clip.frame.size == size
    assert clip.frame_time == pytest.approx(frame_time)
    assert clip.duration == pytest.approx(3, abs=0.005)
    assert (clip.sampling_rate, len(clip.waveform)) == (44100, 132300)
    assert 0.01 < np.abs(clip.waveform).max() <= 1.5
    assert len(load_sound(CLIPS / name, sampling_rate=16000)) == 48000
