"""The container is told by the first bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from media_files import write_media

from soundclip_hf.media import load_sound


@pytest.mark.parametrize(("name", "codec"), [("a.wav", "pcm_s16le"), ("a.aiff", "pcm_s16be"), ("a.au", "pcm_s16be")])
def test_samples_that_look_like_another_container(tmp_path: Path, name: str, codec: str) -> None:
    """Every 188 bytes the first ones of an MPEG-TS packet; FFmpeg 9 then takes a wav for one."""
    packet = bytes([0x47, 0x00, 0x11, 0x10]) + bytes(184)
    samples = np.frombuffer(packet * 100, "<i2" if codec.endswith("le") else ">i2").astype(np.int16)[None]
    path = write_media(tmp_path / name, audio=codec, samples=samples, rate=16000)
    for source in (path, path.read_bytes()):
        np.testing.assert_array_equal(load_sound(source, sampling_rate=16000), samples[0] / np.float32(2**15))
