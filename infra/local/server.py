"""The gateway behind a socket: a small ASGI application, and uvicorn to serve it."""

from __future__ import annotations

import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio.to_thread
import uvicorn

from infra.local.gateway import PAYLOAD_MAX_BYTES, Answer, Gateway, Request

HEALTH: Final = "/health"
"""It answers 200 as soon as everything is ready. It and what `Own` answers are the only paths not the template's."""
CONCURRENT_MAX: Final = 64
BACKLOG: Final = 256
STOP_TIMEOUT_S: Final = 5

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Own = Callable[[str, str, bytes], Answer | None]
"""Answers (method, path, body) where the path is the local cloud's own."""


class Application:
    """ASGI: collects a request, lets the gateway answer it in a thread, sends the answer."""

    def __init__(self, gateway: Gateway, own: Own) -> None:
        self._gateway, self._own = gateway, own
        self._threads: anyio.CapacityLimiter | None = None

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self._threads = self._threads or anyio.CapacityLimiter(CONCURRENT_MAX)
        if scope["type"] != "http":
            raise RuntimeError(f"only HTTP is served, not {scope['type']}")
        if scope["path"] == HEALTH:
            answer = Answer(200, [("content-type", "application/json")], json.dumps({"status": "ok"}).encode())
        else:
            request = _request(scope, await _body(receive))
            answer = await anyio.to_thread.run_sync(self._answer, request, limiter=self._threads)
        headers = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in answer.headers]
        headers.append((b"content-length", str(len(answer.body)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})

    def _answer(self, request: Request) -> Answer:
        own = self._own(request.method, request.target.partition("?")[0], request.body)
        return own or self._gateway.answer(request)


async def _body(receive: Receive) -> bytes:
    """The body, or as much of it as shows that it is too large."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > PAYLOAD_MAX_BYTES or not message.get("more_body"):
            return bytes(body)


def _request(scope: dict[str, Any], body: bytes) -> Request:
    query = scope["query_string"].decode("latin-1")
    return Request(
        method=scope["method"],
        target=scope["raw_path"].decode("latin-1") + (f"?{query}" if query else ""),
        headers=[(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]],
        body=body,
        address=scope["client"][0] if scope["client"] else "127.0.0.1",
        protocol=f"HTTP/{scope['http_version']}",
    )


def bind(port: int) -> socket.socket:
    """Takes the port before the long work starts. Raises `OSError` if it is busy."""
    # the protocol is named, or asyncio leaves Nagle's algorithm on and each answer waits 40 ms for an acknowledgement
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.close()
        raise
    return listener


def server(gateway: Gateway, own: Own) -> uvicorn.Server:
    """Serves until SIGINT or SIGTERM, or until its `should_exit` is set."""
    config = uvicorn.Config(
        Application(gateway, own),
        lifespan="off",
        log_level="warning",
        server_header=False,
        access_log=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=STOP_TIMEOUT_S,
    )
    return uvicorn.Server(config)
