"""What is asked at one address shares its limits: counted at a real server."""

import asyncio
import threading
import time
from dataclasses import dataclass
from typing import Any

import pytest
from chat_server import chat_server, completion

from soundclip_hf.data.inference.answer_cache import AnswerCache
from soundclip_hf.data.inference.asking import Question, in_order, iterate, open_askers
from soundclip_hf.data.inference.server import Server
from soundclip_hf.data.inference.strict_json import object_schema
from soundclip_hf.settings import SettingError

pytest.importorskip("httpx")
# An answer of `completion` has 100 input and 50 output tokens. Before it comes, 2 and 60 are set aside: 0.00602.
PRICES = {"input_price": 10.0, "output_price": 100.0, "max_tokens": 60}
COST = (100 * 10 + 50 * 100) / 1e6


@dataclass(frozen=True)
class Words:
    """A prompt of a few words, in which each row is another question."""

    prompt_id: str = "words"
    sha256: str = ""
    repair: str = "{reason}"
    schema: Any = None

    def question(self, row):
        messages = [{"role": "user", "content": f"{self.prompt_id} {row['number']}"}]
        return Question(messages, lambda: messages)

    def parse(self, text):
        return {"text": text}


def ask(servers, rows, cache=None):
    """Ask every server about every row; returns the outcomes by name of the server."""
    prompts = {name: (server, Words(name, schema=object_schema({}))) for name, server in servers.items()}

    async def stream():
        with AnswerCache(cache) as answers:
            async with open_askers(prompts, answers) as askers:

                async def work(number):
                    return await asyncio.gather(*(asker.ask({"number": number}) for asker in askers.values()))

                async for outcomes in in_order(range(rows), work, 4):
                    yield outcomes
                spent.update({name: asker.client.spent for name, asker in askers.items()})

    spent: dict[str, float] = {}
    outcomes = dict(zip(prompts, zip(*iterate(stream()))))
    return outcomes, spent


def two(asked, models=("a", "b"), **options):
    """Two models on one server, in two spellings of its address."""
    urls = (asked.url, f"{asked.url.replace('http', 'HTTP')}/")
    return {name: Server(url, model, **options) for name, url, model in zip(("one", "two"), urls, models)}


def test_concurrency_is_that_of_the_server():
    together = threading.Barrier(3)

    def reply(number, body):
        if number < 3:
            together.wait(30)
        time.sleep(0.05)
        return completion({})

    with chat_server(reply) as asked:
        outcomes, _ = ask(two(asked, concurrency=3), 8)
    assert asked.most == 3
    assert [outcome.failure for name in outcomes for outcome in outcomes[name]] == [None] * 16
    assert {body["model"] for body in asked.bodies} == {"a", "b"}


def test_two_servers_have_their_own_limits():
    together = threading.Barrier(5)

    def reply_of(concurrency):
        def reply(number, body):
            if number < concurrency:
                together.wait(30)
            return completion({})

        return reply

    with chat_server(reply_of(2)) as first, chat_server(reply_of(3)) as second:
        ask({"one": Server(first.url, "a", concurrency=2), "two": Server(second.url, "a", concurrency=3)}, 8)
    assert (first.most, second.most) == (2, 3)


@pytest.mark.parametrize(
    "limits",
    [{"requests_per_minute": 600}, {"tokens_per_minute": 600 * (1024 + 2)}],  # "one 0" is 5 characters: 2 tokens
    ids=["requests", "tokens"],
)
def test_the_rate_is_that_of_the_server(limits):
    with chat_server(lambda number, body: completion({})) as asked:
        start = time.monotonic()
        ask(two(asked, **limits), 8)
    # Ten requests per second: the last of sixteen is sent after 1.6 s. Twice the rate would be 0.8 s.
    assert len(asked.times) == 16
    assert asked.times[-1] - start >= 1.5


def test_a_server_that_says_later_means_every_model():
    def reply(number, body):
        return (429, {"Retry-After": "0.5"}, "") if number == 0 else completion({})

    with chat_server(reply) as asked:
        ask(two(asked, concurrency=1, backoff=0.01), 2)
    assert len(asked.times) == 5
    assert asked.times[1] - asked.times[0] >= 0.5


@pytest.mark.parametrize("models", [("a", "b"), ("a", "a")], ids=["two models", "one model"])
def test_the_budget_is_spent_once(models, tmp_path):
    cache, budget = tmp_path / "answers", 10.5 * COST
    with chat_server(lambda number, body: completion({})) as asked:
        outcomes, spent = ask(two(asked, models, budget=budget, **PRICES), 20, cache)
        first = len(asked.bodies)
        assert first == 10
        assert sum(spent.values()) == pytest.approx(first * COST)
        assert {outcome.failure for name in outcomes for outcome in outcomes[name]} == {None, "budget"}
        # What earlier runs have spent counts, and it counts once for each model.
        ask(two(asked, models, budget=budget, **PRICES), 20, cache)
        assert len(asked.bodies) == 10
        ask(two(asked, models, budget=2 * budget, **PRICES), 20, cache)
    assert len(asked.bodies) == 20


@pytest.mark.parametrize(
    ("one", "two", "words"),
    [
        ({"concurrency": 4}, {"concurrency": 2}, "first has concurrency=4 and second has concurrency=2"),
        ({"requests_per_minute": 60}, {}, "first has requests_per_minute=60 and second has requests_per_minute=None"),
        ({}, {"budget": 1.0, "input_price": 1.0}, "first has budget=None and second has budget=1.0"),
        (
            {"model": "m"},
            {"model": "m", "input_price": 1.0},
            "first has input_price=0.0 and second has input_price=1.0",
        ),
    ],
    ids=str,
)
def test_two_opinions_about_one_server_are_an_error(one, two, words):
    url = "http://127.0.0.1:9/v1"
    servers = {
        "first": Server(**{"base_url": url, "model": "a"} | one),
        "second": Server(**{"base_url": url + "/", "model": "b"} | two),
    }
    with pytest.raises(SettingError, match=f"{words}, but both ask {url}") as error:
        ask(servers, 1)
    assert "give both the same value" in str(error.value)


def test_what_belongs_to_a_model_may_differ():
    with chat_server(lambda number, body: completion({})) as asked:
        one = Server(asked.url, "a", timeout=60, attempts=2, max_tokens=10, seed=1, input_price=1.0)
        outcomes, _ = ask({"one": one, "two": Server(asked.url, "b")}, 1)
    assert [outcomes[name][0].failure for name in outcomes] == [None, None]
