"""One request to somebody else's server, which may do what it likes."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from functions.domain.webhook import Target
from functions.webhooks import sending
from functions.webhooks.sending import Refused, Result, post, resolved

Behaviour = Callable[[socket.socket, bytes], None]
HEAD = b"HTTP/1.1 200 OK\r\n"


@contextmanager
def server(behaviour: Behaviour) -> Iterator[tuple[Target, list[bytes]]]:
    """A server that takes one request at a time and then behaves like this; with the requests that it got."""
    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(5)
                    try:
                        request = connection.recv(65_536)
                        got.append(request)
                        behaviour(connection, request)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield Target(False, "127.0.0.1", listening.getsockname()[1], "/kami?a=1"), got
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def answers(raw: bytes) -> Behaviour:
    return lambda connection, _: connection.sendall(raw)


def sent(target: Target) -> Result:
    return post(target, {"webhook-id": "whd_1"}, b"{}", loopback=True)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "CALL_S", 0.4)
    monkeypatch.setattr(sending, "CONNECT_S", 0.3)


@pytest.mark.parametrize(("answer", "result"), [
    (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Result(None, 200)),
    (b"HTTP/1.1 204 No Content\r\n\r\n", Result(None, 204)),
    (b"HTTP/1.1 301 Moved\r\nlocation: http://169.254.169.254/\r\n\r\n", Result("redirected", 301)),
    (b"HTTP/1.1 307 Moved\r\nlocation: /\r\ncontent-length: 0\r\n\r\n", Result("redirected", 307)),
    (b"HTTP/1.1 400 Bad\r\ncontent-length: 0\r\n\r\n", Result("bad_status", 400)),
    (b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n", Result("gone", 410)),
    (b"HTTP/1.1 500 Oops\r\ncontent-length: 3\r\n\r\nabc", Result("bad_status", 500)),
    (HEAD + b"content-length: 999999999\r\n\r\n" + b"x" * 1_000_000, Result(None, 200)),
    (HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n", Result(None, 200)),
    (HEAD + b"content-length: 10\r\n\r\nabc", Result(None, 200)),
    (b"SSH-2.0-OpenSSH_9.6\r\n", Result("nonsense")),
    (HEAD + b"".join(b"a%d: b\r\n" % n for n in range(200)) + b"\r\n", Result("nonsense")),
    (HEAD + b"a: " + b"x" * 70_000 + b"\r\n\r\n", Result("nonsense")),
    (b"", Result("not_connected")),
])  # fmt: skip
def test_what_an_answer_comes_to(answer: bytes, result: Result) -> None:
    with server(answers(answer)) as (target, got):
        assert sent(target) == result
    (request,) = got
    assert request.startswith(b"POST /kami?a=1 HTTP/1.1\r\n")
    assert f"Host: 127.0.0.1:{target.port}\r\n".encode() in request
    assert b"webhook-id: whd_1\r\n" in request and b"Connection: close\r\n" in request


def drip(connection: socket.socket, raw: bytes) -> None:
    for byte in raw:
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


@pytest.mark.parametrize("raw", [b"", HEAD, b"HTTP/1.1 100 Continue\r\n\r\n" * 9], ids=["silence", "head", "continue"])
def test_who_answers_too_slowly_is_cut_off_however_busy_it_looks(raw: bytes) -> None:
    def behaviour(connection: socket.socket, _: bytes) -> None:
        drip(connection, raw * 20)
        time.sleep(0.8)

    with server(behaviour) as (target, _):
        began = time.monotonic()
        assert sent(target) == Result("timed_out")
        assert time.monotonic() - began < 1.5


def test_a_body_that_drips_keeps_nobody_beyond_the_time() -> None:
    def behaviour(connection: socket.socket, _: bytes) -> None:
        connection.sendall(HEAD + b"content-length: 1000\r\n\r\n")
        drip(connection, b"x" * 100)

    with server(behaviour) as (target, _):
        began = time.monotonic()
        assert sent(target) == Result(None, 200)
        assert time.monotonic() - began < 1.5


def test_nobody_listening_is_no_connection() -> None:
    with server(answers(b"")) as (target, _):
        pass
    assert sent(target) == Result("not_connected")


# Names


def names(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """What a resolver would say; and what it was asked."""
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        family = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(family[":" in a], socket.SOCK_STREAM, 6, "", (a, port)) for a in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


TARGET = Target(True, "acme.example", 443, "/")


@pytest.mark.parametrize("address", [
    "127.0.0.1", "10.0.0.1", "169.254.169.254", "0.0.0.0", "::1", "fe80::1", "fd00:ec2::254", "::ffff:10.0.0.1",
    "64:ff9b::a00:1", "224.0.0.1",
])  # fmt: skip
def test_a_name_with_an_address_that_is_not_public_is_never_asked(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    for addresses in ([address], ["1.1.1.1", address]):
        names(monkeypatch, *addresses)
        with pytest.raises(Refused, match="address_refused"):
            resolved(TARGET, loopback=False)
        assert post(TARGET, {}, b"", loopback=False) == Result("address_refused")


def test_a_name_without_an_address_is_not_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch)
    assert post(TARGET, {}, b"", loopback=False) == Result("not_resolved")


def test_a_resolver_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "RESOLVE_S", 0.05)

    def late(*_: Any, **__: Any) -> list[Any]:
        time.sleep(0.5)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", late)
    began = time.monotonic()
    assert post(TARGET, {}, b"", loopback=False) == Result("not_resolved")
    assert time.monotonic() - began < 0.4


def test_the_connection_goes_to_the_address_that_was_checked_and_is_about_the_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The name means another address by the time of the connection, and that is not asked for."""
    with server(answers(b"HTTP/1.1 204 No Content\r\n\r\n")) as (listening, got):
        asked = names(monkeypatch, "127.0.0.1")
        target = Target(False, "acme.example", listening.port, "/kami")
        went: list[Any] = []
        connect = socket.create_connection

        def connected(address: Any, timeout: Any) -> Any:
            went.append(address)
            monkeypatch.undo()  # the resolver is the system's again, which knows no such name
            return connect(address, timeout)

        monkeypatch.setattr(socket, "create_connection", connected)
        assert sent(target) == Result(None, 204)
    assert asked == ["acme.example"]
    assert went == [("127.0.0.1", listening.port)]
    assert f"Host: acme.example:{listening.port}\r\n".encode() in got[0]


def test_tls_is_about_the_name_and_its_certificate_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.create_default_context()
    assert (sending._context().verify_mode, sending._context().check_hostname) == (ssl.CERT_REQUIRED, True)
    wanted: list[str] = []

    class Context:
        def wrap_socket(self, raw: socket.socket, server_hostname: str, **more: Any) -> Any:
            wanted.append(server_hostname)
            return context.wrap_socket(raw, server_hostname=server_hostname, **more)

    monkeypatch.setattr(sending, "_context", Context)
    with server(answers(b"HTTP/1.1 400 No TLS here\r\n\r\n")) as (listening, _):
        names(monkeypatch, "127.0.0.1")
        result = post(Target(True, "acme.example", listening.port, "/"), {}, b"", loopback=True)
    assert wanted == ["acme.example"]
    assert result.reason in ("not_connected", "certificate")
