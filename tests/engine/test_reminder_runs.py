"""Runs of reminders that meet or break off, on the engine that is trusted with races; and the wallet's index there."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from functions.distribute import wallet
from functions.domain.campaign import Campaign
from functions.domain.lot import Rules, Status
from functions.domain.reminder import Outcome, due_at, due_day, named
from functions.domain.serials import LOT_SIZE, serial_of
from functions.domain.voucher import DAY_S, standing
from functions.domain.wallet import held
from functions.generate import campaigns
from functions.notify import reminders
from functions.store import bus, expiries, jobs, table
from functions.store.entities import VOUCHER
from functions.store.expiries import EXPIRY
from functions.store.keys import Key
from tests.engine.engines import on_referee
from tests.engine.wire import Crash, Wire, crash_after, crash_before, put_of, reply_lost
from tests.engine.world import NOW, OPERATOR, World, race

pytestmark = on_referee

HOLDERS = 20
ENDS = NOW + 30 * DAY_S
DAY = due_day(ENDS, 7)


class Told:
    """What went onto the bus, and which orders onto the queue."""

    def __init__(self) -> None:
        self.ids: Counter[str] = Counter()
        self.orders: list[dict[str, Any]] = []

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 - botocore's name
        self.ids.update(json.loads(entry["Detail"])["id"] for entry in Entries)
        return {"FailedEntryCount": 0, "Entries": [{} for _ in Entries]}

    def send_message(self, QueueUrl: str, MessageBody: str) -> None:  # noqa: N803
        self.orders.append(json.loads(MessageBody))


@pytest.fixture
def told(world: World, monkeypatch: pytest.MonkeyPatch) -> Told:
    made = Told()
    monkeypatch.setattr(bus, "client", lambda service: made)
    monkeypatch.setattr(jobs, "client", lambda service: made)
    monkeypatch.setattr("functions.domain.reminder.SHARDS", 1)
    monkeypatch.setattr(expiries, "BATCH_GET_MAX", HOLDERS // 2)
    return made


def claimed(world: World) -> list[int]:
    """The positions of vouchers that somebody claimed, their reminders noted."""
    made = Rules("cmp_reminded", "recharge", 5_000, "CNY", "balance", "crockford16")
    campaign = Campaign(made.campaign, "Test", made, ENDS, "en", NOW, "f", OPERATOR, reminder_days=(7, 1))
    batch = world.batch(campaigns.create(campaign), HOLDERS)
    positions = range(batch.span.first, batch.span.last + 1)
    for position in positions:
        at = standing(world.lot(position // LOT_SIZE), position % LOT_SIZE, None, NOW)
        assert at is not None
        voucher = replace(held(at, "holder", "operator"), status=Status.CLAIMED, version=1)
        table.put(VOUCHER.item(voucher, "claim", OPERATOR), 0)
        reminders.expect(serial_of(position), NOW, NOW)
    return list(positions)


def run(told: Told) -> None:
    """A day's pages, one after the other."""
    after: str | None = None
    while True:
        told.orders.clear()
        reminders.remind(DAY, 0, after, due_at(DAY))
        if not told.orders:
            return
        after = told.orders[-1]["after"]


def outcomes(world: World) -> Counter[Any]:
    found = [EXPIRY.load(item) for item in map(table.get, keys_of(world)) if item is not None]
    return Counter(each.outcome for each in found if each.day == DAY)


def keys_of(world: World) -> list[Key]:
    scanned = world.cloud.client("dynamodb").get_paginator("scan").paginate(TableName=table.table_name())
    items = [item for page in scanned for item in page["Items"] if item["pk"]["S"].startswith("EXPIRY#")]
    return [Key(item["pk"]["S"], item["sk"]["S"]) for item in items]


def test_two_runs_at_once_tell_the_same_under_the_same_ids(world: World, told: Told) -> None:
    positions = claimed(world)
    results = race([partial(reminders.remind, DAY, 0, None, due_at(DAY)) for _ in range(4)])
    assert all(isinstance(result, dict) for result in results)
    run(told)
    assert set(told.ids) == {f"1.EXPIRY#{position:011d}#{named(DAY)}#7.1" for position in positions}
    assert outcomes(world) == {Outcome.TOLD: HOLDERS}
    told.ids.clear()
    run(told)
    assert told.ids == {}
    assert len(wallet.page("holder", None, 100, None, OPERATOR, NOW)[0]) == HOLDERS


@pytest.mark.parametrize("fault", [crash_before, crash_after, reply_lost])
def test_a_run_that_dies_at_any_write_is_gone_on_with(world: World, told: Told, wire: Wire, fault: Any) -> None:
    positions = claimed(world)
    for _ in range(1 if fault is reply_lost else 3):
        with wire.planted(fault, put_of("EXPIRY#")):
            assert died(partial(run, told)) == (fault is not reply_lost)
    run(told)
    assert set(told.ids) == {f"1.EXPIRY#{position:011d}#{named(DAY)}#7.1" for position in positions}
    assert outcomes(world) == {Outcome.TOLD: HOLDERS}


def died(work: Callable[[], None]) -> bool:
    """Whether whoever did the work was killed."""
    try:
        work()
    except Crash:
        return True
    return False
