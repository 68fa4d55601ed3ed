"""The connections to a server, with the limits that all requests over them share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from ...extras import require
from ...settings import SettingError
from .complaints import Dialect
from .credentials import endpoint
from .rate_limits import Budget, Pause, TokenBucket
from .replies import MAX_WORDS, read_complaint, read_json
from .server import Server, ServerError, check_shared_limits
from .transport import ReplyTooLargeError, exchange

if TYPE_CHECKING:
    import httpx

# To find out whether a server is there. One that is just starting gets a second and a third try.
REACH_SECONDS, REACH_ATTEMPTS, REACH_PAUSE = 10.0, 3, 0.5


class ServerConnections:
    """As many connections as a server takes requests at a time; use it inside `async with`, in one event loop.

    Attributes:
        requests, tokens: What may be sent per minute.
        budget: What the answers may cost.
        pause: Until when the server wants no request.
        endpoint: Where requests go.

    Raises:
        ServerError: `base_url` is no URL of http or https.
    """

    def __init__(self, server: Server) -> None:
        require("httpx", what="asking a server")
        try:
            self.endpoint = endpoint(server.base_url, server.api_key)
        except SettingError as error:
            raise ServerError(str(error)) from error
        self.concurrency = server.concurrency
        self.requests, self.tokens = TokenBucket(server.requests_per_minute), TokenBucket(server.tokens_per_minute)
        self.budget = Budget(server.budget)
        self.pause = Pause()
        self._seconds = min(server.timeout, REACH_SECONDS)
        self._dialects: dict[str, Dialect] = {}
        self._reached, self._reaching = False, asyncio.Lock()
        self._problem: ServerError | None = None

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

    def dialect(self, model: str) -> Dialect:
        """What was learned about a model of this server, for all who ask it."""
        return self._dialects.setdefault(model, Dialect(f"{self.endpoint.shown}, model {model}"))

    async def reach(self, http: httpx.AsyncClient) -> None:
        """Find out, once for these connections, whether the server is there, by its list of models (`GET /models`).

        This costs nothing. Whatever the server replies shows that it is there: many have no such list, or give it to
        nobody. Only a key that is wrong (401) and a missing payment (402) say that no request will succeed. No
        completion is asked for: it would be billed, and the first request tells the same.

        Raises:
            ServerError: The server cannot be reached, or it says that nothing can be asked.
        """
        async with self._reaching:
            if self._problem is not None:
                raise self._problem
            if self._reached:
                return
            try:
                await self._reach(http)
            except ServerError as error:
                self._problem = error
                raise
            self._reached = True

    async def _reach(self, http: httpx.AsyncClient) -> None:
        import httpx

        said = ""
        for attempt in range(REACH_ATTEMPTS):
            if attempt:
                await asyncio.sleep(REACH_PAUSE)
            try:
                reply = await exchange(http, "GET", "models", self.endpoint, self._seconds)
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
                said = self.endpoint.redact(" ".join(str(error).split()) or type(error).__name__)
                continue
            except (httpx.HTTPError, OSError, ValueError, EOFError, ReplyTooLargeError):
                return  # somebody is there
            if reply.status in (401, 402):
                try:
                    value = read_json(reply.content)
                except ValueError:
                    value = None
                words = self.endpoint.redact(read_complaint(reply.status, value, reply.content).words)
                raise ServerError(f"{self.endpoint.shown}: HTTP {reply.status}: {words[:MAX_WORDS]}")
            return
        raise ServerError(f"{self.endpoint.shown}: cannot be reached ({said}); start the server, or set base_url to it")


async def check_servers(servers: Iterable[Server]) -> None:
    """Find out whether servers are there before much else is done: see `ServerConnections.reach`.

    Raises:
        ServerError: One of them cannot be asked.
    """
    for server in {(server.address, server.api_key): server for server in servers}.values():
        async with ServerConnections(replace(server, concurrency=1)) as connections, connections.take() as http:
            await connections.reach(http)


@asynccontextmanager
async def connect(servers: Mapping[str, Server]) -> AsyncIterator[dict[str, ServerConnections]]:
    """Open the connections to servers; servers with one address get the same connections, and so share its limits.

    Args:
        servers: By name, for instance the name of what is asked there.

    Raises:
        SettingError: Two servers have one address and different limits.
        ServerError: An address is no URL of http or https.
    """
    check_shared_limits(servers)
    opened: dict[str, ServerConnections] = {}
    async with AsyncExitStack() as stack:
        for server in servers.values():
            if server.address not in opened:
                opened[server.address] = await stack.enter_async_context(ServerConnections(server))
        yield {name: opened[server.address] for name, server in servers.items()}


__all__ = ["ServerConnections", "check_servers", "connect"]
