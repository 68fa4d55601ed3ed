"""Answers that end in an error, without a server around them."""

import asyncio
import json

import pytest
import torch

from soundclip_hf import SoundLlava, SoundLlavaProcessor
from soundclip_hf.bundled import TINY
from soundclip_hf.evaluation.generation.answering import AnsweringModel
from soundclip_hf.serving.chat_requests import RequestError
from soundclip_hf.serving.handler import ChatHandler, ServerSettings
from soundclip_hf.serving.served_model import ServedModel

BODY = {"messages": [{"role": "user", "content": "What is blue?"}]}


@pytest.fixture
def handler():
    model, processor = SoundLlava.from_pretrained(TINY).eval(), SoundLlavaProcessor.from_pretrained(TINY)
    return ChatHandler(ServedModel(AnsweringModel(model, processor, "tiny", None, "whisper"), "tiny"), ServerSettings())


def events(handler):
    async def collect():
        response = await handler.handle_request({**BODY, "stream": True}, "1")
        return [event async for event in response.body_iterator]

    return [json.loads(event.removeprefix("data: ")) for event in asyncio.run(collect())]


def test_the_end_of_the_server_ends_its_answers(handler):
    handler.stopping.set()
    with pytest.raises(RequestError, match="stopping") as raised:
        asyncio.run(handler.handle_request({**BODY}, "1"))
    assert raised.value.status == 503
    assert events(handler)[-1]["error"] == {
        "message": "the server is stopping",
        "type": "server_error",
        "param": None,
        "code": None,
    }


def test_a_model_that_is_not_finite_gives_no_answer(handler):
    with torch.no_grad():
        handler.served.answering.model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(RequestError, match="NaN") as raised:
        asyncio.run(handler.handle_request({**BODY}, "1"))
    assert raised.value.status == 500
    assert "NaN" in events(handler)[-1]["error"]["message"]


def test_no_request_changes_the_model(handler):
    """Its own settings of generation stay as they are, whatever a request asks for."""
    model = handler.served.answering.model
    before = model.generation_config.to_dict()
    asyncio.run(handler.handle_request({**BODY, "temperature": 1.5, "top_p": 0.5, "max_tokens": 2, "stop": "x"}, "1"))
    assert model.generation_config.to_dict() == before


@pytest.mark.parametrize("temperature", [5e-324, 1e-9, 0, 0.01])
def test_low_temperatures_take_the_most_probable_token(handler, temperature):
    def answer(**options):
        response = asyncio.run(handler.handle_request({**BODY, **options}, "1"))
        return json.loads(response.body)["choices"][0]["message"]["content"]

    assert answer(temperature=temperature) == answer()
