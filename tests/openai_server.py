"""A small server that speaks OpenAI's protocol as told: what goes wrong is scripted, request by request.

A script is a row of behaviours, one for each POST in the order of arrival; the last one repeats.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Behaviour:
    """What one request gets: so many tokens, each in a piece; or a status; or an end that comes too early."""

    status: int = 200
    tokens: int = 4
    usage: dict[str, Any] | None = field(default_factory=lambda: {"prompt_tokens": 7})  # None: no usage at all
    reasoning: int = 0  # of the tokens, the first so many
    closed_after: int | None = None  # pieces, then the connection ends
    error_after: int | None = None  # pieces, then an error in the stream
    raw: bytes | None = None  # sent instead of pieces
    trickle_s: float = 0.0  # between two bytes of raw
    content_type: str = "text/event-stream"
    token_s: float = 0.0
    done: bool = True
    headers: tuple[tuple[str, str], ...] = ()
    text: str = " tok"


@dataclass
class FakeServer:
    """Where it is, and what it was asked."""

    base_url: str
    asked: list[dict[str, Any]]
    headers: list[dict[str, str]]


@contextmanager
def fake_server(
    script: Sequence[Behaviour] = (Behaviour(),), health: int = 200, health_trickle_s: float = 0.0
) -> Iterator[FakeServer]:
    """A server on a free port of the loopback interface; where its health trickles, a header of it never ends."""
    asked: list[dict[str, Any]] = []
    seen: list[dict[str, str]] = []
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Quiet."""

        def do_GET(self) -> None:
            if health_trickle_s:
                trickle(self, b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200, health_trickle_s)
                return
            body = json.dumps({"data": [{"id": "fake-model"}]}).encode()
            self.send_response(health if self.path == "/health" else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                behaviour = script[min(len(asked), len(script) - 1)]
                asked.append(content)
                seen.append(dict(self.headers))
            try:
                answer(self, behaviour, chat="chat" in self.path)
            except OSError:
                return  # the client went away

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield FakeServer(f"http://127.0.0.1:{server.server_address[1]}", asked, seen)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answer(handler: BaseHTTPRequestHandler, behaviour: Behaviour, chat: bool) -> None:
    """One answer, as told."""
    handler.send_response(behaviour.status)
    for name, value in behaviour.headers:
        handler.send_header(name, value)
    if behaviour.status != 200:
        body = b'{"error": "told to"}'
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)
        return
    handler.send_header("Content-Type", behaviour.content_type)
    handler.end_headers()
    if behaviour.raw is not None:
        trickle(handler, behaviour.raw, behaviour.trickle_s)
        return
    for index in range(behaviour.tokens):
        if index == behaviour.closed_after:
            return
        if index == behaviour.error_after:
            send(handler, {"error": {"message": "out of memory"}})
            return
        if behaviour.token_s:
            time.sleep(behaviour.token_s)
        key = "reasoning_content" if index < behaviour.reasoning else "content"
        choice: dict[str, Any] = {"index": 0, "delta": {key: behaviour.text}} if chat else {"text": behaviour.text}
        send(handler, {"choices": [choice | {"finish_reason": None}]})
    send(handler, {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]})
    if behaviour.usage is not None:
        usage = {"completion_tokens": behaviour.tokens} | behaviour.usage
        send(handler, {"choices": [], "usage": usage})
    if behaviour.done:
        handler.wfile.write(b"data: [DONE]\n\n")


def trickle(handler: BaseHTTPRequestHandler, content: bytes, byte_s: float) -> None:
    """A byte at a time; at once where that takes none."""
    if not byte_s:
        handler.wfile.write(content)
        return
    with suppress(OSError):  # the client went away
        for byte in content:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            time.sleep(byte_s)


def send(handler: BaseHTTPRequestHandler, event: dict[str, Any]) -> None:
    """One event of the stream."""
    handler.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
    handler.wfile.flush()
