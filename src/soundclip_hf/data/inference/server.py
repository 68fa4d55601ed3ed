"""A server that answers chat completions: its address, its limits, its answers, and its errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, fields
from itertools import combinations
from typing import Any, ClassVar

from ...settings import SettingError
from ...text_tables import check_writable
from .credentials import check_key, shown_url

# Parts of a request that are set elsewhere, or that would change the form of the reply.
NOT_IN_EXTRA_BODY = ("messages", "model", "n", "stream")


class ServerError(RuntimeError):
    """The server cannot be used at all: it cannot be reached, its address, key or model is wrong, or there is no money
    left. No further request is sent.
    """


class NoAnswerError(Exception):
    """A request has no answer: `reason` is "server", "refused", "unusable" or "budget"; `attempts` were sent."""

    def __init__(self, reason: str, detail: str, attempts: int = 0) -> None:
        super().__init__(detail)
        self.reason, self.attempts = reason, attempts


@dataclass(frozen=True, repr=False)
class ServerOptions:
    """A model on a server, and the limits of that server.

    The limits belong to the server: all models that are asked at one `base_url` at the same time share `concurrency`,
    `requests_per_minute`, `tokens_per_minute` and the budget.

    Attributes:
        base_url: Address of the API, up to and including `/v1`.
        model: Name of the model on the server.
        concurrency: Most requests in flight.
        timeout: Seconds to wait for one answer, from the request to its last byte.
        attempts: Most tries per request, the first one included.
        backoff: Seconds before the second try, doubled before each further one, and varied at random by up to a half.
        requests_per_minute, tokens_per_minute: Most that the client sends; None for no limit.
        max_tokens: Most tokens in one answer.
        seed: Sent with each request. Even so, servers do not promise the same answer twice.
        input_price, output_price: Price of a million tokens, in the currency of the budget.
        extra_body: More of each request, as JSON values by name, such as
            `{"chat_template_kwargs": {"enable_thinking": false}}`. It counts more than what is sent otherwise, and is a
            part of what identifies an answer.

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
    extra_body: dict[str, Any] | None = field(default=None, hash=False, repr=False)

    shared_limits: ClassVar[tuple[str, ...]] = ("concurrency", "requests_per_minute", "tokens_per_minute")

    def __post_init__(self) -> None:
        for name in ("concurrency", "attempts", "max_tokens"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name}={getattr(self, name)}: give at least 1")
        for name in ("requests_per_minute", "tokens_per_minute"):
            if (rate := getattr(self, name)) is not None and rate <= 0:
                raise SettingError(f"{name}={rate}: give a positive number, or leave it out for no limit")
        for name in ("base_url", "model"):
            try:
                check_writable(getattr(self, name))
            except ValueError as error:
                raise SettingError(f"{name}: {error}") from error
        if self.extra_body is not None:
            check_extra_body(self.extra_body)

    def __repr__(self) -> str:
        """Without keys, and without a password in the address."""
        shown = {one.name: getattr(self, one.name) for one in fields(self) if one.repr}
        shown["base_url"] = shown_url(self.base_url)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    @property
    def address(self) -> str:
        """`base_url` in one spelling: the same for two spellings of one address."""
        scheme, separator, rest = self.base_url.rstrip("/").partition("://")
        host, slash, path = rest.partition("/")
        return f"{scheme.lower()}{separator}{host.lower()}{slash}{path}"


@dataclass(frozen=True, repr=False)
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
        check_key(self.api_key or "")

    def parameters(self) -> dict[str, Any]:
        """The part of a request, beside the messages, that decides the answer. It identifies cached answers, also where
        a server takes it under other names.
        """
        own = {"model": self.model, "temperature": 0, "seed": self.seed, "max_tokens": self.max_tokens}
        return own | (self.extra_body or {})

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
        finish_reason: Why the model stopped, as the server says it; "length" is an answer that was cut off. It is not
            kept in caches.
    """

    text: str
    model: str
    input_tokens: int = 0
    output_tokens: int = 0
    attempts: int = 1
    finish_reason: str | None = None


def check_extra_body(extra: Mapping[str, Any]) -> None:
    """
    Raises:
        SettingError: It is no JSON object, or it has a part of a request that is set elsewhere.
    """
    try:
        if not isinstance(extra, Mapping):
            raise ValueError("is no JSON object")
        json.dumps(extra, allow_nan=False)
        check_writable(extra)
    except (TypeError, ValueError, RecursionError) as error:
        raise SettingError(f"extra_body: {error}; give JSON values by name, such as {{top_p: 0.9}}") from error
    if taken := [name for name in NOT_IN_EXTRA_BODY if name in extra]:
        raise SettingError(f"extra_body: {taken[0]} cannot be set here")


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
                    f"{shown_url(one.base_url)}, which has one {name}: give both the same value"
                )


__all__ = [
    "Answer",
    "NoAnswerError",
    "Server",
    "ServerError",
    "ServerOptions",
    "check_extra_body",
    "check_prices",
    "check_shared_limits",
]
