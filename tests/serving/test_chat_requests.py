"""The fields of a request: what is allowed, what is refused, and what asks for nothing."""

import pytest

from soundclip_hf.serving.chat_requests import RequestError, read_request

MESSAGES = [{"role": "user", "content": "hi"}]


def test_defaults():
    asked = read_request({"messages": MESSAGES, "model": "tiny", "temperature": None})
    assert (asked.frame, asked.num_frames, asked.stream, asked.return_sound_info) == ("middle", 1, False, False)
    assert asked.max_new_tokens is asked.temperature is asked.seed is asked.sound.top_k is None
    assert asked.stop == ()


def test_both_names_of_the_number_of_tokens():
    assert read_request({"messages": MESSAGES, "max_tokens": 3}).max_new_tokens == 3
    assert read_request({"messages": MESSAGES, "max_tokens": 3, "max_completion_tokens": 5}).max_new_tokens == 5


@pytest.mark.parametrize(
    "asked",
    [
        {
            "n": 1,
            "logprobs": False,
            "presence_penalty": 0.0,
            "frequency_penalty": 0,
            "tools": [],
            "tool_choice": "none",
        },
        {"response_format": {"type": "text"}, "modalities": ["text"], "logit_bias": {}},
        {"user": "me", "metadata": {"a": "b"}, "stream_options": {"include_usage": True}, "store": False},
    ],
)
def test_what_asks_for_nothing_is_taken(asked):
    assert read_request({"messages": MESSAGES, **asked}).messages == MESSAGES


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("messages", {}),
        ("stream", "yes"),
        ("max_tokens", 0),
        ("max_tokens", True),
        ("max_tokens", 2.5),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("temperature", "0"),
        ("top_p", 0),
        ("seed", 2**64),
        ("stop", ["a", ""]),
        ("stop", ["a"] * 5),
        ("stop", "\ud800"),
        ("sound_top_k", True),
        ("sound_top_k", "8"),
        ("sound_top_k", [1, -1]),
        ("sound_patches", ["zero"]),
        ("sound_alpha", float("nan")),
        ("sound_adapter", ["default"]),
        ("frame", -1),
        ("frame", float("inf")),
        ("frame", True),
        ("num_frames", 0),
        ("return_sound_info", 1),
        ("logprobs", True),
        ("response_format", {"type": "json_object"}),
        ("frequency_penalty", 0.5),
        ("generation_config", "{}"),
        ("chat_template_kwargs", {}),
    ],
)
def test_what_is_refused(name, value):
    with pytest.raises(RequestError) as raised:
        read_request({"messages": MESSAGES, name: value})
    error = raised.value.body()["error"]
    assert (raised.value.status, error["param"]) == (400, name)
    assert name in error["message"]


def test_a_long_value_is_not_repeated_whole():
    with pytest.raises(RequestError) as raised:
        read_request({"messages": MESSAGES, "sound_patches": "x" * 10_000})
    assert len(str(raised.value)) < 200
