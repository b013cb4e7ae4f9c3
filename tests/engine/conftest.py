"""The two engines: moto in this process, and DynamoDB Local, the referee."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import pytest
from botocore.retries.quota import RetryQuota
from botocore.retries.standard import ExponentialBackoff

from functions.edge import clock
from functions.store import aws
from infra.local import streams
from infra.local.cloud import Cloud
from infra.local.engines import dynamodb_local
from infra.local.template import Template, synthesized
from tests.engine.engines import ENGINES, REFEREE
from tests.engine.wire import Wire, install
from tests.engine.world import NOW, World, settled


@pytest.fixture(scope="session")
def template() -> Template:
    return synthesized()


@pytest.fixture(scope="module", params=ENGINES)
def cloud(request: pytest.FixtureRequest, template: Template) -> Iterator[Cloud]:
    """One after the other. Each module has a referee of its own: what tables leave that were dropped makes it slower,
    up to twenty times after ten of them."""
    engine = dynamodb_local() if request.param == REFEREE else nullcontext()
    with engine as endpoint, Cloud.in_process(template, dynamodb=endpoint) as made:
        yield made


@pytest.fixture(autouse=True)
def fixed_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """One time for all, the stream too, a write window that no slow machine misses, and an SDK that retries at once."""
    change = streams._change
    monkeypatch.setattr(clock, "now", lambda: NOW)
    monkeypatch.setattr(streams, "_change", lambda found: change(found) | {"ApproximateCreationDateTime": clock.now()})
    monkeypatch.setattr(aws, "WRITE_WINDOW_S", 3_600.0)
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda self, context: 0)
    monkeypatch.setattr(RetryQuota, "acquire", lambda self, amount: True)


@pytest.fixture
def world(cloud: Cloud) -> Iterator[World]:
    with settled(cloud):
        made = World(cloud)
        made.wipe()
        yield made


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    made = Wire()
    install(made, monkeypatch)
    return made
