"""Fetches the bytes of an http(s) URL, in bounded time and memory, from addresses that the caller may reach."""

from __future__ import annotations

import base64
import http.client
import ipaddress
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from . import limits
from .errors import MediaError

_REDIRECTS = (301, 302, 303, 307, 308)
_IPV4_INSIDE = [ipaddress.ip_network(network) for network in ("64:ff9b::/96", "::/96", "::ffff:0:0:0/96")]
# What `ipaddress` calls global in some versions of Python, or always: IETF protocols and a cloud's metadata among them,
# relays, local NAT64, former site-local addresses, documentation; and Azure's service for the machines in it.
_NOT_PUBLIC = [
    ipaddress.ip_network(network)
    for network in ("192.0.0.0/24", "192.88.99.0/24", "64:ff9b:1::/48", "fec0::/10", "3fff::/20", "168.63.129.16/32")
]
_typed: ContextVar[bool] = ContextVar("typed", default=False)


@contextmanager
def typed_by_user() -> Iterator[None]:
    """Inside, the URLs that are opened were typed by whoever runs the program: they may name private addresses.

    Redirects to other hosts may not.
    """
    token = _typed.set(True)
    try:
        yield
    finally:
        _typed.reset(token)


def without_password(text: str) -> str:
    """A URL with *** for the password that it holds; other text as it is."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        return text
    place = rest.partition("/")[0].partition("?")[0].partition("#")[0]
    login, at, _ = place.rpartition("@")
    if not at:
        return text
    user, colon, _ = login.partition(":")
    return f"{scheme}://{user}:***@{rest[len(login) + 1 :]}" if colon else text


def fetch(url: str) -> bytes:
    """
    Raises:
        MediaError: The server does not send all of its answer in time, or answers with an error or with too much; or
            the URL, or what it redirects to, is not http(s), or is on a private network
            (`limits.ALLOW_PRIVATE_ADDRESSES`).
    """
    name, deadline = without_password(url), time.monotonic() + limits.URL_TIMEOUT_SECONDS
    try:
        trusted = (urlsplit(url).hostname or "").lower() if _typed.get() else None
        for _ in range(limits.MAX_REDIRECTS + 1):
            content, target = _get(url, deadline, trusted)
            if target is None:
                return content
            url = urljoin(url, target)
        raise MediaError(f"redirects more than {limits.MAX_REDIRECTS} times; pass the final address")
    except MediaError as error:
        where = "" if without_password(url) == name else f"is redirected to {without_password(url)}: "
        raise MediaError(f"{name}: {where}{error}") from error.__cause__
    except TimeoutError:
        raise MediaError(
            f"{name}: cannot be fetched (no answer within {limits.URL_TIMEOUT_SECONDS:g} s); check the address and the "
            f"network, or {limits.raised('URL_TIMEOUT_SECONDS')}"
        ) from None
    except urllib.error.HTTPError as error:
        error.close()
        raise MediaError(f"{name}: the server answered {error.code} {error.reason}; check the address") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = " ".join(str(getattr(error, "reason", error)).split()) or type(error).__name__
        # Errors about an address repeat it, with what it holds.
        login = urlsplit(url).netloc.rpartition("@")[0] if "@" in url else ""
        for secret in filter(None, (login, login.partition(":")[2])):
            reason = reason.replace(secret, "***")
        raise MediaError(f"{name}: cannot be fetched ({reason}); check the address and the network") from None


def _get(url: str, deadline: float, trusted: str | None) -> tuple[bytes, str | None]:
    """The content, or where the server redirects to."""
    parts = urlsplit(url)
    if parts.scheme.lower() not in ("http", "https"):
        raise MediaError(f"{parts.scheme}:// is not supported; pass a file, an http(s) URL or bytes")
    if not parts.hostname:
        raise MediaError("is a URL without a host; pass http://host/file")
    private = limits.ALLOW_PRIVATE_ADDRESSES or parts.hostname.lower() == trusted
    netloc = parts.netloc.rpartition("@")[2]
    request = urllib.request.Request(
        parts._replace(netloc=netloc, fragment="").geturl(), headers={"User-Agent": "soundclip-hf"}
    )
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(login).decode()}")
    guard = _Guard(deadline, private)
    opener = urllib.request.build_opener(_Http(guard), _Https(guard), _NoRedirect)
    try:
        with guard.watched(), opener.open(request, timeout=guard.left()) as response:
            return _read(response, guard), None
    except urllib.error.HTTPError as error:
        target = error.headers.get("Location")
        if error.code in _REDIRECTS and target:
            error.close()
            return b"", target
        raise
    except urllib.error.URLError as error:
        if isinstance(error.reason, (MediaError, TimeoutError)):
            raise error.reason from None
        if guard.expired:
            raise TimeoutError from None
        raise
    except (OSError, ValueError, AttributeError, http.client.HTTPException) as error:
        if guard.expired and not isinstance(error, MediaError):  # its socket was closed under the reader
            raise TimeoutError from None
        raise


def _read(response: Any, guard: _Guard) -> bytes:
    most = limits.MAX_FETCHED_BYTES
    too_much = f"more than {most} bytes; fetch it to a file, or {limits.raised('MAX_FETCHED_BYTES')}"
    if (response.length or 0) > most:
        raise MediaError(f"is {response.length} bytes, {too_much}")
    content = bytearray()
    while part := response.read(1 << 16):
        content += part
        if len(content) > most:
            raise MediaError(f"sends {too_much}")
    if guard.expired:
        raise TimeoutError
    if response.length:
        raise MediaError(
            f"the server ended its answer after {len(content)} of {len(content) + response.length} bytes; try again"
        )
    return bytes(content)


class _Guard:
    """Bounds one request: in time as a whole, and to the addresses that it may reach."""

    def __init__(self, deadline: float, private: bool) -> None:
        self.deadline, self.private, self.expired = deadline, private, False
        self.socket: socket.socket | None = None

    def left(self) -> float:
        """Seconds."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Close the socket at the deadline: a server that sends a byte now and then never lets a read time out."""
        timer = threading.Timer(self.left(), self._expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _expire(self) -> None:
        self.expired = True
        if self.socket is not None:
            with suppress(OSError):
                socket.socket.shutdown(self.socket, socket.SHUT_RDWR)

    def connect(self, host: str, port: int, proxied: bool) -> socket.socket:
        """Connect to an address that was checked: the name is looked up once, so that it cannot change in between."""
        failure: OSError | None = None
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            if not proxied:  # the proxy is the user's own choice
                self.check(host, str(address[0]))
            made = socket.socket(family, kind, protocol)
            try:
                made.settimeout(self.left())
                made.connect(address)
                self.socket = made
                return made
            except TimeoutError:
                made.close()
                raise
            except OSError as error:
                made.close()
                failure = error
        raise failure or OSError(f"{host} has no address")

    def check(self, host: str, address: str) -> None:
        """
        Raises:
            MediaError: The address is not one of the public internet, and that is not allowed.
        """
        if self.private or _is_public(address):
            return
        where = host if host == address else f"{host} ({address})"
        raise MediaError(
            f"{where} is not a public address; to allow URLs of this machine and its network, set "
            "SOUNDCLIP_ALLOW_PRIVATE_ADDRESSES=1 (environment) or "
            "soundclip_hf.media.limits.ALLOW_PRIVATE_ADDRESSES = True"
        )

    def check_name(self, host: str) -> None:
        """What can be checked of a host that a proxy looks up."""
        try:
            found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
        except OSError:
            return  # only the proxy knows the name
        for address in found:
            self.check(host, address)


def _is_public(address: str) -> bool:
    found: Any = ipaddress.ip_address(address.partition("%")[0])
    if found.version == 6:
        # An IPv4 address inside of an IPv6 one leads to the same place: mapped, 6to4, NAT64, translated.
        inner = found.ipv4_mapped or found.sixtofour
        if any(found in network for network in _IPV4_INSIDE):
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return _is_public(str(inner))
    return bool(found.is_global) and not found.is_multicast and not any(found in network for network in _NOT_PUBLIC)


def _connection(base: Any, guard: _Guard, proxied: bool) -> Any:
    """A class of connections that ask the guard for their socket."""

    class Connection(base):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            # Of all that connects, http.client leaves the socket alone to this.
            self._create_connection = lambda address, *_: guard.connect(address[0], address[1], proxied)

    return Connection


def _prepare(guard: _Guard, request: urllib.request.Request) -> bool:
    """Whether the request goes through a proxy; then its real host is checked here."""
    tunnel = getattr(request, "_tunnel_host", None)
    proxied = bool(tunnel) or request.has_proxy()
    if proxied:
        guard.check_name(urlsplit(request.full_url).hostname or "")
    return proxied


class _Http(urllib.request.HTTPHandler):
    def __init__(self, guard: _Guard) -> None:
        super().__init__()
        self.guard = guard

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        proxied = _prepare(self.guard, request)
        return self.do_open(_connection(http.client.HTTPConnection, self.guard, proxied), request)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, guard: _Guard) -> None:
        super().__init__()
        self.guard = guard

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        proxied = _prepare(self.guard, request)
        return self.do_open(_connection(http.client.HTTPSConnection, self.guard, proxied), request)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Redirects are followed one by one, each checked like the first address."""

    def redirect_request(self, *_: Any) -> None:
        return None
