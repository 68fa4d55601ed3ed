"""How fast and how much a client may ask: a token bucket, a pause that all requests share, and a budget."""

from __future__ import annotations

import asyncio
import datetime
import email.utils
import time
from collections.abc import Callable
from dataclasses import dataclass


class TokenBucket:
    """Lets `per_minute` units through, evenly, with bursts of at most `burst_seconds` worth of them.

    Args:
        per_minute: Units per minute; None means no limit.
        burst_seconds: What may be saved up while nothing is asked.
        clock: Seconds that only go up.
    """

    def __init__(
        self, per_minute: float | None, burst_seconds: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if per_minute is not None and per_minute <= 0:
            raise ValueError(f"per_minute={per_minute}: pass a positive rate, or None for no limit")
        self.rate = None if per_minute is None else per_minute / 60
        self.capacity = burst_seconds * (self.rate or 0)
        self.clock, self.level, self.last = clock, self.capacity, clock()

    def reserve(self, units: float = 1.0) -> float:
        """Take units, and return the seconds to wait before using them; more than a burst just waits longer."""
        if self.rate is None:
            return 0.0
        now = self.clock()
        self.level = min(self.capacity, self.level + (now - self.last) * self.rate) - units
        self.last = now
        return max(0.0, -self.level / self.rate)

    async def take(self, units: float = 1.0) -> None:
        if (wait := self.reserve(units)) > 0:
            await asyncio.sleep(wait)


class Pause:
    """A moment before which nobody asks: a server that says "later" means all requests, not only the one it refused."""

    def __init__(self) -> None:
        self.until = 0.0

    def extend(self, seconds: float) -> None:
        self.until = max(self.until, time.monotonic() + seconds)

    async def over(self) -> None:
        while (wait := self.until - time.monotonic()) > 0:
            await asyncio.sleep(wait)


@dataclass
class Budget:
    """What answers cost, in the currency of the prices.

    Attributes:
        limit: None means no limit.
        input_price, output_price: Per million tokens.
        spent: Of answers that came.
        reserved: Upper estimate for answers that have not come yet.
    """

    limit: float | None = None
    input_price: float = 0.0
    output_price: float = 0.0
    spent: float = 0.0
    reserved: float = 0.0

    def cost(self, input_tokens: int, output_tokens: int) -> float:
        return (input_tokens * self.input_price + output_tokens * self.output_price) / 1e6

    def reserve(self, input_tokens: int, output_tokens: int) -> float | None:
        """Set aside what an answer may cost at most; None if that could exceed the limit."""
        cost = self.cost(input_tokens, output_tokens)
        if self.limit is not None and self.spent + self.reserved + cost > self.limit:
            return None
        self.reserved += cost
        return cost

    def settle(self, reserved: float, input_tokens: int = 0, output_tokens: int = 0) -> None:
        """Replace a reservation by what the answer did cost."""
        self.reserved -= reserved
        self.spent += self.cost(input_tokens, output_tokens)


def retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, as a number or a date; None if it does not say."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return max(0.0, (moment - datetime.datetime.now(datetime.UTC)).total_seconds())


__all__ = ["Budget", "Pause", "TokenBucket", "retry_after"]
