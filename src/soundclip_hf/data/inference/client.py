"""A client for any server with OpenAI's chat completions API: it sends messages and returns the answer's text."""

from __future__ import annotations

import asyncio
import math
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...extras import require
from .connections import ServerConnections
from .media_parts import estimate_tokens
from .rate_limits import retry_after
from .server import Answer, NoAnswerError, Server, ServerError

if TYPE_CHECKING:
    import httpx

# Fewest characters per token. It gives an upper estimate of the tokens of a request before the server counts them.
CHARACTERS_PER_TOKEN = 2
MAX_WAIT_SECONDS = 120.0
# HTTP statuses, beside those from 500 on, after which the same request may succeed.
TEMPORARY = {408, 409, 425, 429}


class ChatClient:
    """Asks one model for one form of answer.

    Args:
        server: The model, and how to ask it.
        connections: Open, and to that server. Clients that are given the same ones share the server's limits.
        response_format: Sent with each request. A server that refuses it is asked for any JSON object, and then for
            plain text.

    Attributes:
        sent: Requests that were sent.
        spent: What the answers have cost.
    """

    def __init__(
        self, server: Server, connections: ServerConnections, response_format: dict[str, Any] | None = None
    ) -> None:
        require("httpx", what="asking a server")
        self.server, self.connections = server, connections
        self.formats: list[dict[str, Any] | None] = [None]
        if response_format is not None:
            self.formats = [response_format, {"type": "json_object"}, None]
        self.random = random.Random(server.seed)
        self.sent, self.spent = 0, 0.0
        self.unusable: ServerError | None = None

    async def ask(self, messages: list[dict[str, Any]]) -> Answer:
        """Send messages until there is an answer, and wait as long as the server asks for.

        Raises:
            NoAnswerError: All attempts failed, the server refused this request, or the budget is used up.
            ServerError: The server cannot be used at all.
        """
        estimate = sum(estimate_tokens(message["content"], CHARACTERS_PER_TOKEN) for message in messages)
        budget, reserved = self.connections.budget, self.server.cost(estimate, self.server.max_tokens)
        async with self.connections.take() as http:
            if self.unusable is not None:  # another request has found out while this one waited
                raise self.unusable
            if not budget.reserve(reserved):
                raise NoAnswerError("budget", f"the budget of {self.server.budget:g} is used up")
            cost = 0.0
            try:
                answer = await self._ask(http, messages, estimate)
                answer = replace(answer, input_tokens=answer.input_tokens or estimate)
                cost = self.server.cost(answer.input_tokens, answer.output_tokens)
                self.spent += cost
                return answer
            except ServerError as error:
                self.unusable = error
                raise
            finally:
                budget.settle(reserved, cost)

    async def _ask(self, http: httpx.AsyncClient, messages: list[dict[str, Any]], estimate: int) -> Answer:
        import httpx

        url = f"{self.server.base_url.rstrip('/')}/chat/completions"
        headers = {"Authorization": f"Bearer {self.server.api_key}"} if self.server.api_key else {}
        failure = ""
        for attempt in range(self.server.attempts):
            if attempt:
                wait = self.server.backoff * 2 ** (attempt - 1)
                await asyncio.sleep(min(wait, MAX_WAIT_SECONDS) * (0.5 + self.random.random()))
            await self.connections.pause.wait()
            await self.connections.requests.take()
            await self.connections.tokens.take(estimate + self.server.max_tokens)
            self.sent += 1
            form = self.formats[0]
            body = self.server.parameters() | {"messages": messages} | ({"response_format": form} if form else {})
            try:
                response = await http.post(url, json=body, headers=headers, timeout=self.server.timeout)
            except httpx.TimeoutException:
                failure = f"no answer within {self.server.timeout:g} s"
                continue
            except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
                raise ServerError(f"{self.server.base_url}: {error}") from error
            except httpx.TransportError as error:
                failure = f"the connection failed ({type(error).__name__}: {error})"
                continue
            if response.status_code == 200:
                try:
                    return replace(_answer(response.json(), self.server.model), attempts=attempt + 1)
                except NoAnswerError as error:
                    raise NoAnswerError(error.reason, str(error), attempt + 1) from None
                except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
                    failure = f"the response is not a chat completion ({type(error).__name__}: {error})"
                    continue
            failure = self._failure(response, form, attempt + 1)
        attempts = self.server.attempts
        raise NoAnswerError("server", f"{attempts} attempts failed; the last: {failure}", attempts)

    def _failure(self, response: httpx.Response, form: dict[str, Any] | None, attempts: int) -> str:
        """What went wrong, for a response that allows another attempt.

        Raises:
            NoAnswerError: The server refuses this request.
            ServerError: The server refuses all requests.
        """
        text = response.text
        if self.server.api_key:  # some servers repeat the key that they refuse
            text = text.replace(self.server.api_key, "[key]")
        detail = f"HTTP {response.status_code}: {' '.join(text.split())[:300]}"
        if response.status_code in TEMPORARY or response.status_code >= 500:
            seconds = retry_after(response.headers.get("retry-after"))
            if seconds is not None:
                self.connections.pause.extend(min(seconds, MAX_WAIT_SECONDS))
            return detail
        if response.status_code in (401, 403, 404):
            raise ServerError(f"{self.server.base_url}, model {self.server.model}: {detail}")
        words = ("response_format", "json_schema", "json_object", "structured", "guided")
        if form is not None and any(word in text for word in words):
            if self.formats[0] is form:  # another request may have found out already
                self.formats.pop(0)
            return detail
        raise NoAnswerError("refused", detail, attempts)


def _answer(completion: dict[str, Any], model: str) -> Answer:
    message = completion["choices"][0]["message"]
    if message.get("refusal"):
        raise NoAnswerError("refused", str(message["refusal"]))
    text, usage = message["content"], completion.get("usage") or {}
    if not isinstance(text, str):
        raise ValueError("it has no text")
    fingerprint = completion.get("system_fingerprint")
    name = f"{completion.get('model') or model}{f' ({fingerprint})' if fingerprint else ''}"
    tokens = [usage.get(key) or 0 for key in ("prompt_tokens", "completion_tokens")]
    return Answer(text, name, *(math.ceil(count) for count in tokens))


__all__ = ["Answer", "ChatClient", "NoAnswerError", "Server", "ServerError"]
