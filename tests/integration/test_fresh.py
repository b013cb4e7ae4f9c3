"""A deployment in which nothing has happened yet, for each test anew."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.local.cloud import Cloud
from infra.local.template import synthesized
from tests.integration.conftest import Clock
from tests.integration.kami import Kami, granted, listed, pages, refused


@pytest.fixture
def fresh() -> Iterator[Kami]:
    with Cloud.in_process(synthesized()) as cloud:
        yield Kami(cloud)


def test_it_lists_no_campaigns(fresh: Kami) -> None:
    assert granted(fresh.operator.get("/v1/campaigns")) == {"data": []}


def test_campaigns_are_listed_newest_first_and_each_once(fresh: Kami, clock: Clock) -> None:
    made = []
    for _ in range(7):
        made.append(fresh.campaign()["id"])
        clock.advance(1)
    assert [len(page) for page in pages(fresh, "/v1/campaigns?limit=3")] == [3, 3, 1]
    assert listed(fresh, "/v1/campaigns?limit=3") == made[::-1]


def test_a_format_gives_all_campaigns_together_no_more_vouchers_than_it_can_address(fresh: Kami) -> None:
    first, second, path = (f"/v1/campaigns/{fresh.campaign(code_format='digits20')['id']}/batches" for _ in range(3))
    for of in [first] * 4 + [second] * 4 + [path]:
        granted(fresh.operator.post(of, {"quantity": 100_000_000}), 202)
    granted(fresh.operator.post(path, {"quantity": 99_989_999}), 202)
    before = fresh.items()
    document = refused(fresh.operator.post(path, {"quantity": 10_001}), 409, "quantity_exceeded")
    assert document["available"] == 10_000
    assert fresh.items() == before
    granted(fresh.operator.post(path, {"quantity": 10_000}), 201)
    refused(fresh.operator.post(path, {"quantity": 1}), 409, "quantity_exceeded")
