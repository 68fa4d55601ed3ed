"""A Hub, and clients of it: each is a process of its own with an empty home, unless it is given that of another."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hub_client import client
from hub_repositories import Hub
from hub_server import serve

SUPPORT = Path(__file__).parent
# Before every client's code: the parts of the tests, and an error as text.
_START = f"""
import json, os, sys
sys.path.append({str(SUPPORT)!r})
def attempt(function, *arguments, **options):
    try:
        return function(*arguments, **options)
    except Exception as error:
        return f"{{type(error).__name__}}: {{error}}"
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve() as found:
        yield found


@pytest.fixture
def ask(hub: Hub, tmp_path: Path) -> Callable[..., Any]:
    """
    Run code as a client of `hub`; its last line is JSON, and the result.

    What was read once is in the cache of a home, and would be given to anybody: without `home`, it is a fresh one.
    """
    homes = iter(range(1000))

    def run(code: str, *arguments: object, home: str | None = None, **options: Any) -> Any:
        place = tmp_path / "homes" / (home or f"fresh-{next(homes)}")
        return client(hub.url, place, _START + code, *arguments, **options)

    return run


__all__ = ["ask", "hub"]
