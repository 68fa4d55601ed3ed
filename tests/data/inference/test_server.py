"""The settings of a server: one list of fields, checked values, and a key that is never shown."""

from dataclasses import fields

import pytest
from chat_server import chat_server

from soundclip_hf.data.annotation.dead_letters import read_dead_letters
from soundclip_hf.data.annotation.judge import Judge
from soundclip_hf.data.inference.server import Server, ServerError, ServerOptions
from soundclip_hf.data.inference.server_settings import ServerSettings
from soundclip_hf.settings import SettingError, read_settings

ROW = {"youtube_id": "a", "segment": 1, "audio_caption": "a sound", "video_caption": "a scene"}


def test_the_settings_of_a_file_become_those_of_a_client(monkeypatch):
    monkeypatch.setenv("MY_KEY", "secret")
    values = {"timeout": 3.0, "attempts": 2, "backoff": 0.5, "max_tokens": 7, "seed": 5}
    prices = {"input_price": 1.0, "output_price": 2.0}
    rates = {"requests_per_minute": 60.0, "tokens_per_minute": 900.0, "concurrency": 9}
    settings = read_settings(
        ServerSettings,
        {"base_url": "http://x/v1", "model": "m", "api_key_env": "MY_KEY", "max_cost": 4, **values, **prices, **rates},
    )
    assert settings.server() == Server("http://x/v1", "m", "secret", budget=4.0, **values, **prices, **rates)
    share = settings.server(3)
    assert (share.concurrency, share.requests_per_minute, share.tokens_per_minute) == (3, 20, 300)
    defaults = ServerSettings("http://x/v1", "m"), Server("http://x/v1", "m")
    assert all(len({getattr(one, field.name) for one in defaults}) == 1 for field in fields(ServerOptions))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"concurrency": 0}, "concurrency=0: give at least 1"),
        ({"attempts": 0}, "attempts=0: give at least 1"),
        ({"max_tokens": 0}, "max_tokens=0: give at least 1"),
        ({"requests_per_minute": 0}, "requests_per_minute=0: give a positive number"),
        ({"tokens_per_minute": -1}, "tokens_per_minute=-1: give a positive number"),
    ],
    ids=str,
)
def test_values_out_of_range(values, words):
    for kind in (Server, ServerSettings):
        with pytest.raises(SettingError, match=words):
            kind("http://x/v1", "m", **values)


def test_a_budget_needs_prices():
    with pytest.raises(SettingError, match="budget=1 needs input_price and output_price"):
        Server("http://x/v1", "m", budget=1.0)
    with pytest.raises(SettingError, match="max_cost=1 needs input_price and output_price"):
        ServerSettings("http://x/v1", "m", max_cost=1.0)
    with pytest.raises(SettingError, match="base_url and model are needed"):
        ServerSettings()


def test_two_spellings_are_one_address():
    urls = ("http://Host:8000/v1", "HTTP://host:8000/v1/")
    assert len({Server(url, "m").address for url in urls}) == 1
    others = ("http://host:8000/V1", "http://host:8001/v1", "https://host:8000/v1")
    assert len({Server(url, "m").address for url in (urls[0], *others)}) == 4


@pytest.mark.parametrize("key", ["secret\n", " secret", "secret\u2026"], ids=ascii)
def test_a_key_that_cannot_be_sent_is_an_error_that_hides_it(key):
    with pytest.raises(SettingError, match="api_key: the key has") as error:
        Server("http://x/v1", "m", key)
    assert "secret" not in str(error.value)


def test_a_key_is_not_shown_when_the_server_repeats_it(tmp_path):
    pytest.importorskip("httpx")
    letters = tmp_path / "dead.parquet"
    with chat_server(lambda number, body: (400, {}, "key very-secret is unknown")) as asked:
        (done,) = Judge(Server(asked.url, "m", "very-secret"), dead_letters=letters).judge([ROW])
        assert asked.headers[0]["Authorization"] == "Bearer very-secret"
    assert done.detail == "HTTP 400: key [key] is unknown"
    assert next(read_dead_letters(letters))["detail"] == done.detail
    with (
        chat_server(lambda number, body: (401, {}, "key very-secret is unknown")) as asked,
        pytest.raises(ServerError, match=r"HTTP 401: key \[key\] is unknown"),
    ):
        list(Judge(Server(asked.url, "m", "very-secret")).judge([ROW]))
