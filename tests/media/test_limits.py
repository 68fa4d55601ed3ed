"""Small files that ask for much memory or time: refused before it is taken, in a process that has little."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from media_files import pcm_wav

from soundclip_hf.media import MediaError, limits, load_sound, resample

# What the process has beyond its start. Frames at the limit of MAX_FRAME_PIXELS take 256 MiB each.
ROOM = 1 << 30
CODE = """
import resource, sys
from soundclip_hf.media import MediaError, load_picture, load_sound, read_clip, limits
taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + int(sys.argv[2]),) * 2)
limits.MAX_SOUND_SAMPLES = 2**26
limits.MAX_DECODED_PIXELS = 2**30
sound = lambda path: load_sound(path, sampling_rate=16000)
for read in (read_clip, load_picture if sys.argv[1].endswith("gif") else sound):
    try:
        read(sys.argv[1])
        print("read")
    except MediaError as error:
        print(error)
"""


def gif(width: int, height: int, frames: int) -> bytes:
    """Frames of one pixel on a large canvas."""
    frame = b"\x21\xf9\x04\x04\x0a\x00\x00\x00\x2c" + struct.pack("<4HB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(3) + b"\xff" * 3 + frame * frames + b";"


def said(path: Path) -> list[str]:
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE, str(path), str(ROOM)], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's account of memory")
def test_pictures_of_a_few_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    path.write_bytes(gif(65535, 65535, 5))
    clip, picture = said(path)
    assert "SOUNDCLIP_MAX_FRAME_PIXELS" in clip
    assert "SOUNDCLIP_MAX_PICTURE_PIXELS" in picture
    path.write_bytes(gif(4000, 4000, 300))
    assert "SOUNDCLIP_MAX_DECODED_PIXELS" in said(path)[0]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's account of memory")
def test_hours_of_silence_in_a_few_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac", rate=48000, layout="mono")
        stream.codec_context.options = {"frame_size": "65535"}
        block = av.AudioFrame.from_ndarray(np.zeros((1, 65536), np.int16), format="s16", layout="mono")
        block.sample_rate = 48000
        for number in range(2**26 // 65536 + 2):
            block.pts = number * 65536
            container.mux(stream.encode(block))
        container.mux(stream.encode())
    assert path.stat().st_size < 100_000
    assert all("SOUNDCLIP_MAX_SOUND_SAMPLES" in line for line in said(path))


def test_rates_and_channels() -> None:
    samples = np.ones((3000, 1), np.int16)
    with pytest.raises(MediaError, match="1 Hz cannot be turned into 16000 Hz"):
        load_sound(pcm_wav(samples, 1), sampling_rate=16000)
    with pytest.raises(MediaError, match=r"2000000000 Hz, more than 6144000.*SOUNDCLIP_MAX_SAMPLING_RATE"):
        load_sound(pcm_wav(samples, 2_000_000_000), sampling_rate=16000)
    with pytest.raises(MediaError, match=r"65 channels, more than 64.*SOUNDCLIP_MAX_CHANNELS"):
        load_sound(pcm_wav(np.ones((100, 65), np.int16), 16000), sampling_rate=16000)


def test_resampling_is_bounded_before_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_SOUND_SAMPLES", 1000)
    assert len(resample(np.ones(500, np.float32), 8000, 16000)) == 1000
    with pytest.raises(MediaError, match="501 samples at 8000 Hz are 1002 at 16000 Hz, more than 1000"):
        resample(np.ones(501, np.float32), 8000, 16000)


def test_limits_come_from_the_environment() -> None:
    code = "from soundclip_hf.media import limits; print(limits.MAX_CHANNELS, limits.MAX_GAP_SECONDS)"
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "SOUNDCLIP_MAX_CHANNELS": "128", "SOUNDCLIP_MAX_GAP_SECONDS": "many"},
    )
    assert run.stdout.split() == ["128", "3600.0"]
    assert "SOUNDCLIP_MAX_GAP_SECONDS='many' is not a number >= 0: 3600 is used" in run.stderr
