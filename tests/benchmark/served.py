"""Handlers in processes of their own (driver.py), asked one request at a time from here."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import IO, Any, NamedTuple

from tests.benchmark.driver import CPU_HEADER
from tests.benchmark.harness import ROOT

STOP_TIMEOUT_S = 30
REPLY_TIMEOUT_S = 30

Event = dict[str, Any]


class Timing(NamedTuple):
    """What one redemption took; CPU is the handler's process's, since its answer before."""

    wall_ms: float
    cpu_ms: float


Redeem = Callable[[Event], Timing]
"""Has one event answered. Raises RuntimeError where it does not redeem."""


class _CpuClock:
    """A process tells its CPU time with every answer; this tells how much that is more than the time before."""

    def __init__(self) -> None:
        self.before_ms = 0.0

    def since(self, now_ms: float) -> float:
        spent, self.before_ms = now_ms - self.before_ms, now_ms
        return spent


@contextmanager
def kami(environment: Mapping[str, str]) -> Iterator[Redeem]:
    """Kami's handler."""
    clock = _CpuClock()
    with _process("kami", environment) as (to, answers):

        def redeem(event: Event) -> Timing:
            to.write(json.dumps(event) + "\n")
            to.flush()
            answer = json.loads(answers.readline())
            _check(answer["response"]["statusCode"], answer["response"]["body"])
            return Timing(answer["wall_ms"], clock.since(answer["cpu_ms"]))

        yield redeem


@contextmanager
def peer(environment: Mapping[str, str], codes: list[str]) -> Iterator[Redeem]:
    """The FastAPI peer, which knows these codes."""
    clock = _CpuClock()
    with _process("peer", environment) as (to, answers):
        to.write(json.dumps(codes) + "\n")
        to.flush()
        port = int(answers.readline())
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=REPLY_TIMEOUT_S)) as connection:

            def redeem(event: Event) -> Timing:
                method = event["requestContext"]["http"]["method"]
                connection.request(method, event["rawPath"], event["body"], event["headers"])
                response = connection.getresponse()
                _check(response.status, response.read())
                return Timing(0.0, clock.since(float(response.headers[CPU_HEADER])))

            yield redeem


@contextmanager
def _process(who: str, environment: Mapping[str, str]) -> Iterator[tuple[IO[str], IO[str]]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmark.driver", who],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with process.stdout, process.stdin:
            yield process.stdin, process.stdout
    finally:
        process.wait(STOP_TIMEOUT_S)


def _check(status: int, body: object) -> None:
    if status != 201:
        raise RuntimeError(f"not redeemed: {status} {body!r}")
