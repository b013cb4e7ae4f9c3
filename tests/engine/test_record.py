"""The record's chains when several append at a time, the same again, and when AWS fails in between."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import pytest

from functions.domain.errors import Refusal
from functions.domain.record import GENESIS, Entry, chains, entry_of
from functions.store import record, table
from functions.store.record import ENTRIES_PER_WRITE, Wanted
from tests.engine.engines import on_referee
from tests.engine.wire import (
    Crash,
    Fault,
    Wire,
    crash_after,
    crash_before,
    failed_after,
    is_write,
    reply_lost,
    throttled,
    unreachable,
)
from tests.engine.world import NOW, World, race

Json = dict[str, Any]
RUNNERS = 4
POSITION = 1_000_000_000
SERIAL = "010000000003"


def event(number: int, client: str = "till-1", at: str = "2027-01-15T08:00:00Z", **data: Any) -> Json:
    by = {"client": client, "role": "merchant", "tenant": "m", "address": "192.0.2.1", "request": f"r{number}"}
    return {"id": f"1.X#{number}.1", "type": "batch.requested", "schema": 1, "at": at, "by": by, "data": data}


def kept(world: World) -> dict[str, list[Entry]]:
    """The chains as they lie in the table, each held to its head and its links."""
    items = [table._plain(item) for item in scanned(world)]
    entries = [entry_of(item["line"]) for item in items if item["entity"] == "entry"]
    by_chain: dict[str, list[Entry]] = {name: [] for name in chains(1)}
    for entry in sorted(entries, key=lambda e: e.number):
        by_chain[entry.chain].append(entry)
    heads = {item["pk"]: item for item in items if item["entity"] == "chain"}
    for name, found in by_chain.items():
        assert [entry.number for entry in found] == list(range(1, len(found) + 1))
        assert [entry.prev for entry in found] == [GENESIS, *(entry.hash for entry in found)][: len(found)]
        head = heads.get(f"CHAIN#{name}")
        assert (head is None) == (not found)
        assert head is None or (head["count"], head["hash"]) == (len(found), found[-1].hash)
        pages = [i for i in items if i["entity"] == "page" and i["pk"] == f"CHAIN#{name}"]
        told = [id for page in sorted(pages, key=lambda p: str(p["sk"])) for id in page["ids"]]
        assert told == [entry.event["id"] for entry in found]
    return by_chain


def scanned(world: World) -> Iterable[Any]:
    pages = world.cloud.client("dynamodb").get_paginator("scan").paginate(TableName=table.table_name())
    return [item for page in pages for item in page["Items"]]


def ids(by_chain: dict[str, list[Entry]]) -> list[str]:
    return sorted(entry.event["id"] for entries in by_chain.values() for entry in entries)


@on_referee
def test_runners_with_the_same_events_in_any_order_record_each_of_them_once(world: World) -> None:
    events = [event(n) for n in range(60)]

    def runner(seed: int) -> Any:
        mine = random.Random(seed).sample(events, len(events))
        return lambda: sum(record.append(mine[at : at + 17], NOW) for at in range(0, len(mine), 17))

    new = race(runner(seed) for seed in range(RUNNERS))
    assert sum(n for n in new if isinstance(n, int)) == len(events)
    assert ids(kept(world)) == sorted(e["id"] for e in events)


@on_referee
def test_one_chain_that_all_of_them_are_at_stays_one_chain(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "_any_chain", lambda: "1.00")
    monkeypatch.setattr(record, "TRIES_MAX", 1_000)
    assert sum(map(int, race(lambda n=n: record.append([event(n)], NOW) for n in range(4)))) == 4  # type: ignore[misc,arg-type]
    assert len(kept(world)["1.00"]) == 4


@on_referee
def test_an_append_on_a_head_that_has_moved_on_forks_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two appends of other lengths end in other pages: only the head tells the second that it comes late."""
    monkeypatch.setattr(record, "_any_chain", lambda: "1.00")
    read = record._head
    stale = read("1.00")
    heads = iter([stale])
    record.append([event(0)], NOW)
    monkeypatch.setattr(record, "_head", lambda chain: next(heads, None) or read(chain))
    assert record.append([event(1), event(2)], NOW) == 2
    assert len(kept(world)["1.00"]) == 3


