"""One request over HTTP and its reply: with a deadline, a limit of size, and redirects without the key."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from .credentials import Endpoint
from .server import ServerError

if TYPE_CHECKING:
    import httpx

# A chat completion has kilobytes.
MAX_REPLY_BYTES = 16 << 20
MAX_REDIRECTS = 5
REDIRECTS = {301, 302, 307, 308}


class ReplyTooLargeError(Exception):
    """A reply that has more than MAX_REPLY_BYTES, after it was decompressed."""


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    content: bytes


async def exchange(
    http: httpx.AsyncClient, method: str, name: str, to: Endpoint, seconds: float, content: bytes | None = None
) -> Reply:
    """Send a request, and read its reply to the end.

    Redirects are followed with the same method and content. The key goes along to the same host alone.

    Args:
        name: The part of the API, such as "chat/completions".
        seconds: For all of it, however the server divides it.
        content: JSON.

    Raises:
        TimeoutError: The deadline has passed.
        ReplyTooLargeError: The reply has more than MAX_REPLY_BYTES.
        ServerError: The server redirects without end, or to what is not http or https.
        httpx.HTTPError, OSError, ValueError: The connection failed, or the reply breaks the rules of HTTP.
    """
    url, headers = to.path(name), dict(to.headers)
    if content is not None:
        headers["Content-Type"] = "application/json"
    async with asyncio.timeout(seconds):
        for _ in range(MAX_REDIRECTS + 1):
            request = http.build_request(method, url, content=content, headers=headers, timeout=seconds)
            response = await http.send(request, stream=True)
            try:
                target = response.headers.get("location") if response.status_code in REDIRECTS else None
                if target is None:
                    return Reply(response.status_code, response.headers, await _read(response))
            finally:
                await response.aclose()
            following = urljoin(url, target)
            if urlsplit(following).scheme not in ("http", "https"):
                raise ServerError(f"{to.shown}: redirects to {to.redact(target)[:200]!r}, which is not http or https")
            if not _same_host(url, following):
                headers.pop("Authorization", None)
            url = following
    raise ServerError(f"{to.shown}: redirects more than {MAX_REDIRECTS} times")


async def _read(response: httpx.Response) -> bytes:
    content = bytearray()
    # Compressed twice, a few bytes can become more than any memory holds before they are counted.
    if "," in response.headers.get("content-encoding", ""):
        raise ValueError("the reply is compressed more than once")
    async for part in response.aiter_bytes():
        content += part
        if len(content) > MAX_REPLY_BYTES:
            raise ReplyTooLargeError(f"the reply has more than {MAX_REPLY_BYTES >> 20} MiB")
    return bytes(content)


def _same_host(one: str, other: str) -> bool:
    """Whether a key for the one may be sent to the other. From http to https on one host it may, but not back."""
    places = []
    for url in (one, other):
        parts = urlsplit(url)
        places.append((parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme.lower()]))
    if places[0] == places[1]:
        return True
    return places[0] == ("http", places[1][1], 80) and places[1] == ("https", places[0][1], 443)


__all__ = ["MAX_REPLY_BYTES", "Reply", "ReplyTooLargeError", "exchange"]
