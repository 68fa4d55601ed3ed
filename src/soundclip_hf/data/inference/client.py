"""Messages in, the text of an answer out, from any server that speaks OpenAI's chat completions."""

from __future__ import annotations

import asyncio
import math
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...extras import require
from .media_parts import tokens_of
from .rate_limits import Budget, Pause, TokenBucket, retry_after
from .server import Answer, NoAnswerError, Server, ServerError

if TYPE_CHECKING:
    import httpx

# Characters per token, at least: an upper estimate of tokens before a server counts them.
CHARACTERS_PER_TOKEN = 2
MAX_WAIT_SECONDS = 120.0
TEMPORARY = {408, 409, 425, 429}


class ChatClient:
    """A client for one run; use it inside `async with`.

    Args:
        server: Where to ask.
        response_format: Asked for until the server says that it cannot; then any JSON object, then plain text.
    """

    def __init__(self, server: Server, response_format: dict[str, Any] | None = None) -> None:
        if server.budget is not None and not (server.input_price or server.output_price):
            raise ValueError("a budget needs input_price and output_price, per million tokens")
        require("httpx", what="asking a server")
        self.server = server
        self.formats: list[dict[str, Any] | None] = [response_format, {"type": "json_object"}, None]
        if response_format is None:
            self.formats = [None]
        self.budget = Budget(server.budget, server.input_price, server.output_price)
        self.requests, self.tokens = TokenBucket(server.requests_per_minute), TokenBucket(server.tokens_per_minute)
        self.pause = Pause()
        self.random = random.Random(server.seed)
        self.sent = 0
        self.unusable: ServerError | None = None

    async def __aenter__(self) -> ChatClient:
        import httpx

        key = self.server.api_key
        settings: dict[str, Any] = {
            "timeout": self.server.timeout,
            "headers": {"Authorization": f"Bearer {key}"} if key else {},
            "verify": httpx.create_ssl_context(),
        }
        # One connection each: httpx goes through its whole pool several times per request, which at 64 connections
        # took six times as long as everything else.
        self.clients = [httpx.AsyncClient(**settings) for _ in range(self.server.concurrency)]
        self.free: asyncio.LifoQueue[httpx.AsyncClient] = asyncio.LifoQueue()
        for client in self.clients:
            self.free.put_nowait(client)
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self.clients:
            await client.aclose()

    async def ask(self, messages: list[dict[str, Any]]) -> Answer:
        """Ask until there is an answer, waiting as long as the server wants.

        Raises:
            NoAnswerError: All attempts failed, the server refused this request, or the budget is used up.
            ServerError: It makes no sense to ask this server anything.
        """
        estimate = sum(tokens_of(message["content"], CHARACTERS_PER_TOKEN) for message in messages)
        http = await self.free.get()
        try:
            if self.unusable is not None:  # another request has found out while this one waited
                raise self.unusable
            reserved = self.budget.reserve(estimate, self.server.max_tokens)
            if reserved is None:
                raise NoAnswerError("budget", f"the budget of {self.server.budget:g} is used up")
            used = (0, 0)
            try:
                answer = await self._ask(http, messages, estimate)
                answer = replace(answer, input_tokens=answer.input_tokens or estimate)
                used = (answer.input_tokens, answer.output_tokens)
                return answer
            except ServerError as error:
                self.unusable = error
                raise
            finally:
                self.budget.settle(reserved, *used)
        finally:
            self.free.put_nowait(http)

    async def _ask(self, http: httpx.AsyncClient, messages: list[dict[str, Any]], estimate: int) -> Answer:
        import httpx

        failure = ""
        for attempt in range(self.server.attempts):
            if attempt:
                wait = self.server.backoff * 2 ** (attempt - 1)
                await asyncio.sleep(min(wait, MAX_WAIT_SECONDS) * (0.5 + self.random.random()))
            await self.pause.over()
            await self.requests.take()
            await self.tokens.take(estimate + self.server.max_tokens)
            self.sent += 1
            shape = self.formats[0]
            body = self.server.parameters() | {"messages": messages} | ({"response_format": shape} if shape else {})
            try:
                reply = await http.post(f"{self.server.base_url.rstrip('/')}/chat/completions", json=body)
            except httpx.TimeoutException:
                failure = f"no answer within {self.server.timeout:g} s"
                continue
            except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
                raise ServerError(f"{self.server.base_url}: {error}") from error
            except httpx.TransportError as error:
                failure = f"the connection failed ({type(error).__name__}: {error})"
                continue
            if reply.status_code == 200:
                try:
                    return replace(_answer(reply.json(), self.server.model), attempts=attempt + 1)
                except NoAnswerError as error:
                    raise NoAnswerError(error.reason, str(error), attempt + 1) from None
                except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
                    failure = f"the reply is no chat completion ({type(error).__name__}: {error})"
                    continue
            failure = self._refusal(reply, shape)
        attempts = self.server.attempts
        raise NoAnswerError("server", f"{attempts} attempts failed; the last: {failure}", attempts)

    def _refusal(self, reply: httpx.Response, shape: dict[str, Any] | None) -> str:
        """What a status other than 200 means; returns the failure if it makes sense to try again."""
        said = f"HTTP {reply.status_code}: {' '.join(reply.text.split())[:300]}"
        if reply.status_code in TEMPORARY or reply.status_code >= 500:
            asked = retry_after(reply.headers.get("retry-after"))
            if asked is not None:
                self.pause.extend(min(asked, MAX_WAIT_SECONDS))
            return said
        if reply.status_code in (401, 403, 404):
            raise ServerError(f"{self.server.base_url}, model {self.server.model}: {said}")
        words = ("response_format", "json_schema", "json_object", "structured", "guided")
        if shape is not None and any(word in reply.text for word in words):
            if self.formats[0] is shape:  # another request may have found out already
                self.formats.pop(0)
            return said
        raise NoAnswerError("refused", said, 1)


def _answer(reply: dict[str, Any], model: str) -> Answer:
    message = reply["choices"][0]["message"]
    if message.get("refusal"):
        raise NoAnswerError("refused", str(message["refusal"]))
    text, usage = message["content"], reply.get("usage") or {}
    if not isinstance(text, str):
        raise ValueError("it has no text")
    mark = reply.get("system_fingerprint")
    name = f"{reply.get('model') or model}{f' ({mark})' if mark else ''}"
    tokens = [usage.get(key) or 0 for key in ("prompt_tokens", "completion_tokens")]
    return Answer(text, name, *(math.ceil(count) for count in tokens))


__all__ = ["Answer", "ChatClient", "NoAnswerError", "Server", "ServerError"]
