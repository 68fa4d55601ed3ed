"""Answers `/v1/chat/completions`: transformers' handler of chats, with our reading of requests, and sound."""

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..extras import require
from ..modeling.finite import NotFiniteError
from .answer_text import AnswerText, cut
from .chat_requests import FIELDS, ChatRequest, RequestError, read_request
from .generation import Generation, SoundEntry, encode, generation_config
from .request_media import MediaOptions, read_messages
from .served_model import ServedModel

require("fastapi", "openai", "uvicorn", what="serving a model")
from fastapi.responses import JSONResponse, StreamingResponse  # noqa: E402
from transformers.cli.serving.chat_completion import ChatCompletionHandler  # noqa: E402
from transformers.cli.serving.utils import GenerationState  # noqa: E402

Found = TypeVar("Found")

# Requests whose media are read at the same time; each may wait for a slow address.
READERS = 32
# How transformers' handler begins the event of an error; its text is not escaped there.
_ERROR_EVENT = 'data: {"error": "'


@dataclass(frozen=True)
class ServerSettings:
    """
    Attributes:
        max_new_tokens: The most tokens that an answer may have, and how many it has where a request does not say.
        media_folder: Local files in it may be named by requests; None allows none.
    """

    max_new_tokens: int = 512
    media_folder: Path | None = None


class ChatHandler(ChatCompletionHandler):
    """
    Transformers' handler, in which a sound reaches the model.

    Media are read in a thread for each request, so that a slow address delays no other request. Pictures and sounds are
    encoded, and answers generated, in the one thread that transformers has for a model, in the order in which the
    requests are ready.
    """

    def __init__(self, served: ServedModel, settings: ServerSettings) -> None:
        super().__init__(served, GenerationState())
        self.served, self.settings = served, settings
        self.stopping = threading.Event()
        self._readers = asyncio.Semaphore(READERS)
        # Tokenizers of the tokenizers package cannot be used by two threads at a time.
        self._processing = threading.Lock()

    async def handle_request(self, body: dict, request_id: str) -> StreamingResponse | JSONResponse:
        """
        Answer a request.

        Args:
            body: Its JSON.
            request_id: A name for the answer.

        Raises:
            RequestError: If the request cannot be answered.
        """
        asked = read_request(body)
        self.served.check_name(asked.model)
        self.served.processor_of(asked.sound.adapter)
        async with self._readers:
            inputs = await _in_thread(lambda: self._prepare(asked))
        model, processor = self.served.answering.model, self.served.processor_of(asked.sound.adapter)
        prompt = inputs["input_ids"].shape[1]
        config = generation_config(model, processor.tokenizer, asked, prompt, self.settings.max_new_tokens)
        manager = self.generation_state.get_manager(self.served.name)
        with _refusing():
            encoded, entries = await manager.async_submit(encode, model, inputs, asked)
        generation = Generation(model, processor.tokenizer, asked.seed, self.stopping)
        call = (request_id, generation, processor, self.served.name, encoded, config, manager)
        sound_info = entries if asked.return_sound_info else None
        if asked.stream:
            return _streamed(self._streaming(*call), asked, generation, sound_info)
        try:
            response = await self._non_streaming(*call)
        except NotFiniteError as error:
            raise RequestError(f"the model gave no answer: {error}", status=500) from error
        return _whole(response, asked, sound_info)

    def _prepare(self, asked: ChatRequest) -> Any:
        """The inputs of the model for a request, on its device."""
        processor, model = self.served.processor_of(asked.sound.adapter), self.served.answering.model
        options = MediaOptions(
            processor.feature_extractor.sampling_rate, asked.frame, asked.num_frames, self.settings.media_folder
        )
        messages = read_messages(asked.messages, options)
        call: dict[str, Any] = {"return_tensors": "pt"}
        parts = (part for message in messages for part in message["content"] if isinstance(part, dict))
        if any(part["type"] in ("audio", "video") for part in parts):
            call |= {"sound_patches": asked.sound.patches, "sound_top_k": asked.sound.top_k}
        with _refusing(), self._processing:
            return processor.apply_chat_template(
                messages, add_generation_prompt=True, tokenize=True, return_dict=True, processor_kwargs=call
            ).to(model.device, model.dtype)


@contextlib.contextmanager
def _refusing() -> Any:
    """Turn the errors of the library about its arguments, which came with a request, into an answer of 400."""
    try:
        yield
    except (ValueError, TypeError) as error:
        text = " ".join(str(error).split())
        # Such a message begins with the argument and its value; fields of a request have the names of the arguments.
        argument, equals, _ = text.partition("=")
        param = argument if equals and argument in FIELDS else None
        raise RequestError(text, param=param) from error


async def _in_thread(function: Callable[[], Found]) -> Found:
    """
    Run a function in a thread of its own. Unlike `asyncio.to_thread`, the end of the server does not wait for it: it
    may be at an address that does not answer.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Found] = loop.create_future()

    def settle(result: Found | None, error: Exception | None) -> None:
        if future.done():  # nobody waits any more
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = function()
        except Exception as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="reading-media", daemon=True).start()
    return await future


def _whole(response: JSONResponse, asked: ChatRequest, sound_info: list[SoundEntry] | None) -> JSONResponse:
    """The response of transformers' handler with the text cut at stop sequences, and with what was heard."""
    payload = json.loads(bytes(response.body))
    for choice in payload["choices"]:
        choice["message"]["content"] = cut(choice["message"]["content"], asked.stop)
    if sound_info is not None:
        payload["sound_info"] = sound_info
    return JSONResponse(payload)


def _streamed(
    response: StreamingResponse, asked: ChatRequest, generation: Generation, sound_info: list[SoundEntry] | None
) -> StreamingResponse:
    """
    The same for a streamed answer: what was heard is in its first event. An error is an event in OpenAI's form, and the
    last event is `[DONE]`.
    """

    async def events() -> AsyncIterator[str]:
        text = AnswerText(asked.stop)
        first = True
        source: Any = response.body_iterator
        try:
            async for block in source:
                answered, mark, _ = str(block).partition(_ERROR_EVENT)
                for event in filter(None, answered.split("\n\n")):
                    payload = json.loads(event.removeprefix("data: "))
                    if first and sound_info is not None:
                        payload["sound_info"] = sound_info
                    first = False
                    for sent in _cut_event(payload, text):
                        yield f"data: {json.dumps(sent)}\n\n"
                if mark:
                    error = generation.error or RuntimeError("the answer ended early")
                    known = error if isinstance(error, RequestError) else RequestError(str(error), status=500)
                    yield f"data: {json.dumps(known.body())}\n\n"
                    return
            yield "data: [DONE]\n\n"
        finally:
            await source.aclose()  # an answer that nobody reads any more is not generated to its end

    return StreamingResponse(events(), media_type="text/event-stream")


def _cut_event(payload: dict[str, Any], text: AnswerText) -> list[dict[str, Any]]:
    """An event with its piece of the text, as it can be sent; the last one comes after what is left of the text."""
    (choice,) = payload["choices"]
    piece = choice["delta"].get("content")
    if piece is not None:
        choice["delta"]["content"] = text.feed(piece)
        return [payload] if choice["delta"]["content"] else []
    if choice.get("finish_reason") is None or not (rest := text.finish()):
        return [payload]
    others = {name: value for name, value in payload.items() if name != "usage"}
    return [{**others, "choices": [{"index": 0, "delta": {"content": rest}}]}, payload]


__all__ = ["ChatHandler", "ServerSettings"]
