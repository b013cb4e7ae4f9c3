"""A recovery of 10,000 whose process dies at any of its writes goes on by itself, and ends with the same report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytest

from functions.domain.campaign import Batch
from functions.domain.errors import Refusal
from functions.domain.lot import Scope
from functions.domain.recovery import Action, Order, Recovery, Via
from functions.domain.selection import Selection
from functions.domain.serials import LOT_SIZE, serial_of
from functions.recover import reports
from functions.recover import service as recover
from functions.redeem import service as redeem
from functions.store import keys, ranges, table
from functions.store.records import RECOVERED
from tests.engine.engines import on_referee
from tests.engine.recovering import adds_up, finished
from tests.engine.wire import Crash, Wire, crash_after, is_write
from tests.engine.world import NOW, OPERATOR, World, later, order, till

pytestmark = on_referee

QUANTITY = 10_000


class Asked(NamedTuple):
    """An order, and the file that came with it, if any."""

    order: Order
    file: bytes | None = None


def of_batch(action: Action, batch: Batch) -> Asked:
    return Asked(Order(Selection(batch=batch.id), action, Scope.ALL, "stolen"))


def of_range(action: Action, batch: Batch) -> Asked:
    ends = serial_of(batch.first), serial_of(batch.first + QUANTITY - 1)
    return Asked(Order(Selection(first_serial=ends[0], last_serial=ends[1]), action, Scope.ALL, "stolen"))


def of_serials(action: Action, batch: Batch) -> Asked:
    """A file of 10,000 serials, with a gap after each thousand."""
    lines = [serial_of(batch.first + n + n // 1_000) for n in range(QUANTITY)]
    file = "\n".join(lines).encode()
    return Asked(Order(None, action, Scope.ALL, "stolen", via=Via.SHOP_FILE, file=lines[0]), file)


CASES: dict[str, tuple[Action, Callable[[Action, Batch], Asked]]] = {
    "batch, void": (Action.VOID, of_batch),
    "batch, reclaim": (Action.RECLAIM, of_batch),
    "range, suspend": (Action.SUSPEND, of_range),
    "serials, reclaim": (Action.RECLAIM, of_serials),
}


@pytest.mark.parametrize("action", [Action.VOID, Action.SUSPEND])
def test_one_that_writes_each_card_singly_goes_on_by_itself_too(
    world: World, wire: Wire, action: Action, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a lot can be cut no more; with windows of a few cards, so that many are gone through.

    It comes first: to wipe what the other leaves takes half a minute.
    """
    monkeypatch.setattr(ranges, "SEGMENTS_PER_LOT_MAX", 1)
    monkeypatch.setattr("functions.store.singles.TOUCHED_PER_WINDOW_MAX", 3)
    monkeypatch.setattr("functions.store.singles.BATCH_GET_MAX", 2)
    campaign = world.campaign()

    def run(id: str, at: int | None) -> tuple[Any, int]:
        batch = world.batch(campaign, 20)
        world.activate(Selection(batch=batch.id))
        redeem.create(order(world.codes(batch.span._replace(last=batch.first))[0]), "key", till(1), NOW)
        ends = serial_of(batch.first), serial_of(batch.first + 9)
        wanted = Order(Selection(first_serial=ends[0], last_serial=ends[1]), action, Scope.ALL, "stolen")
        create = partial(recover.create, id, wanted, OPERATOR, NOW, later())
        recovery, writes = ended_after(wire, id, create, at)
        adds_up(recovery)
        statuses = [v.status if v else None for v in (world.voucher(batch.first + n) for n in range(20))]
        versions = [v.version if v else None for v in (world.voucher(batch.first + n) for n in range(20))]
        return (recovery.recovered, recovery.skipped, statuses, versions), writes

    expected, writes = run("rec_0", None)
    assert expected[:2] == (9, {"redeemed": 1})
    assert writes > 15
    for at in range(1, writes + 1):
        ended, _ = run(f"rec_{at}", at)
        assert ended == expected, f"the write {at}"


@pytest.mark.parametrize("case", CASES)
def test_it_goes_on_by_itself_and_ends_with_the_same_report(world: World, wire: Wire, case: str) -> None:
    action, asked_of = CASES[case]
    campaign = world.campaign(redemption="balance")

    def prepared() -> Batch:
        """Over two lots; one card is redeemed and another one in use."""
        batch = world.batch(campaign, QUANTITY + 20)
        world.activate(Selection(batch=batch.id))
        codes = world.codes(batch.span._replace(last=batch.first + 1))
        redeem.create(order(codes[0]), "key", till(1), NOW)
        redeem.create(order(codes[1], 1_000), "key", till(1), NOW)
        return batch

    def run(id: str, at: int | None) -> tuple[Any, int]:
        batch = prepared()
        asked = asked_of(action, batch)
        create = partial(recover.create, id, asked.order, OPERATOR, NOW, later(), asked.file)
        recovery, writes = ended_after(wire, id, create, at)
        adds_up_to(recovery)
        return left(world, batch, recovery), writes

    expected, writes = run("rec_0", None)
    assert expected["skipped"] == {"redeemed": 1}
    assert writes > 6
    for at in range(1, writes + 1):
        ended, _ = run(f"rec_{at}", at)
        assert ended == expected, f"the write {at}"


def ended_after(wire: Wire, id: str, create: Callable[[], Recovery], at: int | None) -> tuple[Recovery, int]:
    """A recovery at its end, whose process may have died at one of its writes, and how many it had made by then."""
    before = len(wire.writes())
    if at is None:
        finished(create())
    else:
        with wire.planted(crash_after, is_write, at=at), pytest.raises(Crash):
            finished(create())
    writes = len(wire.writes()) - before
    if not known(id):
        create()  # the client had no answer, and nobody else knows of it
    return finished(recover.find(id)), writes


def known(id: str) -> bool:
    try:
        recover.find(id)
    except Refusal:
        return False
    return True


def adds_up_to(recovery: Recovery) -> None:
    if recovery.lines:
        assert recovery.recovered + sum(recovery.skipped.values()) == recovery.selected == recovery.lines
    else:
        adds_up(recovery)


def left(world: World, batch: Batch, recovery: Recovery) -> Any:
    """All that it left, by places in the batch."""
    text, cursor = reports.page(recovery, None, OPERATOR)
    while cursor is not None:
        more, cursor = reports.page(recovery, cursor, OPERATOR)
        text += more
    lines = [line.split(",") for line in text.splitlines()[1:]]
    lots = [world.lot(number) for number in batch.span.lots]
    told = [table.read(RECOVERED, keys.recovered(recovery.id, batch.first + n)) is not None for n in range(2)]
    return {
        "selected": recovery.selected,
        "recovered": recovery.recovered,
        "skipped": recovery.skipped,
        "values": recovery.values,
        "lines": Counter(tuple(line[3:]) for line in lines) if recovery.lines else [line[2:] for line in lines],
        "segments": [
            [(s.last - s.first, s.status, s.generation, len(s.vetoes)) for s in lot.segments if in_batch(batch, lot, s)]
            for lot in lots
        ],
        "told": told,
        "vouchers": [
            (v.status, v.balance_minor) if v else None for v in (world.voucher(batch.first + n) for n in range(2))
        ],
    }


def in_batch(batch: Batch, lot: Any, segment: Any) -> bool:
    start = lot.number * LOT_SIZE
    return bool(batch.span.first <= start + segment.first and start + segment.last <= batch.span.last)
