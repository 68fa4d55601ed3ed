"""The connections to a server, with the limits that all requests over them share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from ...extras import require
from .rate_limits import Budget, Pause, TokenBucket
from .server import Server, check_shared_limits

if TYPE_CHECKING:
    import httpx


class ServerConnections:
    """As many connections as a server takes requests at a time; use it inside `async with`, in one event loop.

    Attributes:
        requests, tokens: What may be sent per minute.
        budget: What the answers may cost.
        pause: Until when the server wants no request.
    """

    def __init__(self, server: Server) -> None:
        require("httpx", what="asking a server")
        self.concurrency = server.concurrency
        self.requests, self.tokens = TokenBucket(server.requests_per_minute), TokenBucket(server.tokens_per_minute)
        self.budget = Budget(server.budget)
        self.pause = Pause()

    async def __aenter__(self) -> ServerConnections:
        import httpx

        verify = httpx.create_ssl_context()
        # One client per connection: httpx goes through its whole pool several times per request, which at 64
        # connections took six times as long as everything else.
        self._clients = [httpx.AsyncClient(verify=verify) for _ in range(self.concurrency)]
        self._free: asyncio.LifoQueue[httpx.AsyncClient] = asyncio.LifoQueue()
        for client in self._clients:
            self._free.put_nowait(client)
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients:
            await client.aclose()

    @asynccontextmanager
    async def take(self) -> AsyncIterator[httpx.AsyncClient]:
        """Wait for a free connection, and hold it until the block ends."""
        client = await self._free.get()
        try:
            yield client
        finally:
            self._free.put_nowait(client)


@asynccontextmanager
async def connect(servers: Mapping[str, Server]) -> AsyncIterator[dict[str, ServerConnections]]:
    """Open the connections to servers; servers with one address get the same connections, and so share its limits.

    Args:
        servers: By name, for instance the name of what is asked there.

    Raises:
        SettingError: Two servers have one address and different limits.
    """
    check_shared_limits(servers)
    opened: dict[str, ServerConnections] = {}
    async with AsyncExitStack() as stack:
        for server in servers.values():
            if server.address not in opened:
                opened[server.address] = await stack.enter_async_context(ServerConnections(server))
        yield {name: opened[server.address] for name, server in servers.items()}


__all__ = ["ServerConnections", "connect"]
