"""A server that answers chat completions: its address, its limits, its answers, and its errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from itertools import combinations
from typing import Any, ClassVar

from ...settings import SettingError


class ServerError(RuntimeError):
    """The server cannot be used at all: its address, the key or the model is wrong. No further request is sent."""


class NoAnswerError(Exception):
    """One request has no answer. `reason` is "server", "refused" or "budget"; `attempts` counts what was sent."""

    def __init__(self, reason: str, detail: str, attempts: int = 0) -> None:
        super().__init__(detail)
        self.reason, self.attempts = reason, attempts


@dataclass(frozen=True)
class ServerOptions:
    """A model on a server, and the limits of that server.

    The limits belong to the server: all models that are asked at one `base_url` at the same time share `concurrency`,
    `requests_per_minute`, `tokens_per_minute` and the budget.

    Attributes:
        base_url: Address of the API, up to and including `/v1`.
        model: Name of the model on the server.
        concurrency: Most requests in flight.
        timeout: Seconds to wait for one answer.
        attempts: Most tries per request, the first one included.
        backoff: Seconds before the second try, doubled before each further one, and varied at random by up to a half.
        requests_per_minute, tokens_per_minute: Most that the client sends; None for no limit.
        max_tokens: Most tokens in one answer.
        seed: Sent with each request. Even so, servers do not promise the same answer twice.
        input_price, output_price: Price of a million tokens, in the currency of the budget.

    Raises:
        SettingError: A value is out of range.
    """

    base_url: str
    model: str
    _: KW_ONLY
    concurrency: int = 8
    timeout: float = 120.0
    attempts: int = 6
    backoff: float = 1.0
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    max_tokens: int = 1024
    seed: int = 0
    input_price: float = 0.0
    output_price: float = 0.0

    shared_limits: ClassVar[tuple[str, ...]] = ("concurrency", "requests_per_minute", "tokens_per_minute")

    def __post_init__(self) -> None:
        for name in ("concurrency", "attempts", "max_tokens"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name}={getattr(self, name)}: give at least 1")
        for name in ("requests_per_minute", "tokens_per_minute"):
            if (rate := getattr(self, name)) is not None and rate <= 0:
                raise SettingError(f"{name}={rate}: give a positive number, or leave it out for no limit")

    @property
    def address(self) -> str:
        """`base_url` in one spelling: the same for two spellings of one address."""
        scheme, separator, rest = self.base_url.rstrip("/").partition("://")
        host, slash, path = rest.partition("/")
        return f"{scheme.lower()}{separator}{host.lower()}{slash}{path}"


@dataclass(frozen=True)
class Server(ServerOptions):
    """A model on a server, as a client needs it.

    Attributes:
        api_key: Sent as a bearer token. It is never shown.
        budget: Most that the answers of the server may cost, those of earlier runs with the same cache included. It
            needs the prices.

    Raises:
        SettingError: A value is out of range, there is a budget without prices, or the key cannot be sent.
    """

    api_key: str | None = field(default=None, repr=False)
    budget: float | None = field(default=None, kw_only=True)

    shared_limits: ClassVar[tuple[str, ...]] = (*ServerOptions.shared_limits, "budget")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_prices(self, "budget")
        key = self.api_key or ""
        if key != key.strip() or not (key.isascii() and key.isprintable()):
            raise SettingError(
                "api_key: the key has a space at an end, a line break, or a character that is not ASCII, which no HTTP "
                "header may have: set it again without"
            )

    def parameters(self) -> dict[str, Any]:
        """The part of a request, beside the messages, that decides the answer."""
        return {"model": self.model, "temperature": 0, "seed": self.seed, "max_tokens": self.max_tokens}

    def cost(self, input_tokens: int, output_tokens: int) -> float:
        return (input_tokens * self.input_price + output_tokens * self.output_price) / 1e6


@dataclass(frozen=True)
class Answer:
    """The answer of a model to one request.

    Attributes:
        text: As the model wrote it.
        model: Name of the model in the answer, with the server's fingerprint if there is one.
        input_tokens, output_tokens: As the server counts them.
        attempts: Requests that were sent for it.
    """

    text: str
    model: str
    input_tokens: int = 0
    output_tokens: int = 0
    attempts: int = 1


def check_prices(server: ServerOptions, name: str) -> None:
    """
    Args:
        name: Attribute that holds the budget.

    Raises:
        SettingError: There is a budget, but no price.
    """
    budget = getattr(server, name)
    if budget is not None and not (server.input_price or server.output_price):
        raise SettingError(f"{name}={budget:g} needs input_price and output_price, per million tokens")


def check_shared_limits(servers: Mapping[str, ServerOptions]) -> None:
    """Check that whatever is asked at one address states the same limits for it.

    Args:
        servers: By the name that the error gives them.

    Raises:
        SettingError: Two of them have one address and different limits, or one model there has different prices.
    """
    for (first, one), (second, other) in combinations(servers.items(), 2):
        if one.address != other.address:
            continue
        names = one.shared_limits + (("input_price", "output_price") if one.model == other.model else ())
        for name in names:
            values = getattr(one, name), getattr(other, name)
            if values[0] != values[1]:
                raise SettingError(
                    f"{first} has {name}={values[0]} and {second} has {name}={values[1]}, but both ask "
                    f"{one.base_url}, which has one {name}: give both the same value"
                )


__all__ = [
    "Answer",
    "NoAnswerError",
    "Server",
    "ServerError",
    "ServerOptions",
    "check_prices",
    "check_shared_limits",
]
