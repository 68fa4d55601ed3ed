"""Files of a visitor become a picture and a sound, or one sentence that says why not."""

import numpy as np
import pytest
from media_files import grey_frames, pcm_wav, tone, write_media
from PIL import Image

from soundclip_hf.demo import given
from soundclip_hf.demo.given import DemoError, read_given

RATE = 16000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("uploads")
    write_media(made / "clip.mp4", video="libx264", audio="aac", frames=grey_frames(10), fps=5)
    write_media(made / "mute.mp4", video="libx264", frames=grey_frames(10), fps=5)
    (made / "tone.wav").write_bytes(pcm_wav((32767 * tone(2, RATE)).astype(np.int16).T, RATE))
    (made / "quiet.wav").write_bytes(pcm_wav(np.zeros((RATE, 1), np.int16), RATE))
    (made / "broken.mp4").write_bytes(b"no clip at all")
    Image.new("RGB", (40, 30), "red").save(made / "red.png")
    return made


def read(folder, **names):
    return read_given(**{kind: str(folder / name) for kind, name in names.items()}, rate=RATE)


def test_a_clip_gives_its_middle_frame_and_its_sound(folder):
    found = read(folder, clip="clip.mp4")
    assert found.picture.size == (64, 48)
    assert found.frame_time == pytest.approx(1.0)  # of frames at 0, 0.2, ... 1.8 s, that on screen at half of 2 s
    assert found.seconds == pytest.approx(3, abs=0.1)
    assert found.summary == f"the frame at 1.00 s, {found.seconds:.1f} s of sound"


def test_a_picture_and_a_sound(folder):
    found = read(folder, picture="red.png", sound="tone.wav")
    assert found.picture.getpixel((0, 0)) == (255, 0, 0)
    assert found.sound.shape == (2 * RATE,)
    assert found.notes == ()
    assert read(folder, picture="red.png").summary == "a picture, no sound"
    assert read(folder, sound="tone.wav").summary == "2.0 s of sound"


def test_a_clip_without_sound_is_its_picture(folder):
    found = read(folder, clip="mute.mp4")
    assert found.sound is None
    assert found.picture is not None
    assert found.notes == ("This clip has no sound, so its picture is taken alone.",)


def test_a_sound_in_place_of_a_clip(folder):
    found = read(folder, clip="tone.wav")
    assert found.picture is None
    assert found.notes == ("This file has no picture, so its sound is taken alone.",)


def test_silence_is_named(folder):
    notes = read(folder, sound="quiet.wav").notes
    assert notes[-1] == "The sound is digital silence: every sample is zero."


def test_nothing_given():
    with pytest.raises(DemoError, match="no picture and no sound"):
        read_given(rate=RATE)


@pytest.mark.parametrize(("kind", "name"), [("clip", "broken.mp4"), ("picture", "tone.wav"), ("sound", "red.png")])
def test_a_file_that_cannot_be_used_is_named_without_its_folder(folder, kind, name):
    with pytest.raises(DemoError) as caught:
        read(folder, **{kind: name})
    assert name in str(caught.value)
    assert str(folder) not in str(caught.value)


def test_a_long_sound_is_refused_with_its_length(folder, monkeypatch):
    monkeypatch.setattr(given, "MAX_SECONDS", 1.5)
    with pytest.raises(DemoError, match=r"tone\.wav: its sound lasts 2 s, and this page takes at most 2 s"):
        read(folder, sound="tone.wav")
