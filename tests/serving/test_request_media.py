"""Which media of a request are read, and from where: no address inside, and no file outside the allowed folder."""

import numpy as np
import pytest
from media_files import pcm_wav, tone
from PIL import Image

from soundclip_hf.media import limits
from soundclip_hf.serving.chat_requests import RequestError
from soundclip_hf.serving.request_media import MediaOptions, read_messages


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder that may be read, `media`, beside a file that may not."""
    folder = tmp_path_factory.mktemp("machine").resolve()
    inside = folder / "media"
    inside.mkdir()
    Image.new("RGB", (8, 8), (255, 0, 0)).save(inside / "a b.png")
    Image.new("RGB", (8, 8)).save(folder / "secret.png")
    (inside / "link.png").symlink_to(folder / "secret.png")
    (inside / "tone.wav").write_bytes(pcm_wav(tone(1, 16000).T, 16000))
    return inside


def read(part, **options):
    (message,) = read_messages([{"role": "user", "content": [part]}], MediaOptions(16000, **options))
    (found,) = message["content"]
    return found


def image(url):
    return {"type": "image_url", "image_url": {"url": url}}


@pytest.mark.parametrize("name", ["{}/a b.png", "file://{}/a%20b.png", "file://localhost{}/a%20b.png", "a b.png"])
def test_files_of_the_folder(folder, name):
    found = read(image(name.format(folder)), folder=folder)
    assert found["image"].getpixel((0, 0)) == (255, 0, 0)
    with pytest.raises(RequestError, match="reads no local files"):
        read(image(name.format(folder)))


@pytest.mark.parametrize(
    "name",
    [
        "../secret.png",
        "{}/../secret.png",
        "file://{}/../secret.png",
        "file://{}/%2e%2e/secret.png",
        "link.png",
        "~/secret.png",
        "/etc/passwd",
        "/no/such/file",
        "a\0b.png",
        "//etc/passwd",
    ],
)
def test_files_outside_look_all_the_same(folder, name):
    """Whether there is such a file is not said. A `~` is a name like any other."""
    with pytest.raises(RequestError) as raised:
        read(image(name.format(folder)), folder=folder)
    assert "outside the folder" in str(raised.value) or ("~" in name and "no such file" in str(raised.value))
    assert raised.value.status == 400


@pytest.mark.parametrize("kind", ["image", "audio", "video"])
@pytest.mark.parametrize("address", ["http://127.0.0.1:9/x", "http://localhost/x", "http://169.254.169.254/latest"])
def test_addresses_of_the_machine_and_its_network(monkeypatch, kind, address):
    monkeypatch.setattr(limits, "ALLOW_PRIVATE_ADDRESSES", False)
    with pytest.raises(RequestError, match="not a public address"):
        read({"type": f"{kind}_url", f"{kind}_url": {"url": address}})


def test_a_sound_comes_at_the_rate_of_the_model(folder):
    encoded = (folder / "tone.wav").read_bytes()
    found = read({"type": "audio", "bytes": encoded})
    assert found["audio"].shape == (16000,)
    assert found["audio"].dtype == np.float32
    found = read({"type": "audio", "array": [0.0, 0.5] * 4000, "sampling_rate": 8000})
    assert found["audio"].shape == (16000,)
    with pytest.raises(RequestError, match="sampling rate is missing"):
        read({"type": "audio", "array": [0.0, 0.5]})


def test_a_silent_picture_may_be_marked():
    assert read({"type": "audio", "audio": None}) == {"type": "audio", "audio": None}


@pytest.mark.parametrize("content", [None, 3, {"type": "text", "text": "hi"}])
def test_content_that_is_none(content):
    with pytest.raises(RequestError, match=r"messages\[0\]: content"):
        read_messages([{"role": "user", "content": content}], MediaOptions(16000))


@pytest.mark.parametrize("content", ["\ud800", [{"type": "text", "text": "a\udfff"}]])
def test_text_that_is_no_unicode(content):
    with pytest.raises(RequestError, match="surrogate"):
        read_messages([{"role": "user", "content": content}], MediaOptions(16000))


def test_text_is_passed_on():
    messages = [{"role": "developer", "content": "a", "name": "x"}, {"role": "user", "content": ["b"]}]
    assert read_messages(messages, MediaOptions(16000)) == [
        {"role": "system", "content": "a"},
        {"role": "user", "content": [{"type": "text", "text": "b"}]},
    ]
