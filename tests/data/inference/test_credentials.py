"""Keys and passwords are read cleanly, sent where they belong, and seen nowhere."""

import json

import pytest
from chat_server import chat_server, completion, good

from soundclip_hf.data.annotation.judge import Judge
from soundclip_hf.data.inference.credentials import endpoint, read_key, shown_url
from soundclip_hf.data.inference.server import Server, ServerError
from soundclip_hf.data.inference.server_settings import ServerSettings
from soundclip_hf.settings import SettingError

KEY = "sk-very/secret-key"
ROW = {"youtube_id": "a", "segment": 1, "audio_caption": "a sound", "video_caption": "a scene"}


@pytest.mark.parametrize("text", ["\n", "\r\n", " ", "\t", ""])
def test_space_around_a_key_is_left_out(monkeypatch, text):
    monkeypatch.setenv("MY_KEY", f"{text}{KEY}{text}")
    assert read_key("MY_KEY") == KEY
    assert ServerSettings("http://x/v1", "m", api_key_env="MY_KEY").server().api_key == KEY
    monkeypatch.setenv("MY_KEY", text)
    assert read_key("MY_KEY") is None


@pytest.mark.parametrize("key", ["sk-sec\nret", "sk-sec\u200bret", "sk-sécret"], ids=ascii)
def test_a_key_that_cannot_be_sent_names_its_variable(monkeypatch, key):
    monkeypatch.setenv("MY_KEY", key)
    with pytest.raises(SettingError, match="MY_KEY") as raised:
        read_key("MY_KEY")
    assert "sk-" not in str(raised.value)


def test_a_key_in_place_of_its_variable_is_not_shown():
    with pytest.raises(SettingError, match="is not the name of an environment variable") as raised:
        read_key(KEY)
    assert KEY not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://host/v1", "http://host/v1"),
        ("https://me:pass@host:1/v1", "https://***@host:1/v1"),
        ("https://me:p@ss/w@host/v1", "https://***@host/v1"),
        ("me:pass@host/v1", "***@host/v1"),
        ("https://host/v1?key=abc&x=1", "https://host/v1?key=***&x=***"),
    ],
)
def test_urls_are_shown_without_passwords(url, shown):
    assert shown_url(url) == shown
    for kind in (Server, ServerSettings):
        try:
            text = repr(kind(url, "m"))
        except SettingError as error:  # no address of an API
            text = str(error)
        assert shown in text
        assert "pass" not in text
        assert "abc" not in text


@pytest.mark.parametrize(
    "url", ["host/v1", "ftp://host/v1", "http://", "http:///v1", "http://h:port/v1", "http://a b/"]
)
def test_what_is_no_url_is_an_error_at_once(url):
    with pytest.raises(SettingError, match="base_url="):
        endpoint(url, None)
    with pytest.raises(SettingError, match="base_url="):
        ServerSettings(url, "m")
    pytest.importorskip("httpx")
    with pytest.raises(ServerError, match="base_url="):
        list(Judge(Server(url, "m")).judge([ROW]))


def test_a_query_and_a_password_go_where_they_belong():
    to = endpoint("http://me:p%40ss@host:8/v1/?version=2", None)
    assert (to.url, to.path("models")) == ("http://host:8/v1/?version=2", "http://host:8/v1/models?version=2")
    assert to.headers == {"Authorization": "Basic bWU6cEBzcw=="}
    assert to.redact("p@ss p%40ss bWU6cEBzcw==") == "[key] [key] [key]"
    assert "p@ss" not in repr(to)


@pytest.mark.parametrize(
    "reply",
    [
        (400, {}, f"key {KEY}"),
        (500, {}, {"error": {"message": f"Bearer {KEY}"}}),
        (200, {}, {"error": f"key {KEY}"}),
        (200, {}, f"no JSON {KEY}"),
        completion(good(audio_visual_label=KEY)),
        completion(f"I was sent {KEY}"),
        completion(json.dumps(good()).replace("dog", KEY.replace("/", "\\/"))),
        completion("", refusal=f"not for {KEY}"),
        (401, {}, f"key {KEY}"),
        (307, {"Location": f"ftp://{KEY}"}, ""),
    ],
    ids=str,
)
def test_no_file_and_no_message_has_a_key_that_the_server_repeats(reply, tmp_path):
    pytest.importorskip("httpx")
    with chat_server(lambda number, body: reply) as asked:
        server = Server(asked.url, "m", KEY, backoff=0.01, attempts=2)
        judging = Judge(server, cache=tmp_path / "cache", dead_letters=tmp_path / "dead.parquet")
        try:
            told = json.dumps([[done.row, done.detail] for done in judging.judge([ROW])])
        except ServerError as error:
            told = str(error)
    assert KEY not in told
    for path in tmp_path.iterdir():
        assert KEY.encode() not in path.read_bytes()
    if (tmp_path / "dead.parquet").exists():
        from soundclip_hf.data.annotation.dead_letters import read_dead_letters

        assert KEY not in str(list(read_dead_letters(tmp_path / "dead.parquet")))
