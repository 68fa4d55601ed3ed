"""Fetches the bytes of an http(s) URL."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request

from . import limits
from .errors import MediaError


def fetch(url: str) -> bytes:
    """
    Raises:
        MediaError: The server does not answer in time, or answers with an error.
    """
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "soundclip-hf"})
        with urllib.request.urlopen(request, timeout=limits.URL_TIMEOUT_SECONDS) as response:
            return response.read()
    except urllib.error.HTTPError as error:
        raise MediaError(f"{url}: the server answered {error.code} {error.reason}; check the address") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            reason = f"no answer within {limits.URL_TIMEOUT_SECONDS:g} s"
        raise MediaError(f"{url}: cannot be fetched ({reason}); check the address and the network") from error