def test_more_than_one_write_takes_are_recorded_in_several(world: World) -> None:
    events = [event(n) for n in range(ENTRIES_PER_WRITE + 1)]
    assert record.append([*events, *events], NOW) == len(events)
    assert record.append(events[5:9], NOW) == 0
    assert record.append([event(1_000), *events], NOW) == 1
    assert len(ids(kept(world))) == len(events) + 1


def test_large_events_are_recorded_in_writes_that_a_transaction_takes(world: World) -> None:
    events = [event(n, reason="卡" * 60_000) for n in range(20)]
    assert record.append(events, NOW) == 20
    assert len(ids(kept(world))) == 20


@on_referee
@pytest.mark.parametrize(("fault", "done"), [(crash_before, 0), (crash_after, 4)])
def test_a_crash_at_the_write_leaves_all_or_nothing_and_the_repeat_completes_it(
    world: World, wire: Wire, fault: Fault, done: int
) -> None:
    record.append([event(0)], NOW)
    events = [event(n) for n in range(1, 5)]
    with wire.planted(fault, is_write), pytest.raises(Crash):
        record.append(events, NOW)
    assert len(ids(kept(world))) == 1 + done
    assert record.append(events, NOW) == 4 - done
    assert len(ids(kept(world))) == 5


@on_referee
@pytest.mark.parametrize("fault", [reply_lost, failed_after, throttled, unreachable])
def test_what_the_sdk_sends_again_is_recorded_once(world: World, wire: Wire, fault: Fault) -> None:
    events = [event(n) for n in range(4)]
    with wire.planted(fault, is_write):
        record.append(events, NOW)
    assert len(ids(kept(world))) == 4


def test_all_chains_being_written_is_busy_and_nothing_is_recorded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "put_together", lambda items: {0})
    with pytest.raises(Refusal, match="try_again"):
        record.append([event(0)], NOW)
    assert ids(kept(world)) == []


def found(wanted: Wanted, limit: int = 5) -> list[str]:
    """The requests of what a query finds, over all its pages."""
    shown: list[str] = []
    cursor: str | None = None
    for _ in range(100):
        entries, cursor = record.page(wanted, limit, cursor, "auditor-1")
        assert len(entries) <= limit
        shown += [entry.event["by"]["request"] for entry in entries]
        if cursor is None:
            return shown
    raise AssertionError("the list does not end")


@on_referee
def test_entries_are_found_by_card_with_its_lot_by_client_and_by_time_newest_first(world: World) -> None:
    days = ["2027-01-02", "2027-01-14", "2027-01-15"]
    times = [f"{day}T{hour:02d}:00:00Z" for day in days for hour in range(0, 24, 6)]
    kinds: list[Json] = [
        {"serial": SERIAL, "lot": 100_000},
        {"lot": 100_000, "ranges": [[0, 4]]},
        {"lot": 100_000, "ranges": [[1, 4]]},
        {"id": "bat_1"},
    ]
    events = [event(n, f"till-{n % 2}", at, **kinds[n % 4]) for n, at in enumerate(times)]
    for part in (events[::3], events[1::3], events[2::3]):
        record.append(part, NOW)
    everything = [f"r{n}" for n in reversed(range(12))]
    assert found(Wanted()) == everything
    assert found(Wanted(position=POSITION)) == [f"r{n}" for n in reversed(range(12)) if n % 4 < 2]
    assert found(Wanted(position=POSITION + 1)) == [f"r{n}" for n in reversed(range(12)) if n % 4 in (1, 2)]
    assert found(Wanted(actor="till-1")) == everything[::2]
    since, to = (int(entry.at) for entry in (entry_at(times[5]), entry_at(times[9])))
    assert found(Wanted(since=since, to=to)) == ["r8", "r7", "r6", "r5"]
    assert found(Wanted(actor="till-1", since=since, to=to)) == ["r7", "r5"]
    assert found(Wanted(position=POSITION, since=since, to=to)) == ["r8", "r5"]


def entry_at(at: str) -> Entry:
    return Entry("", 0, {"at": at}, "", "")
