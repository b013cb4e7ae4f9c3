"""Stands between the SDK and the engine, and plants what goes wrong on the way, at a given call, on either engine.

moto answers inside botocore's event `before-send`, DynamoDB Local answers botocore's HTTP session; both doors are
wrapped, so that the SDK above them retries as it would.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError
from botocore.httpsession import URLLib3Session
from moto.core.botocore_stubber import BotocoreStubber, MockRawResponse

WRITES = frozenset({"PutItem", "UpdateItem", "TransactWriteItems", "DeleteItem", "BatchWriteItem"})


class Call(NamedTuple):
    """One attempt of a call as it goes over the wire."""

    service: str
    operation: str
    body: dict[str, Any]
    url: str

    @property
    def key(self) -> str:
        """The partition key of the one item that the call is about, or nothing."""
        place = self.body.get("Item") or self.body.get("Key") or {}
        return str(place.get("pk", {}).get("S", ""))


Send = Callable[[], AWSResponse]
Fault = Callable[[Call, Send], AWSResponse]
"""What happens to a call; `Send` lets the engine have it."""
Match = Callable[[Call], bool]


class Crash(BaseException):
    """The process is gone: nothing can catch it, and nothing more is sent."""


def is_write(call: Call) -> bool:
    """Whether the call changes the table."""
    return call.service == "DynamoDB" and call.operation in WRITES


def put_of(prefix: str) -> Match:
    """Puts of items whose partition key begins so, alone or in a transaction."""

    def puts(call: Call) -> bool:
        together = [action["Put"] for action in call.body.get("TransactItems", []) if "Put" in action]
        alone = [call.body] if call.operation == "PutItem" else []
        return any(put["Item"]["pk"]["S"].startswith(prefix) for put in (*alone, *together))

    return puts


def answer(status: int, body: dict[str, Any]) -> AWSResponse:
    """A reply that no engine gave."""
    raw: Any = MockRawResponse(json.dumps(body))
    headers: Any = {"content-type": "application/x-amz-json-1.0"}
    return AWSResponse("http://planted", status, headers, raw)


def throttled(call: Call, send: Send) -> AWSResponse:
    """Refused before anything was done."""
    return answer(400, {"__type": "com.amazonaws.dynamodb.v20120810#ThrottlingException", "message": "planted"})


def unreachable(call: Call, send: Send) -> AWSResponse:
    """The connection breaks before anything was done."""
    raise ConnectionClosedError(endpoint_url=call.url)


def reply_lost(call: Call, send: Send) -> AWSResponse:
    """It was done, and nobody heard of it."""
    send()
    raise ReadTimeoutError(endpoint_url=call.url)


def failed_after(call: Call, send: Send) -> AWSResponse:
    """It was done, and the service said that it does not know."""
    send()
    return answer(500, {"__type": "com.amazonaws.dynamodb.v20120810#InternalServerError", "message": "planted"})


def crash_before(call: Call, send: Send) -> AWSResponse:
    """The process dies before the call leaves."""
    raise Crash


def crash_after(call: Call, send: Send) -> AWSResponse:
    """The process dies before the reply arrives."""
    send()
    raise Crash


@dataclass
class _Plan:
    match: Match
    fault: Fault
    at: range
    seen: int = 0
    struck: int = 0


@dataclass
class Wire:
    """All calls of this process to AWS, in order, and what is planted for those to come."""

    calls: list[Call] = field(default_factory=list)
    _plans: list[_Plan] = field(default_factory=list)
    _dead: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def planted(self, fault: Fault, on: Match, *, at: int = 1, times: int = 1, surely: bool = True) -> Iterator[None]:
        """Calls that match suffer the fault from the `at`-th on, so many times; where none did, it is an error.

        After a crash every call fails until the block is left: the process has been started again then.
        """
        plan = _Plan(on, fault, range(at, at + times))
        self._plans.append(plan)
        try:
            yield
            assert plan.struck or not surely, "the fault never struck: the test would prove nothing"
        finally:
            self._plans.remove(plan)
            self._dead = False

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """Calls of the test's own: nothing that is planted strikes them, and they are not kept."""
        plans, calls = self._plans, self.calls
        self._plans, self.calls = [], []
        try:
            yield
        finally:
            self._plans, self.calls = plans, calls

    def writes(self) -> list[Call]:
        """The attempts to change the table, in order."""
        return [call for call in self.calls if is_write(call)]

    def carry(self, call: Call, send: Send) -> AWSResponse:
        """Takes one call to the engine, or to what is planted for it."""
        with self._lock:
            if self._dead:
                raise Crash
            self.calls.append(call)
            fault = self._due(call)
        if fault is None:
            return send()
        try:
            return fault(call, send)
        except Crash:
            self._dead = True
            raise

    def _due(self, call: Call) -> Fault | None:
        for plan in self._plans:
            if plan.match(call):
                plan.seen += 1
                if plan.seen in plan.at:
                    plan.struck += 1
                    return plan.fault
        return None


def install(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts the wire in both engines' doors."""
    answered, sent = BotocoreStubber.__call__, URLLib3Session.send

    def inside(self: BotocoreStubber, event_name: str, request: Any, **kwargs: Any) -> Any:
        if _is_local(request.url):
            return answered(self, event_name, request, **kwargs)
        return wire.carry(_call(request), lambda: _of(answered(self, event_name, request, **kwargs)))

    def outside(self: URLLib3Session, request: Any) -> Any:
        return wire.carry(_call(request), lambda: _of(sent(self, request)))

    monkeypatch.setattr(BotocoreStubber, "__call__", inside)
    monkeypatch.setattr(URLLib3Session, "send", outside)


def _of(response: Any) -> AWSResponse:
    assert isinstance(response, AWSResponse)
    return response


def _is_local(url: str) -> bool:
    return url.startswith("http://127.0.0.1")


_OF_S3 = {"PUT": "PutObject", "HEAD": "HeadObject", "GET": "GetObject", "DELETE": "DeleteObject"}


def _call(request: Any) -> Call:
    target = request.headers.get("X-Amz-Target")
    if target is None:
        return Call("S3", _OF_S3[request.method], {}, request.url)
    name = target.decode() if isinstance(target, bytes) else str(target)
    service, _, operation = name.partition(".")
    return Call(service.partition("_")[0], operation, json.loads(request.body), request.url)
