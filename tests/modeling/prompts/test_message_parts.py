"""Parts of messages in every client's form: each is read as that client means it, or refused by name."""

import base64
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from soundclip_hf.media import Clip
from soundclip_hf.modeling.prompts.message_parts import MISSING, media_outside_parts, read_part

CONTENT = bytes(range(256)) * 3
TEXT = base64.b64encode(CONTENT).decode()
WRAPPED = base64.encodebytes(CONTENT).decode()  # in lines
PICTURE = Image.new("RGB", (4, 3))
ARRAY = np.zeros(8, np.float32)
CLIP = Clip(ARRAY, PICTURE, 16_000, 0.0, 1.0, "a.mp4")
PLACE = "conversation 0: message 0, part 1"


@pytest.mark.parametrize(
    ("part", "kind", "source"),
    [
        ("plain", "text", "plain"),
        ({"type": "text", "text": ""}, "text", ""),
        ({"type": "input_text", "text": "asked"}, "text", "asked"),
        ({"type": "output_text", "text": "answered"}, "text", "answered"),
        ({"type": "image"}, "image", MISSING),
        ({"type": "image", "image": PICTURE}, "image", PICTURE),
        ({"type": "image", "path": Path("a.png")}, "image", Path("a.png")),
        ({"type": "image", "base64": TEXT}, "image", CONTENT),
        ({"type": "image", "image": {"bytes": CONTENT, "path": "a.png"}}, "image", CONTENT),
        ({"type": "image", "image": {"bytes": None, "path": "a.png"}}, "image", "a.png"),
        ({"type": "image_url", "image_url": {"url": "http://x/a.png", "detail": "low"}}, "image", "http://x/a.png"),
        ({"type": "image_url", "image_url": "a.png"}, "image", "a.png"),
        ({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{TEXT}"}}, "image", CONTENT),
        ({"type": "input_image", "image_url": "a.png", "detail": "auto"}, "image", "a.png"),
        ({"type": "audio"}, "audio", MISSING),
        ({"type": "audio", "audio": None}, "audio", None),
        ({"type": "audio", "audio": None, "path": "a.wav"}, "audio", "a.wav"),
        ({"type": "audio", "path": None}, "audio", MISSING),
        ({"type": "audio", "audio": ARRAY, "sampling_rate": 8000}, "audio", ARRAY),
        ({"type": "audio", "audio": (ARRAY, 8000)}, "audio", (ARRAY, 8000)),
        ({"type": "audio", "array": ARRAY, "path": "row.wav", "sampling_rate": 8000}, "audio", ARRAY),
        ({"type": "audio", "audio": {"array": ARRAY, "path": "row.wav", "sampling_rate": 8000}}, "audio", ARRAY),
        ({"type": "audio", "file": "a.wav"}, "audio", "a.wav"),
        ({"type": "audio", "url": "file:///a.wav"}, "audio", "file:///a.wav"),
        ({"type": "audio", "audio": TEXT}, "audio", CONTENT),
        ({"type": "audio", "bytes": memoryview(CONTENT)}, "audio", CONTENT),
        ({"type": "audio_url", "audio_url": {"url": "a.wav"}}, "audio", "a.wav"),
        ({"type": "audio_url", "audio_url": "a.wav"}, "audio", "a.wav"),
        ({"type": "input_audio", "input_audio": {"data": TEXT, "format": "wav"}}, "audio", CONTENT),
        ({"type": "input_audio", "input_audio": {"data": f"data:;base64,{TEXT}"}}, "audio", CONTENT),
        ({"type": "input_audio", "input_audio": {"data": WRAPPED}}, "audio", CONTENT),
        ({"type": "input_audio", "input_audio": "a.wav"}, "audio", "a.wav"),
        ({"type": "video", "video": CLIP}, "video", CLIP),
        ({"type": "video", "bytes": bytearray(CONTENT)}, "video", CONTENT),
        ({"type": "video_url", "video_url": {"url": "a.mp4"}}, "video", "a.mp4"),
        # Data sets of messages fill the keys of other parts with None.
        ({"type": "text", "text": "x", "image": None, "audio": None, "path": None}, "text", "x"),
    ],
)
def test_what_a_part_holds(part, kind, source):
    read = read_part(part, PLACE)
    assert read.kind == kind
    assert read.source is source or read.source == source
    if isinstance(source, np.ndarray):
        assert read.sampling_rate == 8000


def test_other_keys_are_kept_for_templates_and_videos():
    part = {"type": "video_url", "video_url": {"url": "a.mp4"}, "num_frames": 2, "uuid": "7"}
    assert read_part(part, PLACE).others == {"num_frames": 2, "uuid": "7"}


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"type": "sound", "path": "a.wav"}, "has the type 'sound', and would not be read. The types of parts are"),
        ({"type": "audo", "path": "a.wav"}, "has the type 'audo', .* Did you mean 'audio'?"),
        ({"type": "Audio", "path": "a.wav"}, "has the type 'Audio'"),
        ({"type": ["audio"], "path": "a.wav"}, r"has the type \['audio'\]"),
        ({"audio": "a.wav"}, "has no type; its keys are 'audio', and would not be read"),
        ({"type": None, "audio": "a.wav"}, "has no type"),
        ({}, "has no type; its keys are none"),
        (7, "is a int; give a dictionary"),
        (None, "is a NoneType; give a dictionary"),
        ({"type": "text"}, "of type 'text' has no text: `text` is None"),
        ({"type": "text", "text": ["What?"]}, "of type 'text' has no text: `text` is a list"),
        (
            {"type": "text", "text": "What?", "audio": "a.wav"},
            "of type 'text' also has 'audio', which would not be read",
        ),
        ({"type": "text", "text": "What?", "path": "a.wav"}, "of type 'text' also has 'path'"),
        ({"type": "image", "path": "a.png", "audio": "a.wav"}, "of type 'image' also has 'audio'"),
        ({"type": "image", "path": "a.png", "sound": "a.wav"}, "of type 'image' also has 'sound'"),
        ({"type": "video", "path": "a.mp4", "audio_url": "a.wav"}, "of type 'video' also has 'audio_url'"),
        ({"type": "audio", "path": "a.wav", "text": "What?"}, "of type 'audio' also has 'text'"),
        ({"type": "audio", "path": "a.wav", "url": "b.wav"}, "of type 'audio' has 2 sources, 'url', 'path': give one"),
        ({"type": "audio", "array": ARRAY, "bytes": CONTENT, "path": "a"}, "has 3 sources, 'array', 'path', 'bytes'"),
        ({"type": "audio_url", "audio_url": {"url": "a.wav", "path": "b.wav"}}, "'audio_url' has 2 sources"),
        ({"type": "audio_url", "audio_url": {"uri": "a.wav"}}, "'audio_url' has the keys 'uri' and no source"),
        ({"type": "audio_url", "audio_url": {}}, "'audio_url' has the keys none and no source"),
        (
            {"type": "input_audio", "input_audio": {"data": TEXT, "format": "pcm16"}},
            "format 'pcm16', samples without a",
        ),
        ({"type": "input_audio", "input_audio": {"data": "a.wav", "format": "wav"}}, "'a.wav'... is not base64"),
        ({"type": "image", "url": "data:image/png,abc"}, "is not base64"),
        ({"type": "image", "image": [PICTURE, PICTURE]}, "of type 'image' holds a list: give one picture"),
        ({"type": "video", "video": [PICTURE, PICTURE]}, "of type 'video' holds a list: give a path"),
        ({"type": "video", "video": ARRAY}, "of type 'video' holds a ndarray"),
    ],
)
def test_what_nobody_would_read_is_refused(part, message):
    """A part that a chat template or a client would pass over: its medium must not be lost without a word."""
    with pytest.raises(ValueError, match=f"^{PLACE} .*{message}" if not message.startswith("'") else message):
        read_part(part, PLACE)


def test_media_outside_parts():
    message = {"role": "user", "content": "What?", "images": [], "audio": None, "videos": ["a.mp4"], "sound": ARRAY}
    assert media_outside_parts(message) == ["videos", "sound"]
