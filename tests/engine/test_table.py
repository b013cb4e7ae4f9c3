"""The table on both engines: conditional writes, transactions, reads that leave nothing out, pages, counters."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count, pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functions import store
from functions.domain.actor import Client, Secret
from functions.domain.campaign import LotCounter
from functions.domain.errors import Refusal
from functions.domain.events import TYPES, Event, Subject
from functions.domain.reminder import Expiry, Outcome, day_named
from functions.redeem import service as redeem
from functions.store import keys, table
from functions.store.keys import Key
from functions.store.records import CLIENT, COUNTER
from functions.store.table import CONFLICTS_MAX, READ_ROUNDS_MAX, Conflict, Entity
from tests.engine.engines import on_referee
from tests.engine.wire import Call, Send, Wire, answer, put_of
from tests.engine.world import NOW, OPERATOR, World, order, race, till


def counter(next_lot: int, version: int = 1, name: str = "crockford16") -> LotCounter:
    return LotCounter(name, next_lot, version)


def put(thing: LotCounter, seen: int) -> None:
    table.put(COUNTER.item(thing, "test", OPERATOR), seen)


def stored(name: str = "crockford16") -> LotCounter | None:
    return table.read(COUNTER, keys.lot_counter(name))


# One conditional write


@pytest.mark.usefixtures("world")
def test_a_new_item_is_written_once() -> None:
    put(counter(5), 0)
    with pytest.raises(Conflict) as conflict:
        put(counter(6), 0)
    assert conflict.value.old is not None
    assert COUNTER.load(conflict.value.old) == stored() == counter(5)


@pytest.mark.usefixtures("world")
def test_an_item_is_replaced_at_the_version_that_was_seen_and_at_no_other() -> None:
    put(counter(5, version=1), 0)
    put(counter(6, version=2), 1)
    for seen in (1, 3):
        with pytest.raises(Conflict) as conflict:
            put(counter(7, version=seen + 1), seen)
        assert conflict.value.old is not None
        assert COUNTER.load(conflict.value.old) == stored() == counter(6, version=2)


@pytest.mark.usefixtures("world")
def test_where_nothing_is_a_seen_version_conflicts_and_there_is_no_old_item() -> None:
    with pytest.raises(Conflict) as conflict:
        put(counter(5, version=2), 1)
    assert conflict.value.old is None
    assert stored() is None


def one_more(current: LotCounter | None) -> LotCounter:
    return counter(1) if current is None else replace(current, next_lot=current.next_lot + 1)


@pytest.mark.usefixtures("world")
def test_a_change_decides_anew_on_what_another_left(wire: Wire) -> None:
    seen: list[LotCounter | None] = []

    def watched(current: LotCounter | None) -> LotCounter:
        seen.append(current)
        return one_more(current)

    def overtaken(call: Call, send: Send) -> AWSResponse:
        put(counter(70), 0)
        return send()

    with wire.planted(overtaken, put_of(keys.COUNTER)):
        changed = table.change(COUNTER, None, watched, "test", OPERATOR)
    assert seen == [None, counter(70)]
    assert changed == stored() == counter(71, version=2)


@pytest.mark.usefixtures("world")
def test_a_change_that_is_not_needed_writes_nothing(wire: Wire) -> None:
    put(counter(5), 0)
    wire.calls.clear()
    assert table.change(COUNTER, counter(5), lambda current: None, "test", OPERATOR) == counter(5)
    assert wire.writes() == []


@pytest.mark.usefixtures("world")
def test_a_change_that_is_always_overtaken_gives_up_and_says_so(wire: Wire) -> None:
    versions = count(1)

    def overtaken(call: Call, send: Send) -> AWSResponse:
        version = next(versions)
        put(counter(version, version), version - 1)
        return send()

    own = {"n": 0}

    def every_other(call: Call) -> bool:
        own["n"] += 1
        return own["n"] % 2 == 1

    with wire.planted(overtaken, every_other, times=CONFLICTS_MAX), pytest.raises(Refusal) as refused:
        table.change(COUNTER, None, one_more, "test", OPERATOR)
    assert (refused.value.key, refused.value.retry_after_s) == ("try_again", 1)
    assert stored() == counter(CONFLICTS_MAX, CONFLICTS_MAX)


@on_referee
@pytest.mark.usefixtures("world")
def test_changes_by_many_at_once_all_count() -> None:
    runners, each = 8, 10

    def often() -> None:
        for _ in range(each):
            while True:
                try:
                    table.change(COUNTER, stored(), one_more, "test", OPERATOR)
                    break
                except Refusal:
                    continue

    assert race(often for _ in range(runners)) == [None] * runners
    assert stored() == counter(runners * each, runners * each)


@pytest.mark.usefixtures("world")
def test_what_is_stored_says_who_wrote_it_and_what_kind_it_is() -> None:
    put(counter(5), 0)
    item = table.get(keys.lot_counter("crockford16"))
    assert item is not None
    assert (item["entity"], item["version"]) == ("counter", 1)
    assert item["last"] == {"command": "test", **OPERATOR._asdict()}


# Transactions


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("moved", [None, 0, 1, 2])
def test_a_transaction_moves_all_of_its_items_or_none(moved: int | None) -> None:
    names = ["a", "b", "c"]
    put(counter(1, 1, "a"), 0)
    put(counter(1, 1, "b"), 0)
    writes: list[table.Write] = [(COUNTER, counter(9, 2, "a"), 1), (COUNTER, counter(9, 2, "b"), 1)]
    writes.append((COUNTER, counter(9, 1, "c"), 0))
    if moved is not None:
        seen = writes[moved][2]
        put(counter(5, seen + 1, names[moved]), seen)
    before = [stored(name) for name in names]
    if moved is None:
        table.put_all(writes, "test", OPERATOR)
        assert [stored(name) for name in names] == [thing for _, thing, _ in writes]
    else:
        with pytest.raises(Conflict):
            table.put_all(writes, "test", OPERATOR)
        assert [stored(name) for name in names] == before


# Reads


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long a read would have waited before it asks again."""
    waits: list[float] = []
    monkeypatch.setattr(table, "time", SimpleNamespace(sleep=waits.append))
    return waits


