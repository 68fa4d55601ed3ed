"""URLs that do not answer, answer too slowly or with too much, or lead where they may not."""

from __future__ import annotations

import http.server
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from media_files import noise, pcm_wav

from soundclip_hf.media import MediaError, limits, load_sound, typed_by_user, without_password
from soundclip_hf.media.urls import _is_public, fetch

WAV = pcm_wav(noise(800), 8000)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Answers, drips, redirects, or asks for a password, on the address 127.0.0.1."""
    done = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            way, _, rest = self.path[1:].partition("/")
            if way in ("to", "loop"):
                self.send_response(302)
                self.send_header("Location", rest or "/loop")
                self.end_headers()
            elif way == "drip":
                self.send_response(200)
                self.end_headers()
                while not done.wait(0.05):
                    try:
                        self.wfile.write(b"x")
                    except OSError:
                        return
            elif way == "drip-head":
                while not done.wait(0.05):
                    try:
                        self.wfile.write(b"H")
                    except OSError:
                        return
            elif way == "locked" and self.headers["Authorization"] != "Basic dXNlcjpwQHNz":  # user:p@ss
                self.send_error(401)
            else:
                self.send_response(200)
                self.send_header("Content-Length", str(len(WAV) + (1000 if way == "short" else 0)))
                self.end_headers()
                self.wfile.write(WAV)

        def log_message(self, *args: object) -> None:
            pass

    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{made.server_port}"
    done.set()
    made.shutdown()
    made.server_close()


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ALLOW_PRIVATE_ADDRESSES", False)


@pytest.fixture
def private(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ALLOW_PRIVATE_ADDRESSES", True)


def test_bad_urls(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "URL_TIMEOUT_SECONDS", 0.3)
    with pytest.raises(MediaError, match=r"/gone.wav: the server answered 404"):
        load_sound(f"{site}/gone.wav", sampling_rate=16000)
    with pytest.raises(MediaError, match=r"/slow: cannot be fetched \(no answer within 0.3 s\)"):
        load_sound(f"{site}/slow", sampling_rate=16000)
    with pytest.raises(MediaError, match="cannot be fetched"):
        load_sound("http://127.0.0.1:1/a.wav", sampling_rate=16000)
    with pytest.raises(MediaError, match="cannot be fetched"):
        load_sound("http://[bad/a.wav", sampling_rate=16000)


@pytest.mark.parametrize("way", ["drip", "drip-head"])
def test_the_time_is_that_of_the_whole_answer(
    server: str, way: str, private: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kind: a server that sends a byte now and then, so that no single read is late."""
    monkeypatch.setattr(limits, "URL_TIMEOUT_SECONDS", 0.5)
    begun = time.monotonic()
    with pytest.raises(MediaError, match=r"no answer within 0.5 s.*SOUNDCLIP_URL_TIMEOUT_SECONDS"):
        fetch(f"{server}/{way}")
    assert time.monotonic() - begun < 20


