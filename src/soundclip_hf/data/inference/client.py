"""A client for any server with OpenAI's chat completions API: it sends messages and returns the answer's text."""

from __future__ import annotations

import asyncio
import json
import random
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...extras import require
from .complaints import TEMPORARY, Meaning, meaning, refused_parameter
from .connections import ServerConnections
from .credentials import SHORTEST_IN_ANSWERS
from .media_parts import estimate_tokens
from .rate_limits import retry_after
from .replies import (
    CUT_OFF,
    FILTERED,
    MAX_WORDS,
    Complaint,
    Message,
    read_complaint,
    read_json,
    read_message,
    read_usage,
)
from .server import Answer, NoAnswerError, Server, ServerError
from .transport import Reply, ReplyTooLargeError, exchange

if TYPE_CHECKING:
    import httpx

# Fewest characters per token. It gives an upper estimate of the tokens of a request before the server counts them.
CHARACTERS_PER_TOKEN = 2
MAX_WAIT_SECONDS = 120.0
# Why a model stopped that wants something in place of answering.
CALLS = {"tool_calls", "function_call", "tool_use"}


class ChatClient:
    """Asks one model for one form of answer.

    Args:
        server: The model, and how to ask it.
        connections: Open, and to that server. Clients that are given the same ones share the server's limits, and what
            is learned about a model.
        response_format: Sent with each request. A server that refuses it is asked for any JSON object, and then for
            plain text. Other parameters that a server refuses are renamed or left out: `complaints.Dialect`.
        count: Called with the input and output tokens of each reply, also of one that is no answer.

    Attributes:
        sent: Requests that were sent.
        spent: What the replies have cost.
    """

    def __init__(
        self,
        server: Server,
        connections: ServerConnections,
        response_format: dict[str, Any] | None = None,
        count: Callable[[int, int], None] | None = None,
    ) -> None:
        require("httpx", what="asking a server")
        self.server, self.connections, self.count = server, connections, count
        self.dialect, self.endpoint = connections.dialect(server.model), connections.endpoint
        self.formats = [response_format, {"type": "json_object"}] if response_format is not None else []
        self.random = random.Random(server.seed)
        self.sent, self.spent = 0, 0.0
        self.unusable: ServerError | None = None

    async def ask(self, messages: list[dict[str, Any]]) -> Answer:
        """Send messages until there is an answer, and wait as long as the server asks for.

        Raises:
            NoAnswerError: All attempts failed, the server refused this request, the answer was cut off before it began,
                or the budget is used up.
            ServerError: The server cannot be used at all.
        """
        async with self.connections.take() as http:
            try:
                if self.unusable is not None:  # another request has found out while this one waited
                    raise self.unusable
                await self.connections.reach(http)
                return await self._ask(http, messages)
            except ServerError as error:
                self.unusable = error
                raise

    async def _ask(self, http: httpx.AsyncClient, messages: list[dict[str, Any]]) -> Answer:
        estimate = sum(estimate_tokens(message["content"], CHARACTERS_PER_TOKEN) for message in messages)
        requests, failures, failure = 0, 0, ""
        while failures < self.server.attempts:
            if failure:
                wait = self.server.backoff * 2 ** (failures - 1)
                await asyncio.sleep(min(wait, MAX_WAIT_SECONDS) * (0.5 + self.random.random()))
            body = self._body(messages)
            try:
                outcome = await self._request(http, body, estimate)
                requests += 1
                if isinstance(outcome, Message):
                    return self._answer(outcome, requests)
                if isinstance(outcome, Complaint):
                    if self._learned(outcome, body):
                        failure = ""
                        continue
                    outcome = self._said(outcome)
            except NoAnswerError as error:
                raise NoAnswerError(error.reason, str(error), requests + error.attempts) from None
            failures, failure = failures + 1, outcome
        raise NoAnswerError("server", f"{failures} attempts failed; the last: {failure}", requests)

    def _body(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        body = self.dialect.body(self.server.parameters(), self.server.extra_body or {})
        if self.dialect.format < len(self.formats):
            body = {"response_format": self.formats[self.dialect.format]} | body
        return body | {"messages": messages}

    async def _request(self, http: httpx.AsyncClient, body: dict[str, Any], estimate: int) -> Message | Complaint | str:
        """One request: what the model says, what the server complains about, or why neither came."""
        budget, reserved = self.connections.budget, self.server.cost(estimate, self.server.max_tokens)
        if not budget.reserve(reserved):
            raise NoAnswerError("budget", f"the budget of {self.server.budget:g} is used up")
        cost = 0.0
        try:
            await self.connections.pause.wait()
            await self.connections.requests.take()
            await self.connections.tokens.take(estimate + self.server.max_tokens)
            self.sent += 1
            reply = await self._exchange(http, body)
            if isinstance(reply, str):
                return reply
            value, outcome = self._read(reply)
            given, made = read_usage(value)
            if isinstance(outcome, Message):  # it is billed, whether the server says so or not
                if made is None:
                    made = min(len(outcome.text) // CHARACTERS_PER_TOKEN, self.server.max_tokens)
                given = given or estimate
                outcome = replace(outcome, tokens=(given, made))
            if (given or made) and self.count is not None:
                self.count(given or 0, made or 0)
            cost = self.server.cost(given or 0, made or 0)
            self.spent += cost
            return outcome
        finally:
            budget.settle(reserved, cost)

    async def _exchange(self, http: httpx.AsyncClient, body: dict[str, Any]) -> Reply | str:
        """The reply to a request, or why there is none that another attempt could not bring."""
        import httpx

        try:
            content = json.dumps(body, allow_nan=False).encode()
            return await exchange(http, "POST", "chat/completions", self.endpoint, self.server.timeout, content)
        except (TimeoutError, httpx.TimeoutException):
            return f"no answer within {self.server.timeout:g} s"
        except ReplyTooLargeError as error:
            raise NoAnswerError("server", str(error), 1) from None
        except (httpx.HTTPError, httpx.StreamError, OSError, ValueError, EOFError, zlib.error) as error:
            what = "the reply cannot be read" if isinstance(error, httpx.DecodingError) else "the connection failed"
            return f"{what} ({type(error).__name__}: {self.endpoint.redact(' '.join(str(error).split()))})"

    def _read(self, reply: Reply) -> tuple[Any, Message | Complaint | str]:
        """The body as JSON, None if it is none, and what it says."""
        if reply.status in TEMPORARY or reply.status >= 500:
            seconds = retry_after(reply.headers.get("retry-after"))
            if seconds is not None:
                self.connections.pause.extend(min(seconds, MAX_WAIT_SECONDS))
        value, trouble = None, ""
        try:
            value = read_json(reply.content)
            message = read_message(value) if reply.status == 200 else None
        except ValueError as error:
            message, trouble = None, str(error)
        if message is not None and message.finish_reason != "error":
            return value, message
        complaint = read_complaint(reply.status, value, reply.content)
        if message is not None or (trouble and reply.status == 200):
            why = trouble or "it stopped with an error (finish_reason: error)"
            return value, f"the response is no chat completion: {why}: {self._shown(complaint.words)}"
        return value, complaint

    def _answer(self, message: Message, requests: int) -> Answer:
        reason = message.finish_reason
        if message.refusal:
            raise NoAnswerError("refused", self.endpoint.redact(message.refusal))
        if reason in FILTERED:
            raise NoAnswerError("refused", f"a filter of the server stopped the answer (finish_reason: {reason})")
        if not message.text.strip() and reason in CUT_OFF:
            raise NoAnswerError("unusable", f"{self.cut_off(reason)}, before it began; raise max_tokens")
        if not message.text.strip() and reason in CALLS:
            raise NoAnswerError("unusable", f"the model calls a tool and says nothing (finish_reason: {reason})")
        text = self.endpoint.redact(message.text, SHORTEST_IN_ANSWERS)
        name = self.endpoint.redact(message.model or self.server.model)
        return Answer(text, name, *message.tokens, attempts=requests, finish_reason=reason)

    def cut_off(self, reason: str | None) -> str:
        return f"it was cut off at max_tokens={self.server.max_tokens} (finish_reason: {reason})"

    def _learned(self, complaint: Complaint, body: dict[str, Any]) -> bool:
        """Whether another attempt makes sense at once, without a parameter that the server refuses.

        Raises:
            NoAnswerError: The server refuses this request.
            ServerError: The server refuses all requests.
        """
        said, kind, extra = self._said(complaint), meaning(complaint), self.server.extra_body or {}
        where = self.dialect.where
        refused = refused_parameter(complaint, body.keys() - {"messages", "model"})
        if refused is not None:
            if refused not in extra and self.dialect.learn(refused, body, self._shown(complaint.words)):
                return True
            if kind is not Meaning.PASSING:
                raise ServerError(f"{where}: {said}{'; extra_body sets it' if refused in extra else ''}")
        if kind is Meaning.SERVER:
            raise ServerError(f"{where}: {said}")
        if kind is Meaning.TOKEN_LIMIT:
            raise ServerError(f"{where}: {said}; make max_tokens={self.server.max_tokens} smaller")
        if kind is Meaning.CONTEXT:
            raise NoAnswerError("refused", f"the prompt is too long for the model: {said}")
        if kind is Meaning.REQUEST:
            raise NoAnswerError("refused", said)
        return False

    def _said(self, complaint: Complaint) -> str:
        if complaint.status == 200:
            return f"the response is no chat completion: {self._shown(complaint.words)}"
        return f"HTTP {complaint.status}: {self._shown(complaint.words)}"

    def _shown(self, words: str) -> str:
        return self.endpoint.redact(words)[:MAX_WORDS]


__all__ = ["Answer", "ChatClient", "NoAnswerError", "Server", "ServerError"]
