"""Limits of a client: a rate (as a token bucket), a pause, and a budget."""

from __future__ import annotations

import asyncio
import datetime
import email.utils
import time
from collections.abc import Callable
from dataclasses import dataclass


class TokenBucket:
    """Limits a rate, such as that of requests or of tokens, and allows short bursts.

    Args:
        per_minute: Units per minute; None for no limit.
        burst_seconds: Length of a burst: units that were not used within this time are lost.
        clock: A monotonic clock, in seconds.

    Raises:
        ValueError: `per_minute` is not positive.
    """

    def __init__(
        self, per_minute: float | None, burst_seconds: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if per_minute is not None and per_minute <= 0:
            raise ValueError(f"per_minute={per_minute}: pass a positive rate, or None for no limit")
        self.rate = None if per_minute is None else per_minute / 60
        self.capacity = burst_seconds * (self.rate or 0)
        # Empty at first: the many short runs of a build would otherwise each begin with a burst.
        self.clock, self.level, self.last = clock, 0.0, clock()

    def reserve(self, units: float = 1.0) -> float:
        """Take units, and return the seconds to wait before using them. More units than a burst has wait longer."""
        if self.rate is None:
            return 0.0
        now = self.clock()
        self.level = min(self.capacity, self.level + (now - self.last) * self.rate) - units
        self.last = now
        return max(0.0, -self.level / self.rate)

    async def take(self, units: float = 1.0) -> None:
        """Take units, and wait until they may be used."""
        if (wait := self.reserve(units)) > 0:
            await asyncio.sleep(wait)


class Pause:
    """A time until which no request is sent: a server that says "later" means all requests, not only one."""

    def __init__(self) -> None:
        self.until = 0.0

    def extend(self, seconds: float) -> None:
        self.until = max(self.until, time.monotonic() + seconds)

    async def wait(self) -> None:
        while (seconds := self.until - time.monotonic()) > 0:
            await asyncio.sleep(seconds)


@dataclass
class Budget:
    """The money that answers may cost.

    Attributes:
        limit: None for no limit.
        spent: Cost of the answers that have come.
        reserved: Most that the answers to requests in flight can cost.
    """

    limit: float | None = None
    spent: float = 0.0
    reserved: float = 0.0

    def reserve(self, cost: float) -> bool:
        """Set aside the most that an answer can cost; False, and nothing set aside, if that could exceed the limit."""
        if self.limit is not None and self.spent + self.reserved + cost > self.limit:
            return False
        self.reserved += cost
        return True

    def settle(self, reserved: float, cost: float) -> None:
        """Replace what was set aside for an answer by what the answer cost."""
        self.reserved -= reserved
        self.spent += cost


def retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, given as a number or as a date; None if it is missing or neither."""
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
