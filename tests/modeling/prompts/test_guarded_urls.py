"""Every way that a URL reaches a processor: no private address is asked, not even by transformers behind ours."""

import http.server
import threading

import pytest
from tiny_families import family_model, family_processor
from tiny_models import tiny_sound_llava

from soundclip_hf import SoundClipProcessor, SoundLlavaProcessor, add_sound
from soundclip_hf.bundled import TINY
from soundclip_hf.media import MediaError, limits
from soundclip_hf.modeling.added_sound.processing import AddedSoundProcessor

CHAT = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"}


@pytest.fixture(scope="module")
def asked():
    """The paths that a server on 127.0.0.1 was asked for; its address is `asked.url`."""

    class Asked(list):
        url = ""

    paths = Asked()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    paths.url = f"http://127.0.0.1:{server.server_port}/secret"
    yield paths
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def public(monkeypatch, asked):
    monkeypatch.setattr(limits, "ALLOW_PRIVATE_ADDRESSES", False)
    asked.clear()


@pytest.fixture(scope="module")
def processors():
    sound = tiny_sound_llava("llava").model.audio_tower
    extractor = SoundLlavaProcessor.from_pretrained(TINY).feature_extractor
    model, own = family_model("llava_onevision"), family_processor("llava_onevision")
    _, added = add_sound(model, sound, processor=own, feature_extractor=extractor, alignment="raw")
    assert isinstance(added, AddedSoundProcessor)
    return {
        "llava": SoundLlavaProcessor.from_pretrained(TINY),
        "clip": SoundClipProcessor.from_pretrained(TINY),
        "added": added,
    }


def chat(kind, key):
    return lambda processor, url: processor.apply_chat_template(
        [{"role": "user", "content": [{"type": kind, key: url}, {"type": "text", "text": "What?"}]}], **CHAT
    )


KEYS = {"image": "image url path file image_url", "audio": "audio url path audio_url", "video": "video url video_url"}
WAYS = {f"llava chat {kind} {key}": chat(kind, key) for kind, keys in KEYS.items() for key in keys.split()}
WAYS |= {
    "llava images": lambda processor, url: processor(images=url, text="<image>"),
    "llava nested images": lambda processor, url: processor(images=[[url]], text=["<image>"]),
    "llava audio": lambda processor, url: processor(audio=url, text="<audio>"),
    "llava audio of a dictionary": lambda processor, url: processor(audio={"path": url}, text="<audio>"),
    "clip images": lambda processor, url: processor(images=[url]),
    "clip audio": lambda processor, url: processor(audio=[url]),
    "clip videos": lambda processor, url: processor(videos=[url]),
    "added images": lambda processor, url: processor(images=url, text="<image>"),
    "added videos": lambda processor, url: processor(videos=url, text="What?"),
    "added nested videos": lambda processor, url: processor(videos=[[url]], text="What?"),
    "added images beside videos": lambda processor, url: processor(videos=[], images=[url], text="What?"),
    "added chat": chat("video", "url"),
}


@pytest.mark.parametrize("way", WAYS)
def test_private_addresses_are_not_asked(way, processors, asked):
    with pytest.raises(MediaError, match=r"127\.0\.0\.1 is not a public address.*SOUNDCLIP_ALLOW_PRIVATE_ADDRESSES"):
        WAYS[way](processors[way.split()[0]], asked.url)
    assert not asked


@pytest.mark.parametrize("way", ["llava images", "llava audio", "clip videos", "added videos"])
def test_allowed_addresses_are_asked_once(way, processors, asked, monkeypatch):
    """The guard is what stops the others: the same calls reach the server where they may."""
    monkeypatch.setattr(limits, "ALLOW_PRIVATE_ADDRESSES", True)
    with pytest.raises(MediaError, match="the server answered 404"):
        WAYS[way](processors[way.split()[0]], asked.url)
    assert asked == ["/secret"]
