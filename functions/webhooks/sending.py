"""One request to somebody else's server: to an address that was looked at, and bounded in every way.

The name is resolved once, all its addresses are checked, and the connection goes to the first of them: a name that
resolves to something else a moment later changes nothing. TLS and the `Host` header are about the name. No redirect is
followed, no proxy asked, nothing of the answer's body used, and whatever the other side does, it is over in `CALL_S`.
"""

from __future__ import annotations

import http.client
import queue
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from functions.domain.addresses import forbidden
from functions.domain.webhook import GONE, Target

RESOLVE_S = 2.0
CONNECT_S = 3.0
CALL_S = 8.0
"""From the connection on, whatever comes, and however slowly."""
BODY_MAX_BYTES = 16_384
"""So much of an answer is read, that the other side may end in peace; then the connection is closed."""


class Result(NamedTuple):
    """`reason` is a key of `domain.webhook.REASONS`, None where all was well; `retry_after` as the answer says it."""

    reason: str | None
    status_code: int | None = None
    retry_after: str | None = None


class Refused(Exception):  # noqa: N818 - it is no error, it is not done
    """No request was made; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Pinned(http.client.HTTPConnection):
    """A connection to an address, about a name."""

    def __init__(self, target: Target, address: str) -> None:
        super().__init__(target.name, target.port, timeout=CONNECT_S)
        self.default_port = 443 if target.secure else 80  # which the Host header leaves out
        self._address, self._secure, self._name = address, target.secure, target.name
        self.is_late = False

    def connect(self) -> None:
        raw = socket.create_connection((self._address, self.port), CONNECT_S)
        raw.settimeout(CALL_S)
        self.sock = raw
        if self._secure:
            self.sock = _context().wrap_socket(raw, server_hostname=self._name, do_handshake_on_connect=False)
            self.sock.do_handshake()

    def cut(self) -> None:
        """End it from another thread: whoever reads or writes gets to know."""
        self.is_late = True
        if self.sock is not None:
            try:
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)
            except OSError:
                return  # it has ended by itself


@cache
def _context() -> ssl.SSLContext:
    return ssl.create_default_context()


def resolved(target: Target, *, loopback: bool) -> str:
    """An address of the name. Raises Refused `not_resolved`, and `address_refused` where any of them is not public."""
    found = _looked_up(target)
    addresses = [str(where[0]) for _, _, _, _, where in sorted(found, key=lambda each: each[0] != socket.AF_INET)]
    if not addresses:
        raise Refused("not_resolved")
    if any(forbidden(address, loopback=loopback) for address in addresses):
        raise Refused("address_refused")
    return addresses[0]


def _looked_up(target: Target) -> list[Any]:
    """What the resolver says in time. It can be neither hurried nor stopped, so a thread asks it and is left alone."""
    said: queue.SimpleQueue[list[Any]] = queue.SimpleQueue()

    def ask() -> None:
        try:
            said.put(socket.getaddrinfo(target.name, target.port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError):
            said.put([])

    threading.Thread(target=ask, daemon=True).start()
    try:
        return said.get(timeout=RESOLVE_S)
    except queue.Empty:
        return []


def post(target: Target, headers: Mapping[str, str], body: bytes, *, loopback: bool) -> Result:
    """POST the body; says what came of it, and never raises for what the other side does."""
    try:
        connection = _Pinned(target, resolved(target, loopback=loopback))
    except Refused as refused:
        return Result(refused.reason)
    watch = threading.Timer(CALL_S, connection.cut)
    watch.daemon = True
    watch.start()
    began = time.monotonic()
    try:
        connection.request("POST", target.path, body, {**headers, "Connection": "close"})
        answer = connection.getresponse()
        status = answer.status
        _drain(answer, connection)
        return Result(_reason(status), status, answer.getheader("Retry-After"))
    except ssl.SSLCertVerificationError:
        return Result("certificate")
    except (OSError, http.client.HTTPException, ValueError) as error:
        late = connection.is_late or isinstance(error, TimeoutError) or time.monotonic() - began >= CALL_S
        nonsense = isinstance(error, http.client.HTTPException) and not isinstance(error, ConnectionError)
        return Result("timed_out" if late else "nonsense" if nonsense else "not_connected")
    finally:
        watch.cancel()
        connection.close()


def _drain(answer: http.client.HTTPResponse, connection: _Pinned) -> None:
    """The status has been heard; what becomes of the body changes nothing."""
    try:
        answer.read(BODY_MAX_BYTES)
    except (OSError, http.client.HTTPException, ValueError):
        connection.close()
    finally:
        answer.close()


def _reason(status: int) -> str | None:
    if 200 <= status < 300:
        return None
    if status == 410:
        return GONE
    return "redirected" if 300 <= status < 400 else "bad_status"