def unprocessed(keys_left: Callable[[list[Any]], list[Any]]) -> Callable[[Call, Send], AWSResponse]:
    """DynamoDB leaves some of the keys for later."""

    def partly(call: Call, send: Send) -> AWSResponse:
        ((name, asked),) = call.body["RequestItems"].items()
        left = keys_left(asked["Keys"])
        reply = json.loads(send().content)
        found = [item for item in reply["Responses"][name] if {k: item[k] for k in ("pk", "sk")} not in left]
        again = {name: {"Keys": left, "ConsistentRead": True}} if left else {}
        return answer(200, {"Responses": {name: found}, "UnprocessedKeys": again})

    return partly


def is_batch_read(call: Call) -> bool:
    return call.operation == "BatchGetItem"


def counters(number: int) -> dict[Key, LotCounter]:
    """So many items."""
    made = [counter(n, 1, f"format-{n:03d}") for n in range(number)]
    for each in made:
        put(each, 0)
    return {COUNTER.key(each): each for each in made}


@pytest.mark.usefixtures("world")
def test_many_items_are_read_at_once_and_absent_ones_are_absent(wire: Wire) -> None:
    there = counters(3)
    wanted = [*there, keys.lot_counter("absent"), *there]
    wire.calls.clear()
    found = table.get_many(wanted)
    assert {key: COUNTER.load(item) for key, item in found.items()} == there
    ((_, asked),) = wire.calls[0].body["RequestItems"].items()
    assert (len(wire.calls), len(asked["Keys"]), asked["ConsistentRead"]) == (1, 4, True)
    assert table.get_many([]) == {}


@pytest.mark.usefixtures("world")
def test_a_hundred_items_are_read_at_once_and_not_one_more() -> None:
    wanted = [keys.lot_counter(str(n)) for n in range(101)]
    assert table.get_many(wanted[:100]) == {}
    with pytest.raises(ValueError, match="101 keys"):
        table.get_many(wanted)


@pytest.mark.usefixtures("world")
def test_keys_that_are_left_unprocessed_are_read_again(wire: Wire, no_waiting: list[float]) -> None:
    there = counters(6)
    wire.calls.clear()
    with wire.planted(unprocessed(lambda asked: asked[1:]), is_batch_read, times=READ_ROUNDS_MAX - 2):
        found = table.get_many([*there, keys.lot_counter("absent")])
    assert {key: COUNTER.load(item) for key, item in found.items()} == there
    asked = [next(iter(call.body["RequestItems"].values())) for call in wire.calls]
    assert [len(each["Keys"]) for each in asked] == [7, 6, 5]
    assert all(each["ConsistentRead"] for each in asked)
    assert len(no_waiting) == 2


