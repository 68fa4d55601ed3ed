"""Sample formats, channels, gaps and cuts of decoded sound."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import av
import numpy as np
import pytest
from media_files import noise, pcm_wav, tone, write_media

from soundclip_hf.media import MediaError, load_sound


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


def test_sound_cut_off_between_packets_is_noticed(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.mp4", audio="aac", options={"movflags": "faststart"})
    half = path.stat().st_size // 2
    for size in range(half, half + 400, 3):  # more than one packet
        with pytest.raises(MediaError, match="truncated"):
            load_sound(path.read_bytes()[:size], sampling_rate=16000)


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
