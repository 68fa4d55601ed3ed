"""The HTTP side of the server: some routes of transformers' application, with errors in OpenAI's form."""

import json
import signal
import socket
import traceback
from collections.abc import Callable
from typing import Any

from ..extras import require
from .chat_requests import RequestError
from .handler import ChatHandler

require("fastapi", "openai", "uvicorn", what="serving a model")
import uvicorn  # noqa: E402
from fastapi import FastAPI, Request  # noqa: E402
from fastapi.exceptions import RequestValidationError  # noqa: E402
from fastapi.responses import Response  # noqa: E402
from transformers.cli.serving.server import build_server  # noqa: E402

# Of transformers' routes: the others answer without sound, or load other models.
ROUTES = ("/v1/chat/completions", "/v1/models", "/health")
# Seconds that running answers have to end when the server is stopped.
GRACE_SECONDS = 5


def build_app(handler: ChatHandler, most_bytes: int) -> FastAPI:
    """
    The application of a server.

    Args:
        handler: Answers the chat requests.
        most_bytes: Of the body of a request; a larger one is answered with 413.
    """
    unused: Any = None
    app = build_server(handler.served, handler, unused, unused, unused, unused, handler.generation_state)
    app.router.routes[:] = [route for route in app.router.routes if getattr(route, "path", None) in ROUTES]
    app.add_exception_handler(RequestError, _on_request_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_json)
    app.add_exception_handler(400, _on_unreadable_body)
    app.add_exception_handler(404, _on_unknown_path)
    app.add_exception_handler(405, _on_unknown_path)
    app.add_exception_handler(Exception, _on_any_error)
    app.add_middleware(_BodyLimit, most_bytes=most_bytes)
    return app


def _answer(error: RequestError) -> Response:
    # In ASCII: half a surrogate pair, which a request may hold, has no UTF-8.
    return Response(json.dumps(error.body()), status_code=error.status, media_type="application/json")


async def _on_request_error(request: Request, error: Any) -> Response:
    return _answer(error)


async def _on_invalid_json(request: Request, error: Any) -> Response:
    reasons = "; ".join(str(one.get("msg")) for one in error.errors())
    return _answer(RequestError(f"the body of the request is not a JSON object ({reasons})"))


async def _on_unreadable_body(request: Request, error: Any) -> Response:
    return _answer(RequestError(f"the body of the request cannot be read ({error.detail})"))


async def _on_unknown_path(request: Request, error: Any) -> Response:
    asked = f"{request.method} {request.url.path}"
    known = "POST /v1/chat/completions, GET /v1/models and GET /health"
    return _answer(RequestError(f"{asked}: this server has {known}", status=error.status_code))


async def _on_any_error(request: Request, error: Exception) -> Response:
    reason = "".join(traceback.format_exception_only(error)).strip()
    return _answer(RequestError(f"the server failed ({reason})", status=500))


class _BodyLimit:
    """
    Reads the body of a request before the application does, and answers one that is too large itself.

    The rest of such a body is read and thrown away, up to a limit: a client that still sends would not see the answer.
    """

    def __init__(self, app: Any, most_bytes: int) -> None:
        self.app, self.most_bytes = app, most_bytes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body, size = bytearray(), 0
        while True:
            message = await receive()
            if message["type"] != "http.request":  # the client has gone
                return
            part = message.get("body", b"")
            size += len(part)
            if size <= self.most_bytes:
                body += part
            elif size > 16 * self.most_bytes:
                break
            if not message.get("more_body"):
                break
        if size > self.most_bytes:
            error = RequestError(
                f"the body of the request has more than {self.most_bytes} bytes (--max-request-mib); send a URL in "
                "place of a large file",
                status=413,
                code="request_too_large",
            )
            await _answer(error)(scope, receive, send)
            return
        whole = {"type": "http.request", "body": bytes(body), "more_body": False}
        waiting = [whole]

        async def replay() -> Any:
            return waiting.pop() if waiting else await receive()

        await self.app(scope, replay, send)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, handler: ChatHandler, on_start: Callable[[], None]) -> None:
        super().__init__(config)
        self.handler, self.on_start = handler, on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.on_start()

    def handle_exit(self, sig: int, frame: Any) -> None:
        # Uvicorn itself would raise the signal once more in the end, and the command would end as one that was cut off.
        self.handler.stopping.set()
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


def run(handler: ChatHandler, where: socket.socket, most_bytes: int, on_start: Callable[[], None]) -> None:
    """
    Serve until Ctrl-C or a signal to end.

    Args:
        handler: Answers the chat requests.
        where: Of `listening.listen`.
        most_bytes: As in `build_app`.
        on_start: Called when requests are answered.
    """
    config = uvicorn.Config(
        build_app(handler, most_bytes),
        log_config=None,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    _Server(config, handler, on_start).run(sockets=[where])


__all__ = ["ROUTES", "build_app", "run"]
