"""Servers as they are: what they refuse, bill, break and redirect, asked by a judge over real connections."""

import gzip
import json
import logging
import sqlite3
import time

import pytest
from chat_server import chat_server, completion, good

from soundclip_hf.data.annotation.dead_letters import read_dead_letters
from soundclip_hf.data.annotation.judge import Judge
from soundclip_hf.data.inference import connections
from soundclip_hf.data.inference.server import Server, ServerError

pytest.importorskip("httpx")
PRICES = {"input_price": 10.0, "output_price": 100.0}
COST = (100 * 10 + 50 * 100) / 1e6  # of `completion`


def rows(count):
    made = []
    for number in range(count):
        made.append({"youtube_id": f"v{number}", "segment": 1, "audio_caption": f"s{number}", "video_caption": "x"})
    return made


def judge(url, cache=None, dead_letters=None, **options):
    server = Server(url, "m", **{"backoff": 0.01, "timeout": 60.0, "attempts": 2, "concurrency": 2, **options})
    return Judge(server, cache=cache, dead_letters=dead_letters)


def error(status, message, **more):
    return status, {}, {"error": {"message": message, **more}}


# What is refused -----------------------------------------------------------------------------------------------------

REFUSALS = {
    "OpenAI": ("max_tokens", error(400, "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
                                   "'max_completion_tokens' instead.", param="max_tokens")),
    "OpenAI, temperature": ("temperature", error(400, "Unsupported value: 'temperature' does not support 0 with this "
                                                 "model. Only the default (1) value is supported.")),
    "Mistral": ("seed", (422, {}, {"object": "error", "message": {"detail": [
        {"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted", "input": 0}]}})),
    "vLLM": ("seed", error(400, "[{'type': 'extra_forbidden', 'loc': ('body', 'seed'), 'msg': 'Extra inputs are not "
                           "permitted', 'input': 0}]")),
    "TGI": ("temperature", (422, {}, {"error": "Input validation error: `temperature` must be strictly positive"})),
    "Groq": ("seed", error(400, "property 'seed' is unsupported")),
    "Azure": ("seed", error(400, "Unrecognized request argument supplied: seed")),
    "llama.cpp": ("response_format", error(400, 'response_format type must be one of "text" or "json_object", but got: '
                                           "json_schema")),
    "DeepSeek": ("response_format", error(400, "This response_format type is unavailable now")),
    "SGLang": ("response_format", error(500, "Failed to compile the grammar")),
    "Ollama": ("response_format", (500, {}, {"error": "invalid format: expected \"json\" or a JSON schema"})),
    "inside of a 200": ("seed", (200, {}, {"error": {"message": "Unknown parameter: seed", "code": 400}})),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_a_parameter_that_is_refused_is_done_without(name, tmp_path, caplog):
    refused, reply = REFUSALS[name]
    with chat_server(lambda number, body: reply if refused in body else completion(good())) as asked:
        with caplog.at_level(logging.WARNING, "soundclip_hf"):
            made = list(judge(asked.url, tmp_path / "cache", concurrency=1, attempts=1).judge(rows(5)))
        assert [done.failure for done in made] == [None] * 5
        others = {"model", "messages", "temperature", "seed", "max_tokens", "response_format"} - {refused}
        assert others <= asked.bodies[-1].keys()
        # Once per run: one refused request (two steps of response_format), and five that were answered.
        assert len(asked.bodies) == 6 + (refused == "response_format")
        assert len(caplog.records) == len(asked.bodies) - 5
        if refused == "max_tokens":
            assert asked.bodies[-1]["max_completion_tokens"] == 1024
        # What was asked for decides what is cached, not how the server takes it.
        assert all(done.cached for done in judge(asked.url, tmp_path / "cache").judge(rows(5)))


def test_several_parameters_and_many_requests_at_once():
    def reply(number, body):
        for name in ("response_format", "seed", "temperature", "max_tokens"):
            if name in body:
                return error(400, f"Unknown parameter: {name!r}. Known: messages, model, temperature, max_tokens, seed")
        return completion(good())

    with chat_server(reply) as asked:
        made = list(judge(asked.url, concurrency=8).judge(rows(40)))
    assert [done.failure for done in made] == [None] * 40
    assert len(asked.bodies) <= 40 + 8 * 5


def test_what_the_user_has_set_is_not_dropped(tmp_path):
    extra = {"top_k": 3, "seed": 7}
    with chat_server(lambda number, body: completion(good())) as asked:
        list(judge(asked.url, tmp_path / "cache", extra_body=extra).judge(rows(1)))
        assert (asked.bodies[0]["top_k"], asked.bodies[0]["seed"]) == (3, 7)
        assert all(done.cached for done in judge(asked.url, tmp_path / "cache", extra_body=extra).judge(rows(1)))
        assert not any(done.cached for done in judge(asked.url, tmp_path / "cache").judge(rows(1)))
    with (
        chat_server(lambda number, body: error(400, "Unknown parameter: 'top_k'")) as asked,
        pytest.raises(ServerError, match="'top_k'; extra_body sets it"),
    ):
        list(judge(asked.url, extra_body=extra).judge(rows(9)))


@pytest.mark.parametrize(
    "reply",
    [
        error(402, "Insufficient Balance"),
        error(429, "You exceeded your current quota", code="insufficient_quota"),
        error(400, "API key not valid. Please pass a valid API key."),
        error(400, "The model `m` does not exist"),
        (200, {}, {"error": {"message": "No auth credentials found", "code": 401}}),
        (200, {}, {"error": {"message": "Insufficient credits", "code": "402"}}),
        error(400, "max_tokens is too large: 1024. This model supports at most 512 completion tokens"),
    ],
    ids=str,
)
def test_what_no_request_can_change_stops_the_run_with_the_words_of_the_server(reply):
    words = reply[2]["error"]["message"]
    with chat_server(lambda number, body: reply) as asked, pytest.raises(ServerError) as raised:
        list(judge(asked.url).judge(rows(40)))
    assert words in str(raised.value)
    assert len(asked.bodies) <= 2


@pytest.mark.parametrize(
    "words",
    [
        "This model's maximum context length is 2048 tokens. However, you requested 3000 tokens (1976 in the messages, "
        "1024 in the completion).",
        "'max_tokens' or 'max_completion_tokens' is too large: 1024. This model's maximum context length is 2048",
        "the request exceeds the available context size, try increasing it",
        "The input (5000 tokens) is longer than the model's context length (4096 tokens).",
        "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
    ],
)
@pytest.mark.parametrize("status", [400, 500])
def test_a_prompt_that_is_too_long_costs_itself_and_is_not_asked_again(words, status):
    def reply(number, body):
        return error(status, words) if "s1" in body["messages"][1]["content"] else completion(good())

    with chat_server(reply) as asked:
        made = list(judge(asked.url, attempts=4).judge(rows(3)))
    assert [done.failure for done in made] == [None, "refused", None]
    assert made[1].detail.startswith("the prompt is too long for the model: ")
    assert words[:250] in made[1].detail
    assert len(asked.bodies) == 3


# What is billed ------------------------------------------------------------------------------------------------------


def billed(reply, **changes):
    """A completion with other parts."""
    status, headers, body = reply
    return status, headers, body | changes


@pytest.mark.parametrize(
    ("reply", "requests", "failure"),
    [
        (completion(None, "length", content=None, reasoning_content="hm" * 50), 1, "unusable"),
        (completion("<think>I begin", "length"), 1, "unusable"),
        (completion(json.dumps(good())[:200], "length"), 2, "unusable"),
        (completion(None, "tool_calls", content=None), 1, "unusable"),
        (completion("", "content_filter"), 1, "refused"),
        (completion("", refusal="I will not"), 1, "refused"),
        (completion("no"), 2, "unusable"),
        (completion(good(), "error"), 2, "server"),
        ((500, {}, {"error": "down", "usage": {"prompt_tokens": 100, "completion_tokens": 50}}), 2, "server"),
        (billed(completion(good()), choices=[]), 2, "server"),
    ],
    ids=["null", "reasoning", "cut", "tools", "filter", "refusal", "no JSON", "error", "HTTP 500", "no choices"],
)
def test_replies_that_are_thrown_away_count(reply, requests, failure, tmp_path):
    with chat_server(lambda number, body: reply) as asked:
        used = judge(asked.url, tmp_path / "cache", **PRICES)
        (done,) = used.judge(rows(1))
        assert (done.failure, len(asked.bodies)) == (failure, requests)
        assert used.spent == pytest.approx(requests * COST)
        if reply[0] == 200 and (reason := (reply[2]["choices"] or [{}])[0].get("finish_reason", "stop")) != "stop":
            assert f"finish_reason: {reason}" in done.detail
        # The budget of a later run knows.
        with sqlite3.connect(tmp_path / "cache") as database:
            assert database.execute("SELECT input, output FROM used").fetchall() == [(100 * requests, 50 * requests)]


def test_the_budget_also_stops_attempts_that_fail():
    reply = (500, {}, {"error": "down", "usage": {"prompt_tokens": 100, "completion_tokens": 50}})
    with chat_server(lambda number, body: reply) as asked:
        # One request reserves up to 0.0206 before it is sent, and costs 0.006.
        used = judge(asked.url, attempts=20, budget=0.03, max_tokens=60, **PRICES)
        (done,) = used.judge(rows(1))
    assert done.failure == "budget"
    assert 1 <= len(asked.bodies) <= 4
    assert used.spent == pytest.approx(len(asked.bodies) * COST)
    assert used.spent <= 0.03


def test_a_draft_before_the_cut_is_no_answer():
    with chat_server(lambda number, body: completion(f"{json.dumps(good())} Wait, I must", "length")) as asked:
        (done,) = judge(asked.url).judge(rows(1))
    assert done.failure == "unusable"
    assert "was cut off at max_tokens=1024 (finish_reason: length)" in asked.bodies[1]["messages"][-1]["content"]
    with chat_server(lambda number, body: completion(f"{json.dumps(good())}   \n", "length")) as asked:
        (done,) = judge(asked.url).judge(rows(1))
    assert done.failure is None


@pytest.mark.parametrize(
    ("usage", "given", "made"),
    [
        ({"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 112}, 7, 105),  # reasoning is in the total
        ({"input_tokens": 7, "output_tokens": 5}, 7, 5),
        ({"prompt_tokens": "7", "completion_tokens": 4.2}, 7, 5),
        ({"prompt_tokens": 7, "completion_tokens": -5}, 7, None),
        ({"prompt_tokens": 7, "completion_tokens": float("inf")}, 7, None),
        ({"prompt_tokens": 7, "completion_tokens": float("nan")}, 7, None),
        ({"prompt_tokens": 7, "completion_tokens": 10**31}, 7, None),
        ({"prompt_tokens": 7, "completion_tokens": [5]}, 7, None),
        ("none", None, None),
    ],
    ids=str,
)
def test_odd_counts_of_tokens_are_estimated(usage, given, made):
    with chat_server(lambda number, body: billed(completion(good()), usage=usage)) as asked:
        used = judge(asked.url, input_price=1e6, output_price=1e12)
        (done,) = used.judge(rows(1))
    assert done.failure is None
    given_cost, text = used.spent % 1e6, len(json.dumps(good()))
    assert round(used.spent // 1e6) == (text // 2 if made is None else made)
    assert given_cost == given if given is not None else given_cost > 500


# What is broken ------------------------------------------------------------------------------------------------------


def slowly(content):
    for byte in content:
        time.sleep(0.2)
        yield bytes([byte])


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (lambda: (200, {"Content-Encoding": "gzip"}, b"no gzip"), "the reply cannot be read (DecodingError"),
        (lambda: (200, {"Content-Encoding": "gzip"}, gzip.compress(b" " * (64 << 20))), "more than 16 MiB"),
        (lambda: (200, {"Content-Encoding": "gzip, gzip"}, b""), "compressed more than once"),
        (lambda: (200, {}, b"[" * 200_000), "nested too deeply"),
        (lambda: (200, {}, b'{"a": ' + b"9" * 5000 + b"}"), "no chat completion"),
        (lambda: (200, {}, b"\xff\xfe\xff"), "is no JSON"),
        (lambda: (200, {}, "<html>busy</html>"), "<html>busy</html>"),
        (lambda: (200, {}, {"error": {"message": "free-models-per-day", "code": 429}}), "free-models-per-day"),
        (lambda: (200, {}, {"base_resp": {"status_code": 1, "status_msg": "busy today"}}), "busy today"),
        (lambda: completion({}, content={"a": 1}), "the content is dict, not text"),
        (lambda: (200, {}, slowly(b" " * 100)), "no answer within 1 s"),
    ],
    ids=["gzip", "bomb", "twice", "nested", "digits", "bytes", "html", "limit", "base_resp", "dict", "drips"],
)
def test_a_broken_reply_costs_its_row_alone(reply, words):
    def answer(number, body):
        return reply() if "s1" in body["messages"][1]["content"] else completion(good())

    with chat_server(answer) as asked:
        begin = time.monotonic()
        made = list(judge(asked.url, attempts=1, timeout=1.0 if words.startswith("no answer") else 60.0).judge(rows(3)))
    assert [done.failure for done in made] == [None, "server", None]
    assert words in made[1].detail
    assert time.monotonic() - begin < 15  # the whole of a reply that drips would take 20 s


def test_content_in_parts_is_text():
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]
    text = json.dumps(good())
    parts += [{"type": "text", "text": text[:20]}, {"type": "text", "text": text[20:]}]
    with chat_server(lambda number, body: completion({}, content=parts)) as asked:
        (done,) = judge(asked.url).judge(rows(1))
    assert (done.failure, done.row["judge_raw"]) == (None, text)


# What UTF-8 cannot write ---------------------------------------------------------------------------------------------


def test_half_of_a_surrogate_pair_costs_its_row_alone(tmp_path):
    """In the answer, around it, in the name of the model, in an error, and in the row itself."""
    bad = json.dumps(good(audio_visual_label="dog \ud83d"))
    replies = {
        "s1": completion(bad),
        "s2": completion("\ud83d " + json.dumps(good())),
        "s3": billed(completion(good()), model="m\ud83d"),
        "s4": error(400, "no \ud83d"),
    }

    def reply(number, body):
        text = body["messages"][1]["content"]
        return next((replies[name] for name in replies if name in text), completion(good()))

    given = rows(6)
    given[5]["video_caption"] = "half \ud83d"
    with chat_server(reply) as asked:
        for _ in range(2):
            made = list(judge(asked.url, tmp_path / "cache", tmp_path / "dead.parquet").judge(given))
            assert [done.failure for done in made] == [None, "unusable", None, None, "refused", "no_evidence"]
            json.dumps([done.row for done in made], ensure_ascii=False).encode()
            assert len(list(read_dead_letters(tmp_path / "dead.parquet"))) == 3
    assert "half of a surrogate pair" in asked.bodies[-1]["messages"][-1]["content"] or made[1].detail
    assert made[2].row["judge_raw"].startswith("\ufffd {")


def test_a_cache_that_holds_what_cannot_be_used_is_asked_again(tmp_path):
    """Earlier versions kept such answers, and every later run ended there."""
    cache = tmp_path / "cache"
    with chat_server(lambda number, body: completion(good())) as asked:
        list(judge(asked.url, cache).judge(rows(3)))
        with sqlite3.connect(cache) as database:
            keys = [key for (key,) in database.execute("SELECT key FROM answers")]
            half = json.dumps({"text": json.dumps(good(audio_visual_label="\ud83d")), "model": "m"})
            for key, text in zip(keys, (half, "no JSON", '{"text": 3, "model": "m"}')):
                database.execute("UPDATE answers SET answer = ? WHERE key = ?", (text, key))
        made = list(judge(asked.url, cache).judge(rows(3)))
        assert [(done.failure, done.cached) for done in made] == [(None, False)] * 3
        assert all(done.cached for done in judge(asked.url, cache).judge(rows(3)))


# Where requests go ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_followed_without_the_key(status):
    with chat_server(lambda number, body: completion(good())) as other:
        place = {"Location": f"{other.url}/chat/completions"}
        with chat_server(lambda number, body: (status, place, "")) as asked:
            (done,) = judge(asked.url, api_key="very-secret").judge(rows(1))
        assert done.failure is None
        assert asked.headers[0]["Authorization"] == "Bearer very-secret"
        assert other.bodies == asked.bodies
        assert "Authorization" not in other.headers[0]


def test_a_redirect_on_the_same_host_keeps_the_key():
    def reply(number, body):
        return (307, {"Location": "/elsewhere"}, "") if number == 0 else completion(good())

    with chat_server(reply) as asked:
        list(judge(asked.url, api_key="very-secret").judge(rows(1)))
    assert [head["Authorization"] for head in asked.headers] == ["Bearer very-secret"] * 2


@pytest.mark.parametrize(("target", "words"), [("file:///etc/passwd", "not http or https"), ("/v1", "more than 5")])
def test_redirects_that_lead_nowhere_stop_the_run(target, words):
    with (
        chat_server(lambda number, body: (307, {"Location": target}, "")) as asked,
        pytest.raises(ServerError, match=words),
    ):
        list(judge(asked.url).judge(rows(3)))


def test_a_server_that_is_not_there_stops_the_run_at_once(monkeypatch):
    monkeypatch.setattr(connections, "REACH_PAUSE", 0.01)
    with chat_server(lambda number, body: None) as gone:
        pass
    begin = time.monotonic()
    with pytest.raises(ServerError, match=f"{gone.url}: cannot be reached"):
        list(judge(gone.url, backoff=10.0, attempts=6).judge(rows(3)))
    assert time.monotonic() - begin < 10


def test_a_list_of_models_that_is_not_given_says_nothing(tmp_path):
    """Only a wrong key (401) and a missing payment (402) do. A run that finds all in its cache asks nothing at all."""
    for status in (200, 403, 404, 500, None):
        answer = None if status is None else (status, {}, "")
        with chat_server(lambda number, body: completion(good()), lambda answer=answer: answer) as asked:
            assert [done.failure for done in judge(asked.url, tmp_path / "c").judge(rows(2))] == [None] * 2
            assert len(asked.gets) == (status == 200)
    with (
        chat_server(lambda number, body: completion(good()), lambda: error(401, "wrong key very-secret")) as asked,
        pytest.raises(ServerError, match=r"HTTP 401: wrong key \[key\]"),
    ):
        list(judge(asked.url, api_key="very-secret").judge(rows(2)))
    assert asked.bodies == []