@pytest.mark.usefixtures("world")
def test_what_cannot_be_read_is_never_taken_as_absent(wire: Wire, no_waiting: list[float]) -> None:
    there = counters(2)
    with (
        wire.planted(unprocessed(lambda asked: asked[-1:]), is_batch_read, times=READ_ROUNDS_MAX),
        pytest.raises(Refusal) as refused,
    ):
        table.get_many(there)
    assert (refused.value.key, refused.value.retry_after_s) == ("try_again", 1)
    assert len(no_waiting) == READ_ROUNDS_MAX


def test_a_redemption_whose_voucher_cannot_be_read_is_refused_and_moves_nothing(
    world: World, wire: Wire, no_waiting: list[float]
) -> None:
    """Were the unread item taken as absent, a redeemed voucher would be redeemed again."""
    (code,) = world.active(1)
    redeem.create(order(code), "first", till(1), NOW)
    before = world.items()

    def the_voucher(asked: list[Any]) -> list[Any]:
        return [key for key in asked if key["pk"]["S"].startswith(keys.VOUCHER)]

    with (
        wire.planted(unprocessed(the_voucher), is_batch_read, times=READ_ROUNDS_MAX),
        pytest.raises(Refusal, match="try_again"),
    ):
        redeem.create(order(code), "second", till(2), NOW)
    assert world.items() == before


def test_every_read_of_an_item_is_consistent(world: World, wire: Wire) -> None:
    (code,) = world.active(1)
    done = redeem.create(order(code), "key", till(1), NOW)
    redeem.find(done.redemption.id, till(1))
    redeem.reverse(done.redemption.id, "wrong", "key", till(1), NOW)
    single = [call.body for call in wire.calls if call.operation == "GetItem"]
    many = [part for call in wire.calls if is_batch_read(call) for part in call.body["RequestItems"].values()]
    assert single and many
    assert all(read.get("ConsistentRead") is True for read in [*single, *many])


# Pages of the index


def clients_in_one_shard(number: int) -> list[str]:
    """So many clients of the same shard of the list; their places in it, oldest first."""
    places: list[str] = []
    ids = (f"client-{n}" for n in count())
    while len(places) < number:
        made = Client(next(ids), "n", "merchant", "t", (Secret(b"s", None),), NOW + len(places), version=1)
        place = keys.in_list("client", made.client_id, made.created_at)
        if place.pk == keys.list_of("client")[0]:
            table.put(CLIENT.item(made, "test", OPERATOR), 0)
            places.append(place.sk)
    return places


def page(limit: int, after: str | None, newest_first: bool) -> list[str]:
    entries = table.query(keys.list_of("client")[0], limit=limit, after=after, newest_first=newest_first)
    return [entry["gsi1sk"] for entry in entries]


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("newest_first", [False, True])
def test_a_list_is_paged_in_both_directions_without_gap_or_repeat(newest_first: bool) -> None:
    places = clients_in_one_shard(7)
    expected = places[::-1] if newest_first else places
    assert page(100, None, newest_first) == expected
    for limit in (1, 3, 7):
        read: list[str] = []
        while found := page(limit, read[-1] if read else None, newest_first):
            assert len(found) <= limit
            read += found
        assert read == expected


def short_page(call: Call, send: Send) -> AWSResponse:
    """DynamoDB ends a page early, as it does at 1 MB."""
    reply = json.loads(send().content)
    items = reply["Items"][:2]
    last = {name: items[-1][name] for name in ("pk", "sk", "gsi1pk", "gsi1sk")}
    return answer(200, {**reply, "Items": items, "Count": len(items), "LastEvaluatedKey": last})


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("newest_first", [False, True])
def test_pages_that_end_early_are_read_on(wire: Wire, newest_first: bool) -> None:
    places = clients_in_one_shard(7)
    with wire.planted(short_page, lambda call: call.operation == "Query", times=2):
        found = page(6, None, newest_first)
    assert found == (places[::-1] if newest_first else places)[:6]


# Counters


