"""A server on 127.0.0.1 that answers chat completions as a test tells it to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from soundclip_hf.data.ave2.schema import DIMENSIONS, SOURCES


def good(scores: list[int | None] | None = None, **changes: Any) -> dict[str, Any]:
    """An answer that fits the schema."""
    scores = scores or [8, 9, 7, 10, 8]
    answer: dict[str, Any] = {
        name: {"reason": f"because of {name}", "score": score} for name, score in zip(DIMENSIONS, scores)
    }
    answer |= dict(zip(SOURCES, (["dog"], [], ["chair"])))
    return answer | {"audio_visual_label": "a dog barks"} | changes


def completion(answer: Any, finish: str = "stop", **message: Any) -> tuple[int, dict[str, str], Any]:
    text = answer if isinstance(answer, str) else json.dumps(answer)
    return (
        200,
        {},
        {
            "model": "judge-1",
            "system_fingerprint": "fp",
            "choices": [{"finish_reason": finish, "message": {"role": "assistant", "content": text} | message}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 50},
        },
    )


class Asked:
    """What the server was asked, in order, and how many requests were open at once."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.gets: list[str] = []
        self.open = self.most = 0
        self.lock = threading.Lock()
        self.url = ""


@contextmanager
def chat_server(
    reply: Callable[[int, dict[str, Any]], Any], models: Callable[[], Any] = lambda: (501, {}, "no such list")
) -> Iterator[Asked]:
    """Serve `reply(number of the request, body)`: a `(status, headers, value)`, or None to drop the connection.

    Args:
        reply: The value is JSON, a text, bytes, or an iterator of bytes that are sent as they come.
        models: The same for `GET`.
    """
    asked = Asked()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are two writes: the client would wait 40 ms for the second

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with asked.lock:
                number = len(asked.bodies)
                asked.bodies.append(body)
                asked.headers.append(dict(self.headers))
                asked.times.append(time.monotonic())
                asked.open += 1
                asked.most = max(asked.most, asked.open)
            answer = reply(number, body)
            with asked.lock:
                asked.open -= 1
            self.answer(answer)

        def do_GET(self) -> None:
            asked.gets.append(self.path)
            self.answer(models())

        def answer(self, answer: Any) -> None:
            if answer is None:
                self.close_connection = True
                return
            status, headers, value = answer
            if isinstance(value, Iterator):
                self.close_connection = True
                self.send_response(status)
                self.end_headers()
                for part in value:
                    self.wfile.write(part)
                    self.wfile.flush()
                return
            text = value if isinstance(value, (str, bytes)) else json.dumps(value)
            content = text.encode() if isinstance(text, str) else text
            self.send_response(status)
            for name, text in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_: object) -> None:  # a client that gave up is no news
            pass

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    asked.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
