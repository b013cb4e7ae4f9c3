"""One cloud a module: the handlers run in this process, on moto, with their roles in force.

Whatever a test is about, no log line and no item that it leaves behind may look as if it held a code or a token, and
no log line as if it held a phone number. A checkpoint is a JWS, as tokens are, and is there for all to see.
(test_secrecy.py looks for planted ones in every disguise.)
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from functions.edge import clock as edge_clock
from functions.edge.log import logger
from infra.local.cloud import Cloud
from infra.local.template import synthesized
from tests.integration.kami import Kami

LIKE_A_SECRET = re.compile(r"\b[0-9A-Z]{4}(?:-[0-9A-Z]{4}){3}|\beyJ[A-Za-z0-9_-]{20}")
LIKE_A_PHONE_NUMBER = re.compile(r"\+[1-9][0-9]{9}")


@pytest.fixture(scope="module")
def kami(every_line: io.StringIO) -> Iterator[Kami]:
    with Cloud.in_process(synthesized()) as cloud, pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "functions.ledger.reconciling.LOOKS_AFTER_S", (0, 0, 0)
        )  # to wait for would be minutes of draining
        kami = Kami(cloud)
        yield kami
        kept = [item for item in kami.items().values() if item.get("entity") != {"S": "checkpoint"}]
        items = json.dumps(kept, default=lambda raw: f"{len(raw)} bytes")
        assert LIKE_A_SECRET.findall(items) == []


@pytest.fixture(scope="module")
def every_line() -> Iterator[io.StringIO]:
    """All that the functions log in a module."""
    text = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logger.registered_handler, "stream", text)
        yield text
    assert LIKE_A_SECRET.findall(text.getvalue()) == []
    assert LIKE_A_PHONE_NUMBER.findall(text.getvalue()) == []


@dataclass
class Clock:
    """The functions' clock, standing still until it is told to move."""

    now: int

    def advance(self, seconds: int) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that stands at the start of a window of every guard, near the present."""
    stopped = Clock(edge_clock.now() // 3_600 * 3_600)
    monkeypatch.setattr(edge_clock, "now", lambda: stopped.now)
    return stopped


@dataclass
class Log:
    """What the functions have logged since a test began, as it would reach CloudWatch."""

    stream: io.StringIO
    start: int = field(init=False)

    def __post_init__(self) -> None:
        self.start = self.stream.tell()

    @property
    def text(self) -> str:
        return self.stream.getvalue()[self.start :]

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def log(every_line: io.StringIO) -> Log:
    return Log(every_line)
