"""Frames and sound of a clip as a server gets them, and what they may cost at most."""

import base64
import io
import wave

import numpy as np
import pytest
from media_files import frame_number, grey_frames, tone, write_media
from PIL import Image

from soundclip_hf.data.inference.media_parts import (
    AUDIO_TOKENS,
    IMAGE_TOKENS,
    MediaOptions,
    estimate_tokens,
    find_clip,
    media_parts,
)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clips") / "a_01.mp4"
    return write_media(path, video="libx264", audio="aac", rate=48000, frames=grey_frames(75), samples=tone(3, 48000))


def pictures(parts):
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    assert all(url.startswith("data:image/jpeg;base64,") for url in urls)
    return [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) for url in urls]


def test_frames_are_spread_over_the_clip_and_say_when_they_are(clip):
    parts = media_parts(clip, MediaOptions(frames=3, max_side=32, sampling_rate=0))
    images = pictures(parts)
    assert [image.size for image in images] == [(32, 24)] * 3
    # The centres of three seconds, at 25 frames per second.
    assert [frame_number(image) for image in images] == pytest.approx([12, 37, 62], abs=1)
    texts = [part["text"] for part in parts if part["type"] == "text"]
    assert [float(text.split()[2]) for text in texts] == pytest.approx([0.5, 1.5, 2.5], abs=0.05)
    assert media_parts(clip, MediaOptions(frames=3, max_side=32, sampling_rate=0)) == parts


def test_sound_is_wav_at_the_asked_rate(clip):
    parts = media_parts(clip, MediaOptions(frames=0, sampling_rate=16000))
    assert [part["type"] for part in parts] == ["text", "input_audio"]
    assert parts[1]["input_audio"]["format"] == "wav"
    with wave.open(io.BytesIO(base64.b64decode(parts[1]["input_audio"]["data"]))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert len(samples) == pytest.approx(48000, abs=1600)  # AAC's last frame
    spectrum = np.abs(np.fft.rfft(samples[8000:40000] / 32768))
    assert np.argmax(spectrum) * 16000 / 32000 == pytest.approx(440, abs=1)


def test_a_server_is_asked_for_enough_tokens():
    second = base64.b64encode(bytes(2 * 16000)).decode()
    parts = [
        {"type": "text", "text": "1234"},
        {"type": "image_url", "image_url": {"url": "x" * 100_000}},
        {"type": "input_audio", "input_audio": {"data": second}},
    ]
    assert estimate_tokens("12345678", 2) == 4
    assert 2 + IMAGE_TOKENS + AUDIO_TOKENS <= estimate_tokens(parts, 2) <= 2 + IMAGE_TOKENS + 2 * AUDIO_TOKENS + 1


def test_what_is_not_there(clip, tmp_path):
    silent = write_media(tmp_path / "b.mp4", video="libx264")
    sound = write_media(tmp_path / "c.m4a", audio="aac")
    with pytest.raises(ValueError, match="has no sound"):
        media_parts(silent, MediaOptions())
    with pytest.raises(ValueError, match="has no picture"):
        media_parts(sound, MediaOptions())
    assert find_clip(clip.parent, "a_01") == clip
    for folder, name, words in ((clip.parent, "a_02", "there is no a_02.mp4"), (None, "a_01", "no folder of clips")):
        with pytest.raises(ValueError, match=words):
            find_clip(folder, name)
    with pytest.raises(ValueError, match="there is no"):
        find_clip(tmp_path, f"../{clip.parent.name}/a_01")
    with pytest.raises(ValueError, match="nothing of a clip"):
        MediaOptions(frames=0, sampling_rate=0)
