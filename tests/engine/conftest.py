"""The two engines: moto in this process, and DynamoDB Local, the referee, started once for all who ask for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from botocore.retries.quota import RetryQuota
from botocore.retries.standard import ExponentialBackoff

from functions.edge import clock
from infra.local.cloud import Cloud
from infra.local.engines import drop_tables, dynamodb_local
from infra.local.template import Template, synthesized
from tests.engine.wire import Wire, install
from tests.engine.world import NOW, World, settled

MOTO, REFEREE = "moto", "dynamodb-local"
ENGINES = [
    pytest.param(MOTO, marks=pytest.mark.xdist_group("moto")),
    pytest.param(REFEREE, marks=pytest.mark.xdist_group("dynamodb-local")),
]


@pytest.fixture(scope="session")
def template() -> Template:
    return synthesized()


@pytest.fixture(scope="session")
def referee() -> Iterator[str]:
    with dynamodb_local() as endpoint:
        yield endpoint


@contextmanager
def _cloud(template: Template, engine: str, request: pytest.FixtureRequest) -> Iterator[Cloud]:
    endpoint: str | None = None if engine == MOTO else request.getfixturevalue("referee")
    with Cloud.in_process(template, dynamodb=endpoint) as cloud:
        yield cloud
    if endpoint is not None:
        drop_tables(endpoint)


@pytest.fixture(scope="module", params=ENGINES)
def cloud(request: pytest.FixtureRequest, template: Template) -> Iterator[Cloud]:
    """One after the other."""
    with _cloud(template, request.param, request) as made:
        yield made


@pytest.fixture(scope="module", params=ENGINES[:1])
def cloud_on_moto(request: pytest.FixtureRequest, template: Template) -> Iterator[Cloud]:
    with _cloud(template, request.param, request) as made:
        yield made


@pytest.fixture(scope="module", params=ENGINES[1:])
def cloud_on_referee(request: pytest.FixtureRequest, template: Template) -> Iterator[Cloud]:
    with _cloud(template, request.param, request) as made:
        yield made


@pytest.fixture(autouse=True)
def fixed_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """One time for all, and the SDK retries at once and as often as it is told to."""
    monkeypatch.setattr(clock, "now", lambda: NOW)
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda self, context: 0)
    monkeypatch.setattr(RetryQuota, "acquire", lambda self, amount: True)


def _world(cloud: Cloud) -> Iterator[World]:
    with settled(cloud):
        made = World(cloud)
        yield made
        made.wipe()


@pytest.fixture
def world(cloud: Cloud) -> Iterator[World]:
    yield from _world(cloud)


@pytest.fixture
def world_on_moto(cloud_on_moto: Cloud) -> Iterator[World]:
    yield from _world(cloud_on_moto)


@pytest.fixture
def world_on_referee(cloud_on_referee: Cloud) -> Iterator[World]:
    yield from _world(cloud_on_referee)


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    made = Wire()
    install(made, monkeypatch)
    return made
