"""The gateway behind a real socket: requests arrive unchanged, and the limits hold on the wire."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from infra.local.gateway import HEADERS_MAX_BYTES, PAYLOAD_MAX_BYTES, Answer, Gateway
from infra.local.resources import Route
from infra.local.server import bind, server

READY_AFTER_S = 10.0


OWN = Answer(202, [("content-type", "text/plain")], b"own")


def echo(function: str, event: dict[str, Any], wait_s: float) -> Any:
    if event["rawPath"] == "/image":
        return {"statusCode": 200, "headers": {"content-type": "image/png"}, "body": "AAE=", "isBase64Encoded": True}
    return {"statusCode": 200, "body": json.dumps(event), "cookies": ["a=1", "b=2"]}


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    gateway = Gateway([Route("ANY /{proxy+}", "f", 1.0), Route("$default", "f", 1.0)], echo)
    serving = server(gateway, lambda method, path, body: OWN if path == "/local/thing" else None)
    with bind(0) as listener:
        thread = threading.Thread(target=serving.run, kwargs={"sockets": [listener]})
        thread.start()
        until = time.monotonic() + READY_AFTER_S
        while not serving.started and time.monotonic() < until:
            time.sleep(0.01)
        with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
            yield client
        serving.should_exit = True
        thread.join()


def test_the_local_clouds_own_paths_come_first(http: httpx.Client) -> None:
    assert (http.get("/local/thing?x=1").status_code, http.put("/local/thing").text) == (202, "own")
    assert http.get("/local/other").json()["rawPath"] == "/local/other"


def test_health_is_answered(http: httpx.Client) -> None:
    assert http.get("/health").json() == {"status": "ok"}


def test_the_event_is_what_was_sent(http: httpx.Client) -> None:
    reply = http.post("/caf%C3%A9/a%2Fb?x=%20&y=1", content="é".encode(), headers={"Content-Type": "text/plain"})
    event = reply.json()
    assert (event["rawPath"], event["rawQueryString"], event["body"]) == ("/café/a/b", "x=%20&y=1", "é")
    assert event["requestContext"]["http"]["sourceIp"] == "127.0.0.1"
    assert event["requestContext"]["http"]["protocol"] == "HTTP/1.1"
    assert reply.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert "server" not in reply.headers


def test_binary_answers_are_decoded(http: httpx.Client) -> None:
    assert http.get("/image").content == b"\x00\x01"


def test_head_has_no_body(http: httpx.Client) -> None:
    reply = http.head("/x")
    assert reply.content == b""
    assert int(reply.headers["content-length"]) > 0


def test_bodies_and_headers_over_the_limit_are_refused(http: httpx.Client) -> None:
    reply = http.post("/x", content=b"x" * (PAYLOAD_MAX_BYTES + 1))
    assert (reply.status_code, reply.json()) == (413, {"message": "Request Entity Too Large"})
    assert http.get("/x", headers={"x": "y" * HEADERS_MAX_BYTES}).status_code == 431
    assert http.get("/health").status_code == 200


def test_an_answer_does_not_wait_for_an_acknowledgement(http: httpx.Client) -> None:
    """With Nagle's algorithm each answer on a kept connection takes 40 ms more."""
    times = []
    for _ in range(20):
        started = time.perf_counter()
        http.get("/health")
        times.append(time.perf_counter() - started)
    assert min(times) < 0.03


def test_a_busy_port_is_an_error() -> None:
    with bind(0) as listener:
        listener.listen()
        with pytest.raises(OSError, match="in use"):
            bind(listener.getsockname()[1])
