"""Keys and passwords: read in one place, and taken out of every text that somebody may see."""

from __future__ import annotations

import base64
import json
import os
import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from ...settings import SettingError

# Servers without keys are given any word, such as "EMPTY". Shorter ones are not looked for in the answers of models,
# where they may be words of the answer; in the messages of servers nearly all are.
SHORTEST_IN_ANSWERS, SHORTEST_IN_MESSAGES = 8, 4


def read_key(variable: str) -> str | None:
    """The key in an environment variable, without the space and line breaks around it; None if there is none.

    Raises:
        SettingError: `variable` is no name of a variable, or the key has a character that cannot be sent. Neither is
            shown.
    """
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable):
        raise SettingError(
            "api_key_env: is not the name of an environment variable (letters, digits and _); put the key into a "
            "variable, and give its name"
        )
    key = os.environ.get(variable, "").strip()
    check_key(key, f"the key in the environment variable {variable}")
    return key or None


def check_key(key: str, name: str = "api_key: the key") -> None:
    """
    Raises:
        SettingError: The key cannot be sent in an HTTP header. It is not shown.
    """
    if key != key.strip() or not (key.isascii() and key.isprintable()):
        raise SettingError(
            f"{name} has a space at an end, a line break, or a character that is not ASCII, which no HTTP header may "
            "have: set it again without"
        )


def shown_url(url: str) -> str:
    """A URL as it may be shown: without the user and the password, and without the values of its query."""
    place, mark, query = url.partition("?")
    place = re.sub(r"^([a-zA-Z][a-zA-Z0-9+.-]*://)?.*@", r"\1***@", place, flags=re.DOTALL)
    return place + mark + re.sub(r"=[^&#]*", "=***", query)


@dataclass(frozen=True)
class Endpoint:
    """Where requests go, and what must not be seen of it.

    Attributes:
        url: Without user and password.
        shown: As messages name it.
        headers: With the key, or with user and password.
        secrets: All spellings of the key and of the password.
    """

    url: str
    shown: str
    headers: dict[str, str] = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)

    def path(self, name: str) -> str:
        """The URL of a part of the API, such as "chat/completions"."""
        parts = urlsplit(self.url)
        return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))

    def redact(self, text: str, shortest: int = SHORTEST_IN_MESSAGES) -> str:
        """A text without the secrets that have at least `shortest` characters."""
        for secret in self.secrets:
            if len(secret) >= shortest:
                text = text.replace(secret, "[key]")
        return text


def endpoint(base_url: str, api_key: str | None) -> Endpoint:
    """
    Raises:
        SettingError: The URL is none, or not one of http or https.
    """
    shown, url = shown_url(base_url), base_url.strip()
    wanted = "write the address of the API, such as http://127.0.0.1:8000/v1"
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", url) is None:
        raise SettingError(f"base_url={shown!r}: has no http:// or https:// at its start; {wanted}")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise SettingError(f"base_url={shown!r}: is no URL; {wanted}") from error
    if parts.scheme.lower() not in ("http", "https"):
        raise SettingError(f"base_url={shown!r}: {parts.scheme}:// is neither http:// nor https://; {wanted}")
    if not host or not url.isprintable() or " " in url:
        raise SettingError(f"base_url={shown!r}: is no URL, or has no host; {wanted}")
    headers, secrets = {}, [api_key] if api_key else []
    if parts.password:
        user, password = unquote(parts.username or ""), unquote(parts.password)
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        headers["Authorization"] = f"Basic {token}"
        secrets += [password, parts.password, token]
    if api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    secrets += [value for _, _, value in (part.partition("=") for part in parts.query.split("&")) if value]
    spellings = (text for secret in secrets for text in _spellings(secret))
    named = f"[{host}]" if ":" in host else host
    netloc = named if port is None else f"{named}:{port}"
    plain = urlunsplit(parts._replace(netloc=netloc, fragment=""))
    # The longest first: one may be a part of another.
    return Endpoint(plain, shown, headers, tuple(sorted(dict.fromkeys(spellings), key=len, reverse=True)))


def _spellings(secret: str) -> tuple[str, ...]:
    """As it is, as a text of JSON, where a slash may be escaped, and as a part of a URL."""
    text = json.dumps(secret)[1:-1]
    return secret, text, text.replace("/", "\\/"), quote(secret, safe="")


__all__ = ["SHORTEST_IN_ANSWERS", "Endpoint", "check_key", "endpoint", "read_key", "shown_url"]