def test_answers_are_bounded_and_whole(server: str, private: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fetch(f"{server}/a.wav") == WAV
    with pytest.raises(MediaError, match=f"after {len(WAV)} of {len(WAV) + 1000} bytes"):
        fetch(f"{server}/short")
    monkeypatch.setattr(limits, "MAX_FETCHED_BYTES", len(WAV) - 1)
    with pytest.raises(MediaError, match=f"is {len(WAV)} bytes, more than {len(WAV) - 1} .*_MAX_FETCHED_BYTES"):
        fetch(f"{server}/a.wav")
    monkeypatch.setattr(limits, "URL_TIMEOUT_SECONDS", 20.0)
    monkeypatch.setattr(limits, "MAX_FETCHED_BYTES", 3)
    with pytest.raises(MediaError, match="sends more than 3 bytes"):
        fetch(f"{server}/drip")


def test_private_addresses_need_a_setting(server: str, public: None) -> None:
    """Kind: a URL in a chat that asks this machine's own services. All of these are 127.0.0.1 or ::1."""
    port = urlsplit(server).port
    hosts = ("127.0.0.1", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "[::1]")
    hosts += ("[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "0", "%31%32%37.0.0.1")
    for host in (*hosts, "user:word@127.0.0.1", "example.com@127.0.0.1", "example.com\\@127.0.0.1", "127.0.0.1."):
        host = f"{host}:{port}"
        with pytest.raises(
            MediaError, match=r"not a public address.*SOUNDCLIP_ALLOW_PRIVATE_ADDRESSES|Name or service"
        ):
            fetch(f"http://{host}/a.wav")
    for end in ("#@example.com", "?@example.com", "/\r\nHost: example.com"):
        with pytest.raises(MediaError, match=r"not a public address|control characters"):
            fetch(f"http://127.0.0.1:{port}{end}")
    with pytest.raises(MediaError, match=r"127\.0\.0\.1 is not a public address"):
        fetch(f"{server}/a.wav")


def test_what_is_behind_a_proxy_is_checked(server: str, public: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy is the user's own and may be here; what it is asked for may not."""
    for scheme in ("http", "https"):
        monkeypatch.setenv(f"{scheme}_proxy", server)
        with pytest.raises(MediaError, match=r"10\.0\.0\.1 is not a public address"):
            fetch(f"{scheme}://10.0.0.1/a.wav")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("10.0.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("::7f00:1", False),
        ("::ffff:0:127.0.0.1", False),
        ("::ffff:0:8.8.8.8", True),
        ("64:ff9b:1::7f00:1", False),
        ("::ffff:169.254.169.254", False),
        ("fd00:ec2::254", False),
        ("fec0::1", False),
        ("3fff::1", False),
        ("100.100.100.200", False),
        ("168.63.129.16", False),
        ("192.0.0.192", False),
        ("198.18.0.1", False),
        ("255.255.255.255", False),
    ],
)
def test_which_addresses_are_public(address: str, expected: bool) -> None:
    assert _is_public(address) == expected


def test_what_was_typed_may_be_private_but_not_what_it_leads_to(server: str, public: None) -> None:
    port = urlsplit(server).port
    with typed_by_user():
        assert fetch(f"{server}/a.wav") == WAV
        assert fetch(f"{server}/to//a.wav") == WAV
        with pytest.raises(MediaError, match=r"is redirected to http://localhost:\d+/a.wav: .*not a public address"):
            fetch(f"{server}/to/http://localhost:{port}/a.wav")
        with pytest.raises(MediaError, match="is redirected to file:///etc/passwd: file:// is not supported"):
            fetch(f"{server}/to/file:///etc/passwd")
        with pytest.raises(MediaError, match="redirects more than 5 times"):
            fetch(f"{server}/loop")


def test_names_are_looked_up_once(server: str, public: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kind: a name that is public when it is checked and private when it is used."""
    asked: list[str] = []
    answers = iter(["93.184.216.34", "127.0.0.1"])

    def changing(host: str, port: int, *args: object, **options: object) -> list:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    monkeypatch.setattr(socket, "getaddrinfo", changing)
    monkeypatch.setattr(limits, "URL_TIMEOUT_SECONDS", 0.5)
    with pytest.raises(MediaError, match="cannot be fetched"):
        fetch(f"http://rebinding.example:{urlsplit(server).port}/a.wav")
    assert asked == ["rebinding.example"]


def test_passwords_are_sent_and_never_shown(server: str, private: None, tmp_path: Path) -> None:
    """Kind: secrets in messages."""
    place = server.removeprefix("http://")
    assert fetch(f"http://user:p%40ss@{place}/locked") == WAV
    for url in (
        f"http://user:secret@{place}/locked",
        "http://user:secret@127.0.0.1:1/a.wav",
        "http://user:secret@127.0.0.1:port/a.wav",
        f"http://user:secret@{place}/short",
        "ftp://user:secret@host/a.wav",
        f"{server}/to/http://user:secret@127.0.0.1:1/",
    ):
        with pytest.raises(MediaError) as caught:
            load_sound(url, sampling_rate=8000)
        shown = str(caught.value)
        assert "secret" not in (shown if "/to/" not in url else shown.partition("redirected")[2])
    assert without_password("https://a:b@c/d@e") == "https://a:***@c/d@e"
    assert without_password("https://c/d:e@f") == "https://c/d:e@f"
    assert without_password("a:b@c") == "a:b@c"
