"""read_clip: formats, clocks, broken files, and use in forked processes."""

from __future__ import annotations

import gc
import os
import signal
import time
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest
import torch
from media_files import frame_number, grey_frames, pcm_wav, tone, write_media

from soundclip_hf.media import MediaError, load_sound, read_clip

CLIPS = Path(__file__).parents[3] / "shared" / "clips"
FAST_VP9 = {"deadline": "realtime", "cpu-used": "8"}


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


def test_cover_art_is_not_a_frame(tmp_path: Path) -> None:
    for name, codec in (("a.mp3", "libmp3lame"), ("a.flac", "flac")):
        clip = read_clip(write_media(tmp_path / name, audio=codec, samples=tone(1, 44100), rate=44100, cover=True))
        assert clip.frame is None
        assert len(clip.waveform) == 44100


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


def test_video_without_sound(tmp_path: Path) -> None:
    path = write_media(tmp_path / "mute.mp4", video="libx264", frames=grey_frames(25))
    clip = read_clip(path, sampling_rate=16000)
    assert (clip.waveform, clip.sampling_rate, clip.duration) == (None, None, 1)
    assert frame_number(clip.frame) == 12
    with pytest.raises(MediaError, match=r"mute.mp4: has no audio stream"):
        load_sound(path, sampling_rate=16000)


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
