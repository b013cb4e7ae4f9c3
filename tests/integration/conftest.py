"""One cloud a module: the handlers run in this process, on moto, with their roles in force."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from functions.edge import clock as edge_clock
from functions.edge.log import logger
from infra.local.cloud import Cloud
from infra.local.template import synthesized
from tests.integration.kami import Kami


@pytest.fixture(scope="module")
def kami() -> Iterator[Kami]:
    with Cloud.in_process(synthesized()) as cloud:
        yield Kami(cloud)


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
    """What the functions log, as it would reach CloudWatch."""

    stream: io.StringIO = field(default_factory=io.StringIO)

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    captured = Log()
    monkeypatch.setattr(logger.registered_handler, "stream", captured.stream)
    return captured
