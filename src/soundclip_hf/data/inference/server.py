"""A server that answers chat completions: where it is, what it may cost, what it says, and how it fails."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class ServerError(RuntimeError):
    """The server cannot be used at all: wrong address, key or model. Nothing more is asked."""


class NoAnswerError(Exception):
    """This request got no answer; `reason` is "server", "refused" or "budget", `attempts` how often it was sent."""

    def __init__(self, reason: str, detail: str, attempts: int = 0) -> None:
        super().__init__(detail)
        self.reason, self.attempts = reason, attempts


@dataclass(frozen=True)
class Server:
    """Where and how to ask.

    Attributes:
        base_url: Up to and including /v1.
        model: As the server calls it.
        api_key: Sent as a bearer token; never shown.
        concurrency: Requests at a time.
        timeout: Seconds for one answer.
        attempts: Tries per request before it is given up, the first included.
        backoff: Seconds before the second try; doubled for each further one, with jitter.
        requests_per_minute, tokens_per_minute: Limits that the client keeps by itself; None means none.
        max_tokens: Of an answer.
        seed: Sent along; servers promise at most "mostly" the same answer.
        budget: Most that all answers together may cost, those of earlier runs with the same cache included; needs
            prices.
        input_price, output_price: Per million tokens.
    """

    base_url: str
    model: str
    api_key: str | None = field(default=None, repr=False)
    concurrency: int = 8
    timeout: float = 120.0
    attempts: int = 6
    backoff: float = 1.0
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    max_tokens: int = 1024
    seed: int = 0
    budget: float | None = None
    input_price: float = 0.0
    output_price: float = 0.0

    def parameters(self) -> dict[str, Any]:
        """What, beside the messages, decides the answer."""
        return {"model": self.model, "temperature": 0, "seed": self.seed, "max_tokens": self.max_tokens}


@dataclass(frozen=True)
class Answer:
    """What a model said.

    Attributes:
        text: As the model wrote it.
        model: As the server names itself, with its fingerprint if it has one.
        input_tokens, output_tokens: As the server counts them.
        attempts: Requests that it took.
    """

    text: str
    model: str
    input_tokens: int = 0
    output_tokens: int = 0
    attempts: int = 1


__all__ = ["Answer", "NoAnswerError", "Server", "ServerError"]