def count_up(key: Key, limit: int) -> bool:
    return table.add_below(key, limit, ttl_epoch_s=NOW + 60)


@pytest.mark.usefixtures("world")
def test_a_counter_counts_to_its_limit_and_no_further() -> None:
    key = keys.guard("account", "somebody", 1)
    assert [count_up(key, 3) for _ in range(5)] == [True, True, True, False, False]
    item = table.get(key)
    assert item is not None
    assert (item["count"], item["ttl_epoch_s"]) == (3, NOW + 60)


@on_referee
@pytest.mark.usefixtures("world")
def test_a_counter_raised_by_many_at_once_counts_each_once() -> None:
    key = keys.guard("account", "somebody", 1)
    counted = race(partial(count_up, key, 10) for _ in range(16))
    assert sorted(counted) == [False] * 6 + [True] * 10
    item = table.get(key)
    assert item is not None
    assert item["count"] == 10


# Every kind of item


texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
st.register_type_strategy(str, texts)
st.register_type_strategy(int, st.integers(0, 10**18))
steady = settings(derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
st.register_type_strategy(
    Event,
    st.builds(
        Event, type=st.sampled_from(sorted(TYPES)), subject=st.from_type(Subject), data=st.dictionaries(texts, texts)
    ),
)
st.register_type_strategy(
    Expiry, st.builds(Expiry, day=st.integers(0, day_named("20991231")), outcome=st.sampled_from([None, *Outcome]))
)
STORES = [importlib.import_module(f"functions.store.{found.name}") for found in pkgutil.iter_modules(store.__path__)]
KINDS: dict[str, Entity[Any]] = {e.name: e for module in STORES for e in vars(module).values() if isinstance(e, Entity)}

MANY_TO_A_PARTITION = ("report", "history", "ticket", "stock", "front", "supply", "refusals", "expiry", "account",
                       "line", "dispute", "moved", "known", "findings", "spans", "lines", "checkpoint", "merging",
                       "webhook", "roster")  # fmt: skip
"""The others have a partition each."""


def test_every_kind_of_item_is_known_here() -> None:
    assert set(KINDS) == {
        "client", "campaign", "batch", "command", "reveal", "counter", "lot", "voucher",
        "recovery", "spent", "report", "recovered", "history", "message", "pointer", "export", "ticket",
        "channel", "stock", "import", "imported", "refusals", "front", "supply", "shelf", "draw",
        "expiry", "account", "line", "dispute", "moved", "known", "erasure", "enrolment", "reconciliation",
        "findings", "spans", "lines", "checkpoint", "audit_export", "recipient", "merging", "routing", "provider",
        "complaint", "webhook", "roster", "pulse", "delivery",
    }  # fmt: skip


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_what_is_read(kind: str) -> None:
    entity = KINDS[kind]

    @settings(steady, max_examples=8)
    @given(st.from_type(entity.type))
    def holds(thing: Any) -> None:
        thing = replace(thing, version=1)
        item = entity.item(thing, "test", OPERATOR)
        known = table.get(entity.key(thing))
        table.put(item, known["version"] if known else 0)
        read = table.get(entity.key(thing))
        assert read is not None
        assert entity.load(read) == thing
        assert (read["pk"].partition("#")[0] == read["sk"]) == (kind not in MANY_TO_A_PARTITION)

    holds()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_left_out_of_an_item_is_only_what_reading_puts_back(kind: str) -> None:
    entity = KINDS[kind]

    @settings(steady, max_examples=30)
    @given(st.from_type(entity.type))
    def holds(thing: Any) -> None:
        item = entity.item(thing, "test", OPERATOR)
        assert entity.load(table._plain(table._wire(item))) == thing

    holds()


def test_keys_of_different_things_differ() -> None:
    made = [
        keys.client("1"), keys.campaign("1"), keys.batch("1"), keys.command("1"), keys.lot_counter("1"), keys.lot(1),
        keys.voucher(1), keys.reveal("1"), keys.guard("account", "1", 1), keys.guard("device", "1", 1),
        keys.guard("account", "2", 1), keys.guard("account", "1", 2), keys.lot(2), keys.voucher(2),
    ]  # fmt: skip
    assert len(set(made)) == len(made)
    assert all(one < other for one, other in pairwise(keys.touched(n) for n in range(9_990, 10_010)))
