"""History and counts when several runners of relay are at the same writes: the referee is DynamoDB Local."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from functions.domain.actor import By
from functions.domain.events import Event, Subject
from functions.domain.serials import LOT_SIZE
from functions.store import history, keys, table
from functions.store.history import Line
from tests.engine.world import NOW, World, race

BY = By("till-1", "merchant", "merchant-1", "192.0.2.1", "request-1")
RUNNERS = 6


def line(position: int, version: int, counts: dict[str, int]) -> Line:
    event = Event(f"1.V#{position}.{version}", "voucher.redeemed", NOW, BY, Subject("voucher", position), {}, version)
    return Line(event, position // LOT_SIZE, counts)


def test_runners_at_the_same_writes_tell_and_count_each_of_them_once(world: World) -> None:
    lines = [line(n % 3 * LOT_SIZE + n, 1, {"active": -1, "redeemed": 1, "dated": n % 2}) for n in range(120)]

    def runner(seed: int) -> Callable[[], None]:
        mine = random.Random(seed).sample(lines, len(lines))

        def run() -> None:
            for at in range(0, len(mine), 11):
                history.record(mine[at : at + 11])

        return run

    assert race(runner(seed) for seed in range(RUNNERS)) == [None] * RUNNERS
    items = table.get_many(keys.counts(lot) for lot in range(3))
    for lot in range(3):
        mine = [each for each in lines if each.lot == lot]
        expected = Counter[str]()
        for each in mine:
            expected.update(each.counts)
        assert history.counted(items, lot) == {name: n for name, n in expected.items() if n}
        for each in mine:
            assert each.event.subject is not None
            shown, more = history.page(each.event.subject.number, 10, history.Place())
            assert ([event.id for event in shown], more) == ([each.event.id], None)


def test_the_lines_of_one_call_may_be_many_and_named_twice(world: World) -> None:
    lines = [line(n, 1, {"redeemed": 1}) for n in range(130)]
    history.record([*lines, *lines])
    history.record(reversed(lines))
    assert history.counted(table.get_many([keys.counts(0)]), 0) == {"redeemed": 130}


def test_one_voucher_s_lines_are_in_the_order_of_its_writes(world: World) -> None:
    lines = [line(7, version, {}) for version in range(1, 13)]
    history.record(random.Random(1).sample(lines, len(lines)))
    shown, _ = history.page(7, 100, history.Place())
    assert [event.version for event in shown] == list(range(1, 13))
